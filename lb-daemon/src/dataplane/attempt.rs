//! Attaching a program to one interface: in which mode, and if it does not
//! work, why not, in the kernel's own words where it has some.

use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::programs::{
    ProgramError, Xdp, XdpMode as AyaMode,
    links::{FdLink, LinkError},
};
use rtnetlink::sys::protocols::NETLINK_ROUTE;

use super::{
    DataPlaneError, device,
    error::reason,
    features::Features,
    netlink::{ask, attribute, nest},
};
use crate::{config::model::XdpMode, net::link::Link};

/// The largest MTU whose packets lie in one page beside what the kernel keeps
/// there: XDP_PACKET_HEADROOM (256), `struct skb_shared_info` (320), the
/// Ethernet header. Larger ones take drivers that know XDP fragments.
pub(super) const ONE_BUFFER_MTU: u32 = 4096 - 256 - 320 - 14;

// include/uapi/linux/rtnetlink.h and if_link.h
const RTM_SETLINK: u16 = 19;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_FD: u16 = 1;
const IFLA_XDP_FLAGS: u16 = 3;
const XDP_FLAGS_UPDATE_IF_NOEXIST: u32 = 1;
pub(super) const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
pub(super) const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// Checks that an interface exists and is one to attach to.
pub fn check_interface(name: &str) -> Result<(), DataPlaneError> {
    find(name).map(drop)
}

/// Attaches `program` to one interface. In [`XdpMode::Auto`] a driver that
/// cannot run it natively gets it in generic mode, with a warning.
pub fn attach(
    program: &mut Xdp,
    name: &str,
    mode: XdpMode,
) -> Result<(FdLink, &'static str, Option<String>), DataPlaneError> {
    let link = find(name)?;
    if mode == XdpMode::Generic {
        return Ok((try_mode(program, &link, AyaMode::Skb)?, "generic", None));
    }
    match try_mode(program, &link, AyaMode::Driver) {
        Ok(attached) => Ok((attached, "native", None)),
        Err(DataPlaneError::Attach { reason, .. }) if mode == XdpMode::Auto => {
            let attached = try_mode(program, &link, AyaMode::Skb)?;
            let warning =
                format!("interface {name}: no native XDP ({reason}); generic mode is slower");
            Ok((attached, "generic", Some(warning)))
        }
        Err(error) => Err(error),
    }
}

/// The ports of a bond are the bond's: what they send and receive is its, and
/// while it has a program they can have none.
fn find(name: &str) -> Result<Link, DataPlaneError> {
    let link = device::find(name)?;
    let master = link.master.and_then(device::name_of);
    if let Some(bond) = master
        && device::find(&bond).is_ok_and(|master| master.is_kind("bond"))
    {
        let name = name.to_owned();
        return Err(DataPlaneError::BondPort { name, bond });
    }
    Ok(link)
}

fn try_mode(program: &mut Xdp, link: &Link, mode: AyaMode) -> Result<FdLink, DataPlaneError> {
    let id = match program.attach_to_if_index(link.index, mode) {
        Ok(id) => id,
        Err(error) => return Err(refused(program, link, mode, &error)),
    };
    let attached = program
        .take_link(id)
        .map_err(|error| refused(program, link, mode, &error))?;
    FdLink::try_from(attached).map_err(|error: LinkError| DataPlaneError::Attach {
        name: link.name.clone(),
        mode: mode_name(mode),
        reason: format!("the kernel made no link: {error}"),
    })
}

fn refused(program: &Xdp, link: &Link, mode: AyaMode, error: &ProgramError) -> DataPlaneError {
    let name = link.name.clone();
    let number = os_error(error);
    if number == Some(libc::EPERM) {
        return DataPlaneError::Privilege(reason(error));
    }
    if matches!(number, Some(libc::EBUSY | libc::EEXIST))
        && let Some(program) = device::occupant(&name)
    {
        return DataPlaneError::Busy { name, program };
    }
    let said = match (words(program, link.index, mode), number) {
        (Some(words), _) => words,
        (None, Some(number)) => std::io::Error::from_raw_os_error(number).to_string(),
        (None, None) => reason(error),
    };
    DataPlaneError::Attach {
        reason: match mode {
            AyaMode::Driver => explain(
                link,
                device::driver(&name).as_deref(),
                Features::of(link.index),
                &said,
            ),
            _ => said,
        },
        name,
        mode: mode_name(mode),
    }
}

/// Has the kernel say again why it does not attach, over netlink, where it has
/// words for it besides the number.
fn words(program: &Xdp, index: u32, mode: AyaMode) -> Option<String> {
    let mode = match mode {
        AyaMode::Driver => XDP_FLAGS_DRV_MODE,
        _ => XDP_FLAGS_SKB_MODE,
    };
    let request = |fd: i32, flags: u32| {
        // struct ifinfomsg: the index alone matters.
        let mut body = vec![0; 16];
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        let fd = attribute(IFLA_XDP_FD, &fd.to_ne_bytes());
        let flags = attribute(IFLA_XDP_FLAGS, &flags.to_ne_bytes());
        body.extend(nest(IFLA_XDP, &[fd, flags]));
        ask(NETLINK_ROUTE, RTM_SETLINK, &body)
    };
    let fd = program.fd().ok()?.as_fd().as_raw_fd();
    match request(fd, mode | XDP_FLAGS_UPDATE_IF_NOEXIST) {
        Err(refused) => refused.words.filter(|words| !words.is_empty()),
        // It works after all, but not by a link: of no use.
        Ok(_) => {
            let _ = request(-1, mode);
            None
        }
    }
}

/// Why an interface does not run XDP natively: who says it, what it says, and
/// what the reason may be.
fn explain(link: &Link, driver: Option<&str>, features: Option<Features>, said: &str) -> String {
    let who = match (link.kind.as_deref(), driver) {
        (Some("bond"), _) => {
            let mode = link.bond_mode.as_deref().unwrap_or("unknown");
            format!("a bond of mode {mode}")
        }
        (Some("bridge"), _) => "a bridge".into(),
        (Some("vlan"), _) => "a VLAN interface, whose port may".into(),
        (_, Some(driver)) => format!("driver {driver}"),
        _ => "its driver".into(),
    };
    let mut text = format!("{who}: {said}");
    let mtu = link.mtu;
    match features {
        _ if mtu <= ONE_BUFFER_MTU => {}
        Some(features) if features.receives_fragments => {}
        Some(_) => text.push_str(&format!(
            "; it does not support XDP fragments, and the MTU is {mtu}"
        )),
        None => text.push_str(&format!(
            "; the MTU is {mtu}: above {ONE_BUFFER_MTU} a driver has to support XDP fragments"
        )),
    }
    text
}

fn mode_name(mode: AyaMode) -> &'static str {
    match mode {
        AyaMode::Driver => "native",
        _ => "generic",
    }
}

fn os_error(error: &ProgramError) -> Option<i32> {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return io.raw_os_error();
        }
        source = inner.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(kind: Option<&str>, mtu: u32) -> Link {
        Link {
            name: "eth0".into(),
            kind: kind.map(str::to_owned),
            bond_mode: kind
                .filter(|kind| *kind == "bond")
                .map(|_| "802.3ad".into()),
            mtu,
            ..Link::default()
        }
    }

    fn features(receives_fragments: bool) -> Option<Features> {
        Some(Features {
            takes_redirects: true,
            receives_fragments,
            sends_fragments: false,
        })
    }

    #[test]
    fn the_one_who_refuses_is_named() {
        for (kind, driver, text) in [
            (None, Some("ixgbe"), "driver ixgbe: no"),
            (None, None, "its driver: no"),
            (Some("bond"), Some("bonding"), "a bond of mode 802.3ad: no"),
            (Some("bridge"), Some("bridge"), "a bridge: no"),
            (Some("veth"), Some("veth"), "driver veth: no"),
        ] {
            assert_eq!(explain(&link(kind, 1500), driver, None, "no"), text);
        }
    }

    #[test]
    fn jumbo_frames_are_named_where_they_may_be_the_reason() {
        let jumbo = link(None, 9000);
        let said = |features| explain(&jumbo, Some("x"), features, "no");
        assert_eq!(said(features(true)), "driver x: no");
        assert_eq!(
            said(features(false)),
            "driver x: no; it does not support XDP fragments, and the MTU is 9000"
        );
        assert!(
            said(None)
                .ends_with("the MTU is 9000: above 3506 a driver has to support XDP fragments")
        );
        let usual = explain(&link(None, 3506), Some("x"), features(false), "no");
        assert_eq!(usual, "driver x: no");
    }
}
