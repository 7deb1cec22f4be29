//! The configuration's meaning, validated: what the rest of the daemon works
//! with. Nothing here knows TOML.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

pub use lb_common::{connection::ForwardingMethod, scheduler::Scheduler};
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
/// [`lb_common::tcp_state::ConnectionState`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts(pub [u32; 12]);

/// `[options]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub sloppy_tcp: bool,
    pub reuse_fin_wait: bool,
    /// ICMP messages a second and CPU.
    pub icmp_rate: u32,
}

/// Transport protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    /// IP protocol number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => protocol::TCP,
            Self::Udp => protocol::UDP,
        }
    }

    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            protocol::TCP => Some(Self::Tcp),
            protocol::UDP => Some(Self::Udp),
            _ => None,
        }
    }

    /// As in `lbd.toml`: lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
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
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return Err(error()),
        };
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
    /// Unique by [`RealId`].
    pub reals: Vec<Real>,
}

/// A real server of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Real {
    pub id: RealId,
    pub weight: Weight,
    pub forward: ForwardingMethod,
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

/// Why an object cannot be as asked for. The text names the object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

impl Service {
    /// The rules that hold for one service whoever made it.
    pub fn validate(&self) -> Result<(), Invalid> {
        let id = self.id;
        if id.port == 0 {
            return Err(Invalid(format!(
                "service {id}: port 0 needs persistence, which is not supported yet"
            )));
        }
        if id.address.is_ipv6() {
            return Err(Invalid(format!(
                "service {id}: IPv6 services are not supported yet"
            )));
        }
        if id.address.is_unspecified() || id.address.is_multicast() {
            return Err(Invalid(format!("service {id}: not a unicast address")));
        }
        let limit = lb_common::limits::MAX_REALS_PER_SERVICE as usize;
        if self.reals.len() > limit {
            return Err(Invalid(format!("service {id}: more than {limit} reals")));
        }
        for (i, real) in self.reals.iter().enumerate() {
            if self.reals[..i].iter().any(|other| other.id == real.id) {
                return Err(Invalid(format!(
                    "service {id}: real {} is listed twice",
                    real.id
                )));
            }
            real.validate(id)?;
        }
        Ok(())
    }
}

impl Real {
    /// The rules that hold for one real of the service `of`.
    pub fn validate(&self, of: ServiceId) -> Result<(), Invalid> {
        let id = self.id;
        let at = format!("service {of}: real {id}");
        if id.address.is_ipv6() {
            return Err(Invalid(format!("{at}: IPv6 reals are not supported yet")));
        }
        if id.address.is_unspecified() || id.address.is_multicast() || id.address.is_loopback() {
            return Err(Invalid(format!(
                "{at}: not a unicast address of another host"
            )));
        }
        if id.port == 0 {
            return Err(Invalid(format!("{at}: port 0")));
        }
        if self.forward != ForwardingMethod::Nat && id.port != of.port {
            let method = self.forward.name();
            return Err(Invalid(format!(
                "{at}: {method} cannot change the port (the service's is {}); use nat or leave the port out",
                of.port
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_named_as_on_the_command_line() {
        for text in ["tcp:192.0.2.10:80", "udp:[2001:db8::1]:53"] {
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
