//! Whether the kernel forwards. Only nat needs it, for the replies that
//! `bpf_fib_lookup` routes: it refuses where the interface that a reply came in
//! by does not forward its family. dr and tun work without.

use std::{fs, io};

use super::NetError;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// The setting that turns forwarding on for every interface.
    #[must_use]
    pub const fn setting(self) -> &'static str {
        match self {
            Self::V4 => "net.ipv4.ip_forward",
            Self::V6 => "net.ipv6.conf.all.forwarding",
        }
    }

    const fn directory(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }
}

/// Whether packets of a family that come in by at least one of `interfaces` are
/// forwarded.
///
/// # Errors
/// [`NetError::Sysctl`] if no setting can be read, as where the kernel does not
/// have the family.
pub fn is_enabled<'a>(
    family: Family,
    interfaces: impl IntoIterator<Item = &'a str>,
) -> Result<bool, NetError> {
    let of_each = interfaces
        .into_iter()
        .filter_map(|name| read(family, name).ok());
    match of_each.reduce(|some, another| some || another) {
        Some(enabled) => Ok(enabled),
        None => read(family, "all"),
    }
}

/// `/proc/sys/net` shows the network namespace of the process that opens it,
/// so this is the daemon's own namespace, whichever mount of /proc it is.
fn read(family: Family, interface: &str) -> Result<bool, NetError> {
    let directory = family.directory();
    let path = format!("/proc/sys/net/{directory}/conf/{interface}/forwarding");
    // A name with a slash is none that the kernel allows.
    let text = if interface.contains('/') {
        Err(io::ErrorKind::InvalidInput.into())
    } else {
        fs::read_to_string(&path)
    };
    let text = text.map_err(|source| NetError::Sysctl { path, source })?;
    Ok(is_on(&text))
}

/// The kernel takes any number and treats all but 0 as "on".
fn is_on(text: &str) -> bool {
    text.trim() != "0"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_off_and_every_other_number_is_on() {
        assert!(!is_on("0\n"));
        assert!(is_on("1\n"));
        assert!(is_on("2\n"));
    }

    #[test]
    fn without_interfaces_that_have_it_the_general_setting_counts() {
        let general = read(Family::V4, "all").unwrap();
        let names = ["no-such-interface", "a/b"];
        assert_eq!(is_enabled(Family::V4, names).unwrap(), general);
        assert_eq!(is_enabled(Family::V4, []).unwrap(), general);
    }
}
