//! An interface as it is at this moment, the name of its driver, and the XDP
//! program that somebody else may have on it.

use std::{
    collections::HashSet,
    io,
    mem::{size_of, zeroed},
    os::{fd::AsRawFd as _, unix::net::UnixDatagram},
};

use aya::programs::loaded_programs;
use nix::errno::Errno;
use rtnetlink::{
    packet_core::Parseable as _,
    packet_route::{
        address::{AddressMessage, AddressScope},
        link::{LinkAttribute, LinkMessage, LinkXdp},
    },
    sys::protocols::NETLINK_ROUTE,
};

use super::{
    DataPlaneError,
    netlink::{Refused, ask, attribute, list},
};
use crate::net::{link::Link, links::Links};

// include/uapi/linux/rtnetlink.h and if_link.h
const RTM_GETLINK: u16 = 18;
const RTM_GETADDR: u16 = 22;
const IFLA_IFNAME: u16 = 3;
/// `struct ifinfomsg`.
const IFINFO_BYTES: usize = 16;
/// `struct ifaddrmsg`.
const IFADDR_BYTES: usize = 8;

// include/uapi/linux/ethtool.h
const SIOCETHTOOL: libc::c_ulong = 0x8946;
const ETHTOOL_GDRVINFO: u32 = 3;

/// Looks an interface up by its name.
pub(super) fn find(name: &str) -> Result<Link, DataPlaneError> {
    let none = || DataPlaneError::NoInterface {
        name: name.to_owned(),
    };
    if name.is_empty() || name.len() >= libc::IFNAMSIZ {
        return Err(none());
    }
    let message = match message(name) {
        Ok(message) => message,
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Err(none()),
        Err(source) => {
            return Err(DataPlaneError::Path {
                action: "look up interface",
                path: name.into(),
                source,
            });
        }
    };
    Link::from_message(&message).ok_or_else(none)
}

/// The interfaces by which packets for others may leave: those with addresses
/// that are good beyond the link, and the ports of VLAN interfaces with such.
pub(super) fn ways_out() -> io::Result<HashSet<u32>> {
    let refused = |Refused { error, .. }: Refused| error;
    let links = list(NETLINK_ROUTE, RTM_GETLINK, &[0; IFINFO_BYTES]).map_err(refused)?;
    let links: Links = links
        .iter()
        .filter_map(|answer| Link::from_message(&LinkMessage::parse(answer).ok()?))
        .collect();
    let addresses = list(NETLINK_ROUTE, RTM_GETADDR, &[0; IFADDR_BYTES]).map_err(refused)?;
    let with_addresses = addresses
        .iter()
        .filter_map(|answer| AddressMessage::parse(answer).ok())
        .filter(|address| address.header.scope == AddressScope::Universe)
        .map(|address| address.header.index);
    let by_port = |index| [Some(index), links.egress(index).ok().map(|e| e.ifindex)];
    Ok(with_addresses.flat_map(by_port).flatten().collect())
}

/// The index of the interface of this name; none if there is no such interface.
pub(super) fn index_of(name: &str) -> io::Result<Option<u32>> {
    match nix::net::if_::if_nametoindex(name) {
        Ok(index) => Ok(Some(index)),
        Err(Errno::ENODEV) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Names the interface of this index.
pub(super) fn name_of(index: u32) -> Option<String> {
    let name = nix::net::if_::if_indextoname(index).ok()?;
    name.into_string().ok()
}

/// The XDP program on an interface, as in `xdp_pass (id 7)`.
pub(super) fn occupant(name: &str) -> Option<String> {
    let message = message(name).ok()?;
    let id = message.attributes.iter().find_map(|attribute| {
        let LinkAttribute::Xdp(attributes) = attribute else {
            return None;
        };
        // With programs in several modes there is one number for each mode.
        attributes.iter().find_map(|attribute| match attribute {
            LinkXdp::ProgId(id)
            | LinkXdp::DrvProgId(id)
            | LinkXdp::SkbProgId(id)
            | LinkXdp::HwProgId(id) => Some(*id),
            _ => None,
        })
    })?;
    let program = loaded_programs()
        .filter_map(Result::ok)
        .find(|program| program.id() == id);
    let program_name = program.as_ref().and_then(|program| program.name_as_str());
    Some(match program_name {
        Some(name) if !name.is_empty() => format!("{name} (id {id})"),
        _ => format!("id {id}"),
    })
}

/// The name of an interface's driver, as in "ixgbe".
pub(super) fn driver(name: &str) -> Option<String> {
    /// `struct ethtool_drvinfo`, of which the name alone matters.
    #[repr(C)]
    struct DriverInfo {
        command: u32,
        driver: [u8; 32],
        rest: [u8; 160],
    }
    // Any socket takes the request, for the namespace that it was made in.
    let socket = UnixDatagram::unbound().ok()?;
    let mut info = DriverInfo {
        command: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        rest: [0; 160],
    };
    // SAFETY: all zeros are a valid value of this plain C structure.
    let mut request: libc::ifreq = unsafe { zeroed() };
    // The last byte stays the closing zero.
    let space = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name[..space].iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = (&raw mut info).cast();
    // SAFETY: `request` and the `info` that it points to outlive the call, and
    // the kernel writes one `struct ethtool_drvinfo`, 196 bytes, into `info`.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    if result < 0 {
        return None;
    }
    let end = info.driver.iter().position(|byte| *byte == 0)?;
    let driver = String::from_utf8_lossy(&info.driver[..end]).into_owned();
    const { assert!(size_of::<DriverInfo>() == 196) };
    (!driver.is_empty()).then_some(driver)
}

fn message(name: &str) -> io::Result<LinkMessage> {
    let mut body = vec![0; IFINFO_BYTES];
    body.extend(attribute(IFLA_IFNAME, format!("{name}\0").as_bytes()));
    let answers = ask(NETLINK_ROUTE, RTM_GETLINK, &body).map_err(|Refused { error, .. }| error)?;
    let answer = answers.first().ok_or(io::ErrorKind::UnexpectedEof)?;
    LinkMessage::parse(answer).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_and_has_no_program_and_no_driver_to_speak_of() {
        let link = find("lo").unwrap();
        assert_eq!((link.index, link.mac), (1, None));
        assert_eq!(name_of(1).as_deref(), Some("lo"));
        assert_eq!(index_of("lo").unwrap(), Some(1));
        assert_eq!(occupant("lo"), None);
        assert_eq!(driver("no-such-if"), None);
    }

    #[test]
    fn an_interface_that_is_not_there_is_named() {
        for name in ["no-such-if", "", "an-impossibly-long-name"] {
            assert_eq!(index_of(name).unwrap(), None);
            let error = find(name).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("interface {name} does not exist")
            );
        }
    }
}
