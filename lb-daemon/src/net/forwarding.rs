//! Whether the kernel forwards IPv4. Only nat needs it, for the replies that
//! the kernel's own stack has to route; dr and tun work without.

use super::NetError;

/// `/proc/sys/net` shows the network namespace of the process that opens it,
/// so this is the daemon's own namespace, whichever mount of /proc it is.
const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Whether `net.ipv4.ip_forward` is on.
///
/// # Errors
/// [`NetError::Sysctl`] if the setting cannot be read.
pub fn ipv4_enabled() -> Result<bool, NetError> {
    let text = std::fs::read_to_string(IP_FORWARD).map_err(|source| NetError::Sysctl {
        path: IP_FORWARD,
        source,
    })?;
    Ok(is_on(&text))
}

/// The kernel takes any number and treats all but 0 as "on".
fn is_on(text: &str) -> bool {
    text.trim() != "0"
}

#[cfg(test)]
mod tests {
    use super::is_on;

    #[test]
    fn zero_is_off_and_every_other_number_is_on() {
        assert!(!is_on("0\n"));
        assert!(is_on("1\n"));
        assert!(is_on("2\n"));
    }
}
