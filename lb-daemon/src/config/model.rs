//! The configuration's meaning, validated: what the rest of the daemon works
//! with. Nothing here knows TOML.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

pub use lb_common::{
    connection::ForwardingMethod, real::TunnelKind, scheduler::Scheduler,
    tcp_state::ConnectionState,
};
use lb_common::{limits::MAX_WEIGHT, wire::protocol};

/// A whole configuration. Services are in the order of the file, each with at
/// least a unique [`ServiceId`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub director: Director,
    pub capacity: Capacity,
    pub timeouts: Timeouts,
    pub options: Options,
    pub services: Vec<Service>,
}

/// `[director]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Director {
    /// At least one, no duplicates.
    pub interfaces: Vec<String>,
    pub xdp_mode: XdpMode,
    pub pin_dir: PathBuf,
    pub state_dir: PathBuf,
    pub socket: PathBuf,
    pub socket_group: Option<String>,
    pub detach_on_exit: bool,
}

/// Where the kernel runs the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// Native where the driver can, else generic with a warning.
    Auto,
    Native,
    Generic,
}

/// `[capacity]`: sizes of maps, entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    pub services: u32,
    pub reals: u32,
    pub connections: u32,
}

/// `[timeouts]`: seconds for each connection state, indexed by
/// [`ConnectionState`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts(pub [u32; ConnectionState::ALL.len()]);

/// `[options]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub sloppy_tcp: bool,
    pub reuse_fin_wait: bool,
    /// ICMP messages a second and CPU.
    pub icmp_rate: u32,
    pub tunnel_sources: TunnelSources,
}

/// The prefixes that the outer sources of tunnels are taken from, by flow; a
/// family without one has the address of the egress interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunnelSources {
    /// The network's address, all bits behind the prefix 0, and the prefix's
    /// length.
    pub v4: Option<(Ipv4Addr, u8)>,
    pub v6: Option<(Ipv6Addr, u8)>,
}

/// Transport protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// IP protocol number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => protocol::TCP,
            Self::Udp => protocol::UDP,
            Self::Sctp => protocol::SCTP,
        }
    }

    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            protocol::TCP => Some(Self::Tcp),
            protocol::UDP => Some(Self::Udp),
            protocol::SCTP => Some(Self::Sctp),
            _ => None,
        }
    }

    /// As in `lbd.toml`: lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|protocol| protocol.name() == name)
    }
}

/// Names a virtual service: `tcp:192.0.2.10:80`, `udp:[2001:db8::1]:53`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId {
    pub protocol: Protocol,
    pub address: IpAddr,
    pub port: u16,
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let socket = SocketAddr::new(self.address, self.port);
        write!(f, "{}:{socket}", self.protocol.name())
    }
}

impl FromStr for ServiceId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || {
            format!("{text:?} is not a service: expected tcp:192.0.2.10:80 or udp:[2001:db8::1]:53")
        };
        let (protocol, socket) = text.split_once(':').ok_or_else(error)?;
        let protocol = Protocol::from_name(protocol).ok_or_else(error)?;
        let socket: SocketAddr = socket.parse().map_err(|_| error())?;
        Ok(Self {
            protocol,
            address: socket.ip(),
            port: socket.port(),
        })
    }
}

/// Names a real server within its service: `10.0.0.2:80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RealId {
    pub address: IpAddr,
    pub port: u16,
}

impl fmt::Display for RealId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.address, self.port).fmt(f)
    }
}

/// A virtual service with its reals, in order of configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub id: ServiceId,
    pub name: Option<String>,
    pub scheduler: Scheduler,
    /// Default for its reals.
    pub forward: ForwardingMethod,
    /// nat: the addresses that stand in the clients' place towards the reals;
    /// none: the clients' own.
    pub masquerade: Vec<IpAddr>,
    /// Unique by [`RealId`].
    pub reals: Vec<Real>,
}

/// A real server of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Real {
    pub id: RealId,
    pub weight: Weight,
    pub forward: ForwardingMethod,
    /// The default unless the method is tun.
    pub tunnel: Tunnel,
}

/// How packets for a real under tun are wrapped up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    pub kind: TunnelKind,
    /// GUE: the UDP port that the real decapsulates on; else the default.
    pub port: u16,
    /// GUE and GRE alone have one.
    pub checksum: bool,
}

impl Tunnel {
    /// IANA has given GUE this port.
    pub const DEFAULT_PORT: u16 = 6080;
}

impl Default for Tunnel {
    fn default() -> Self {
        Self {
            kind: TunnelKind::Ipip,
            port: Self::DEFAULT_PORT,
            checksum: false,
        }
    }
}

/// A weight from 0 (quiesced) to 65,535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(u32);

impl Weight {
    pub const ONE: Self = Self(1);

    #[must_use]
    pub const fn new(weight: u32) -> Option<Self> {
        if weight <= MAX_WEIGHT {
            Some(Self(weight))
        } else {
            None
        }
    }

    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
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
        ] {
            assert_eq!(text.parse::<ServiceId>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "tcp",
            "tcp:1.2.3.4",
            "icmp:1.2.3.4:5",
            "tcp:300.1.1.1:80",
        ] {
            let error = text.parse::<ServiceId>().unwrap_err();
            assert!(error.contains("is not a service"), "{error}");
        }
    }
}
