//! What services and reals are called, on the command line, in the API and
//! in the state file.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use super::model::Protocol;

/// Names a virtual service: `tcp:192.0.2.10:80`, `udp:[2001:db8::1]:53`,
/// `fwmark:80`, `fwmark6:80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceId {
    Address(VirtualAddress),
    Mark(FirewallMark),
}

/// What most services are reached by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VirtualAddress {
    pub protocol: Protocol,
    pub address: IpAddr,
    /// 0: every port.
    pub port: u16,
}

/// Packets of one family that `[[firewall_mark]]` marks alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FirewallMark {
    /// Not 0.
    pub mark: u32,
    pub family: IpFamily,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IpFamily {
    V4,
    V6,
}

/// Names a real server within its service: `10.0.0.2:80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RealId {
    pub address: IpAddr,
    /// 0: the port that the packet has, where the service has many.
    pub port: u16,
}

impl ServiceId {
    /// None: a mark's packets may be of any.
    #[must_use]
    pub const fn protocol(self) -> Option<Protocol> {
        match self {
            Self::Address(virtual_address) => Some(virtual_address.protocol),
            Self::Mark(_) => None,
        }
    }

    /// The VIP; none where a mark stands for any.
    #[must_use]
    pub const fn address(self) -> Option<IpAddr> {
        match self {
            Self::Address(virtual_address) => Some(virtual_address.address),
            Self::Mark(_) => None,
        }
    }

    /// None: a mark's packets may be for any.
    #[must_use]
    pub const fn port(self) -> Option<u16> {
        match self {
            Self::Address(virtual_address) => Some(virtual_address.port),
            Self::Mark(_) => None,
        }
    }

    #[must_use]
    pub const fn family(self) -> IpFamily {
        match self {
            Self::Address(virtual_address) => IpFamily::of(virtual_address.address),
            Self::Mark(mark) => mark.family,
        }
    }

    /// The port of a real for which none is given: the service's, and 0 where
    /// that has many.
    #[must_use]
    pub fn default_real_port(self) -> u16 {
        self.port().unwrap_or(0)
    }
}

impl IpFamily {
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// For people: `IPv4`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// How `lbctl` calls a mark's service: `fwmark` or `fwmark6`.
    const fn mark_word(self) -> &'static str {
        match self {
            Self::V4 => "fwmark",
            Self::V6 => "fwmark6",
        }
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(virtual_address) => {
                let socket = SocketAddr::new(virtual_address.address, virtual_address.port);
                write!(f, "{}:{socket}", virtual_address.protocol.name())
            }
            Self::Mark(mark) => write!(f, "{}:{}", mark.family.mark_word(), mark.mark),
        }
    }
}

impl FromStr for ServiceId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || {
            format!(
                "{text:?} is not a service: expected tcp:192.0.2.10:80, udp:[2001:db8::1]:53 or \
                 fwmark:80"
            )
        };
        let (kind, rest) = text.split_once(':').ok_or_else(error)?;
        let families = [IpFamily::V4, IpFamily::V6];
        if let Some(family) = families.into_iter().find(|f| f.mark_word() == kind) {
            let mark = rest.parse().ok().filter(|mark| *mark != 0);
            let mark = mark.ok_or_else(|| {
                format!(
                    "{text:?} is not a service: a mark is from 1 to {}",
                    u32::MAX
                )
            })?;
            return Ok(Self::Mark(FirewallMark { mark, family }));
        }
        let protocol = Protocol::from_name(kind).ok_or_else(error)?;
        let socket: SocketAddr = rest.parse().map_err(|_| error())?;
        Ok(Self::Address(VirtualAddress {
            protocol,
            address: socket.ip(),
            port: socket.port(),
        }))
    }
}

impl fmt::Display for RealId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.address, self.port).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_named_as_on_the_command_line() {
        for text in [
            "tcp:192.0.2.10:80",
            "udp:[2001:db8::1]:53",
            "sctp:192.0.2.10:2905",
            "tcp:192.0.2.10:0",
            "fwmark:80",
            "fwmark6:4294967295",
        ] {
            assert_eq!(text.parse::<ServiceId>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "tcp",
            "tcp:1.2.3.4",
            "icmp:1.2.3.4:5",
            "tcp:300.1.1.1:80",
            "fwmark:0",
            "fwmark:",
            "fwmark6:4294967296",
            "fwmark4:80",
        ] {
            let error = text.parse::<ServiceId>().unwrap_err();
            assert!(error.contains("is not a service"), "{error}");
        }
    }

    #[test]
    fn a_mark_has_a_family_and_no_address() {
        let mark: ServiceId = "fwmark6:80".parse().unwrap();
        assert_eq!(
            (mark.protocol(), mark.address(), mark.port()),
            (None, None, None)
        );
        assert_eq!(mark.family(), IpFamily::V6);
        assert_eq!(mark.default_real_port(), 0);
        let vip: ServiceId = "tcp:192.0.2.10:80".parse().unwrap();
        assert_eq!((vip.family(), vip.default_real_port()), (IpFamily::V4, 80));
    }
}
