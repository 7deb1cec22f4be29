//! Names of hosts and ports, as the system's resolver has them; ipvsadm
//! prints names unless it is told not to.

use std::{
    collections::HashMap,
    ffi::{CStr, c_char},
    net::{IpAddr, SocketAddr},
};

use crate::config::model::Protocol;

/// Room for a host's and for a port's name: netdb.h's NI_MAXHOST, NI_MAXSERV.
const HOST_BYTES: usize = 1025;
const PORT_BYTES: usize = 32;

/// What ipvsadm has room for, with the port and its colon.
const NAME_CHARS: usize = 59;

/// How addresses and ports are printed.
#[derive(Debug)]
pub(super) enum Names {
    Numeric,
    /// By name; what has been looked up is kept.
    Resolved(HashMap<IpAddr, String>),
}

impl Names {
    /// `socket` in ipvsadm's form: IPv6 in brackets, also by name.
    pub(super) fn of(&mut self, socket: SocketAddr, protocol: Protocol) -> String {
        let Self::Resolved(hosts) = self else {
            return socket.to_string();
        };
        let address = socket.ip();
        let host = hosts
            .entry(address)
            .or_insert_with(|| host_name(address).unwrap_or_else(|| address.to_string()));
        let port = port_name(socket.port(), protocol).unwrap_or_else(|| socket.port().to_string());
        let name = if address.is_ipv6() {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        name.chars().take(NAME_CHARS).collect()
    }
}

fn host_name(address: IpAddr) -> Option<String> {
    let mut host = [0; HOST_BYTES];
    name_info(
        SocketAddr::new(address, 0),
        &mut host,
        &mut [],
        libc::NI_NAMEREQD,
    )
}

/// From /etc/services or wherever nsswitch.conf points to.
fn port_name(port: u16, protocol: Protocol) -> Option<String> {
    let mut name = [0; PORT_BYTES];
    let flags = match protocol {
        Protocol::Tcp => 0,
        Protocol::Udp => libc::NI_DGRAM,
        Protocol::Sctp => return sctp_port_name(port),
    };
    name_info(
        SocketAddr::new([0, 0, 0, 0].into(), port),
        &mut [],
        &mut name,
        flags,
    )
}

/// getnameinfo(3) knows of no protocol but TCP and UDP.
fn sctp_port_name(port: u16) -> Option<String> {
    // SAFETY: the protocol's name ends with a NUL and outlives the call.
    let entry = unsafe { libc::getservbyport(port.to_be().into(), c"sctp".as_ptr()) };
    // SAFETY: null, or an entry that is valid until the next call, which no
    // other thread makes: lbctl has one.
    let entry = unsafe { entry.as_ref() }?;
    // SAFETY: an entry's name ends with a NUL.
    let name = unsafe { CStr::from_ptr(entry.s_name) };
    Some(name.to_string_lossy().into_owned())
}

/// getnameinfo(3) into the one buffer that has room.
fn name_info(
    socket: SocketAddr,
    host: &mut [c_char],
    port: &mut [c_char],
    flags: i32,
) -> Option<String> {
    let v4;
    let v6;
    let (address, length) = match socket {
        SocketAddr::V4(socket) => {
            v4 = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: socket.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from_ne_bytes(socket.ip().octets()),
                },
                sin_zero: [0; 8],
            };
            ((&raw const v4).cast::<libc::sockaddr>(), size_of_val(&v4))
        }
        SocketAddr::V6(socket) => {
            v6 = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: socket.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr {
                    s6_addr: socket.ip().octets(),
                },
                sin6_scope_id: 0,
            };
            ((&raw const v6).cast::<libc::sockaddr>(), size_of_val(&v6))
        }
    };
    let pointer = |buffer: &mut [c_char]| {
        if buffer.is_empty() {
            std::ptr::null_mut()
        } else {
            buffer.as_mut_ptr()
        }
    };
    // SAFETY: `address` points to a socket address of `length` bytes that
    // lives to the end of this function; each buffer is null with length 0,
    // or as long as is said.
    let result = unsafe {
        libc::getnameinfo(
            address,
            libc::socklen_t::try_from(length).ok()?,
            pointer(host),
            libc::socklen_t::try_from(host.len()).ok()?,
            pointer(port),
            libc::socklen_t::try_from(port.len()).ok()?,
            flags,
        )
    };
    if result != 0 {
        return None;
    }
    let written = if host.is_empty() { port } else { host };
    // SAFETY: on success getnameinfo has ended the name with a NUL within the
    // buffer, which the caller made not empty.
    let name = unsafe { CStr::from_ptr(written.as_ptr()) };
    Some(name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_numbers() {
        let name = Names::Numeric.of("192.0.2.10:80".parse().unwrap(), Protocol::Tcp);
        assert_eq!(name, "192.0.2.10:80");
        let name = Names::Numeric.of("[2001:db8::1]:53".parse().unwrap(), Protocol::Udp);
        assert_eq!(name, "[2001:db8::1]:53");
    }

    #[test]
    fn what_has_no_name_is_printed_as_a_number() {
        // The host comes from the table, so that no resolver is asked.
        let address = IpAddr::from([192, 0, 2, 10]);
        let mut names = Names::Resolved(HashMap::from([(address, "vip".to_owned())]));
        assert_eq!(
            names.of(SocketAddr::new(address, 65_533), Protocol::Tcp),
            "vip:65533"
        );
    }

    #[test]
    fn a_name_may_be_too_long_for_its_port() {
        let address = IpAddr::from([192, 0, 2, 10]);
        for (letters, port) in [(57, ":6"), (60, "")] {
            let host = "h".repeat(letters);
            let mut names = Names::Resolved(HashMap::from([(address, host)]));
            let name = names.of(SocketAddr::new(address, 65_533), Protocol::Tcp);
            assert_eq!(name, format!("{}{port}", "h".repeat(letters.min(59))));
        }
    }

    #[test]
    fn the_resolver_is_asked_in_both_families() {
        // Whatever the answers are: nothing is written out of bounds, and
        // hosts files name the loopback addresses.
        for address in ["127.0.0.1", "::1"] {
            if let Some(name) = host_name(address.parse().unwrap()) {
                assert!(!name.is_empty());
            }
        }
        let name = port_name(80, Protocol::Tcp).unwrap();
        assert!(name == "http" || name == "80", "{name}");
        assert_eq!(port_name(65_533, Protocol::Sctp), None);
    }
}
