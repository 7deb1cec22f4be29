//! What goes over the API socket, both ways, as `docs/api.md` documents it.
//! The daemon writes these and lbctl reads them; `-j` prints them as they are.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{
    config::{
        defence::MAX_RATE,
        mark,
        model::{self, ForwardingMethod, IpFamily, MarkRule},
        vocabulary,
    },
    state::marks::MarkEntry,
};

/// A virtual service with its reals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// `tcp:192.0.2.10:80`.
    pub service: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub owner: Owner,
    pub scheduler: String,
    pub scheduler_flags: Vec<String>,
    /// Of mh alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mh_table_size: Option<u32>,
    /// Absent where reals have their whole share at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start_s: Option<u64>,
    pub forward: String,
    /// Empty where clients' addresses are left alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masquerade: Vec<IpAddr>,
    /// Absent where every connection is scheduled for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
    #[serde(default)]
    pub one_packet: bool,
    /// `keep` or `reset`.
    pub on_down: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    pub reals: Vec<Real>,
    pub stats: Stats,
}

/// How long clients of a service stay with their real.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Persistence {
    pub timeout_s: u32,
    /// Length of the prefix that clients share, of a service of IPv4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netmask: Option<u8>,
    /// The same of a service of IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netmask_v6: Option<u8>,
}

impl Persistence {
    /// The persistence of a service of `family`.
    #[must_use]
    pub fn of(persistence: model::Persistence, family: IpFamily) -> Self {
        let prefix = Some(persistence.prefix(family));
        let (netmask, netmask_v6) = match family {
            IpFamily::V4 => (prefix, None),
            IpFamily::V6 => (None, prefix),
        };
        Self {
            timeout_s: persistence.timeout_s,
            netmask,
            netmask_v6,
        }
    }
}

/// New connections a second that a service takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    pub connections: u32,
    pub burst: u32,
}

impl From<model::RateLimit> for RateLimit {
    fn from(limit: model::RateLimit) -> Self {
        let model::RateLimit { connections, burst } = limit;
        Self { connections, burst }
    }
}

impl TryFrom<RateLimit> for model::RateLimit {
    type Error = String;

    fn try_from(limit: RateLimit) -> Result<Self, String> {
        let RateLimit { connections, burst } = limit;
        let range = 1..=MAX_RATE;
        if range.contains(&connections) && range.contains(&burst) {
            Ok(Self { connections, burst })
        } else {
            Err(format!("{limit:?} is out of range"))
        }
    }
}

/// A rule of the firewall marks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub mark: u32,
    pub protocol: String,
    /// A prefix, `192.0.2.10/32`.
    pub destination: String,
    /// Absent: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Ports>,
    pub owner: Owner,
}

/// A port, or a range of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Ports {
    One(u16),
    /// `10000-20000`.
    Range(String),
}

impl Mark {
    #[must_use]
    pub fn of(rule: &MarkRule, owner: Owner) -> Self {
        let (network, length) = rule.destination;
        let ports = |(first, last): &(u16, u16)| {
            if first == last {
                Ports::One(*first)
            } else {
                Ports::Range(format!("{first}-{last}"))
            }
        };
        Self {
            mark: rule.mark,
            protocol: rule.protocol.name().into(),
            destination: format!("{network}/{length}"),
            ports: rule.ports.iter().map(ports).collect(),
            owner,
        }
    }
}

impl From<&MarkEntry> for Mark {
    fn from(entry: &MarkEntry) -> Self {
        Self::of(&entry.rule, entry.owner)
    }
}

impl TryFrom<&Mark> for MarkRule {
    type Error = String;

    fn try_from(wire: &Mark) -> Result<Self, String> {
        let ports = wire.ports.iter().map(|ports| match ports {
            Ports::One(port) => mark::port_range(&port.to_string()),
            Ports::Range(text) => mark::port_range(text),
        });
        Ok(Self {
            mark: mark::mark(&wire.mark.to_string())?,
            protocol: vocabulary::protocol(&wire.protocol)?,
            destination: mark::destination(&wire.destination)?,
            ports: mark::in_order(ports.collect::<Result<_, _>>()?),
        })
    }
}

impl TryFrom<&Mark> for MarkEntry {
    type Error = String;

    fn try_from(mark: &Mark) -> Result<Self, String> {
        Ok(Self {
            rule: MarkRule::try_from(mark)?,
            owner: mark.owner,
        })
    }
}

/// Who an object belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// The configuration file.
    File,
    /// Made by lbctl or the API.
    Runtime,
}

impl Owner {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Runtime => "runtime",
        }
    }
}

/// A real server of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Real {
    /// `10.0.0.2:80`.
    pub real: String,
    pub forward: String,
    /// Under tun alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
    pub weight: u32,
    pub effective_weight: u32,
    /// `ready`, `drain` or `maint`.
    pub state: String,
    /// `up`.
    pub health: String,
    pub owner: Owner,
    /// `resolved`, or why not.
    pub next_hop: String,
    pub upper_threshold: u32,
    pub lower_threshold: u32,
    pub overloaded: bool,
    pub active: u32,
    pub inactive: u32,
    pub persistent: u32,
    pub stats: Stats,
}

/// How packets for a real under tun are wrapped up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    /// `ipip`, `gue` or `gre`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Of gue.
    pub port: u16,
    pub checksum: bool,
}

impl Tunnel {
    /// The tunnel of a real that has one.
    #[must_use]
    pub fn of(real: &model::Real) -> Option<Self> {
        let model::Tunnel {
            kind,
            port,
            checksum,
        } = real.tunnel;
        (real.forward == ForwardingMethod::Tun).then(|| Self {
            kind: kind.name().into(),
            port,
            checksum,
        })
    }
}

impl TryFrom<&Tunnel> for model::Tunnel {
    type Error = String;

    fn try_from(tunnel: &Tunnel) -> Result<Self, String> {
        Ok(Self {
            kind: vocabulary::tunnel_kind(&tunnel.kind)?,
            port: tunnel.port,
            checksum: tunnel.checksum,
        })
    }
}

/// Counters since the object was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    pub connections: u64,
    pub in_packets: u64,
    pub in_bytes: u64,
    pub out_packets: u64,
    pub out_bytes: u64,
}

/// A connection, or what keeps a persistent client with his real: state
/// `NONE`, and the client's network with port 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// `tcp`, `udp`, `sctp`; `ip` for a persistent client of a mark.
    pub protocol: String,
    /// `198.51.100.7:40000`.
    pub client: String,
    /// `192.0.2.10:80`, also by way of a mark; `fwmark:80` for a persistent
    /// client of a mark.
    #[serde(rename = "virtual")]
    pub virtual_end: String,
    /// `10.0.0.2:80`.
    pub real: String,
    pub forward: String,
    /// As `ipvsadm -Lc` has it, and `CUT`.
    pub state: String,
    /// Until it is forgotten, without another packet.
    pub expires_s: u64,
    pub in_packets: u64,
    pub in_bytes: u64,
    /// Under nat alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_packets: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_bytes: Option<u64>,
}

/// `/v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub uptime_s: u64,
    pub interfaces: Vec<Interface>,
    pub tables: Vec<Table>,
    /// Dropped packets by reason; reasons with none are left out.
    pub drops: std::collections::BTreeMap<String, u64>,
    /// Reals whose next hop is not known: `SERVICE REAL: reason`.
    pub unresolved: Vec<String>,
    pub warnings: Vec<String>,
}

/// An interface that the program is attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    pub name: String,
    /// `native`, `generic`, or `detached` while the interface is gone.
    pub mode: String,
}

/// Fill of one of the data plane's tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pub name: String,
    pub entries: u64,
    pub capacity: u64,
}

/// One service of `/v1/stats`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStats {
    pub service: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub stats: Stats,
    pub reals: Vec<RealStats>,
}

/// One real of `/v1/stats`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealStats {
    pub real: String,
    pub stats: Stats,
}

/// An error: RFC 9457's problem document, `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `about:blank`: the status says it all (RFC 9457 section 4.2.1).
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The status in words.
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub status: u16,
    /// One sentence that names the object.
    #[serde(default)]
    pub detail: String,
}
