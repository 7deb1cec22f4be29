//! What goes over the API socket, both ways, as `docs/api.md` documents it.
//! The daemon writes these and lbctl reads them; `-j` prints them as they are.

mod health;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{checks, openapi::values};
pub use health::{Answer, Check, Quorum, Transition};

use crate::{
    config::{
        defence::MAX_RATE,
        mark,
        model::{self, ForwardingMethod, IpFamily, MarkRule},
        vocabulary,
    },
    state::{handle::ObjectKind, marks::MarkEntry},
};

/// A virtual service with its reals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Service {
    /// `tcp:192.0.2.10:80`.
    #[schema(schema_with = values::service_id)]
    pub service: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = values::service_name)]
    pub name: Option<String>,
    pub owner: Owner,
    #[schema(schema_with = values::scheduler)]
    pub scheduler: String,
    #[schema(schema_with = values::scheduler_flags)]
    pub scheduler_flags: Vec<String>,
    /// Of mh alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub mh_table_size: Option<u32>,
    /// Absent where reals have their whole share at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub slow_start_s: Option<u64>,
    #[schema(schema_with = values::forwarding_method)]
    pub forward: String,
    /// Empty where clients' addresses are left alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(schema_with = values::addresses)]
    pub masquerade: Vec<IpAddr>,
    /// Absent where every connection is scheduled for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub persistence: Option<Persistence>,
    #[serde(default)]
    #[schema(required)]
    pub one_packet: bool,
    /// `keep` or `reset`.
    #[schema(schema_with = values::on_down)]
    pub on_down: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub rate_limit: Option<RateLimit>,
    pub reals: Vec<Real>,
    /// Of the reals that have none of their own.
    #[serde(default)]
    #[schema(required, schema_with = values::checks)]
    pub health: Vec<checks::Shown>,
    /// `all` or `any`.
    #[schema(schema_with = values::require)]
    pub require: String,
    pub quorum: Quorum,
    /// Whether the weights of the reals that are up are enough.
    pub has_quorum: bool,
    /// Who serves while the quorum is lost; it has a `listed_weight` then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub sorry_server: Option<Real>,
    pub stats: Stats,
    #[serde(default)]
    #[schema(required)]
    pub rates: Stats,
    /// [`crate::state::etag`]'s: a header of the reply.
    #[serde(skip)]
    pub etag: String,
}

/// How long clients of a service stay with their real.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Persistence {
    pub timeout_s: u32,
    /// Length of the prefix that clients share, of a service of IPv4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub netmask: Option<u8>,
    /// The same of a service of IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Mark {
    pub mark: u32,
    #[schema(schema_with = values::protocol)]
    pub protocol: String,
    /// A prefix, `192.0.2.10/32`.
    #[schema(schema_with = values::destination)]
    pub destination: String,
    /// Absent: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(schema_with = values::port_list)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Real {
    /// `10.0.0.2:80`.
    #[schema(schema_with = values::real_id)]
    pub real: String,
    #[schema(schema_with = values::forwarding_method)]
    pub forward: String,
    /// Under tun alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub tunnel: Option<Tunnel>,
    pub weight: u32,
    pub effective_weight: u32,
    /// `ready`, `drain` or `maint`.
    #[schema(schema_with = values::real_state)]
    pub state: String,
    /// `up` or `down`, by its checks; without any it is up.
    #[schema(schema_with = values::health)]
    pub health: String,
    /// The weight that lists show; absent: they do not have it, as it is down and
    /// removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub listed_weight: Option<u32>,
    /// Its own; absent: it has the service's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = values::checks)]
    pub checks: Option<Vec<checks::Shown>>,
    /// Run when it comes up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(schema_with = values::command)]
    pub notify_up: Vec<String>,
    /// Run when it goes down.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(schema_with = values::command)]
    pub notify_down: Vec<String>,
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
    #[serde(default)]
    #[schema(required)]
    pub rates: Stats,
    /// As of a [`Service`].
    #[serde(skip)]
    pub etag: String,
}

/// How packets for a real under tun are wrapped up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tunnel {
    /// `ipip`, `gue` or `gre`.
    #[serde(rename = "type")]
    #[schema(schema_with = values::tunnel_type)]
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

/// Counters since the object was made or they were zeroed; as `rates`, what they
/// have grown by a second of late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    pub connections: u64,
    pub in_packets: u64,
    pub in_bytes: u64,
    pub out_packets: u64,
    pub out_bytes: u64,
}

/// A connection, or what keeps a persistent client with his real: state
/// `NONE`, and the client's network with port 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Connection {
    /// `tcp`, `udp`, `sctp`; `ip` for a persistent client of a mark.
    #[schema(schema_with = values::connection_protocol)]
    pub protocol: String,
    /// `198.51.100.7:40000`.
    #[schema(schema_with = values::real_id)]
    pub client: String,
    /// `192.0.2.10:80`, also by way of a mark; `fwmark:80` for a persistent
    /// client of a mark.
    #[serde(rename = "virtual")]
    #[schema(schema_with = values::virtual_end)]
    pub virtual_end: String,
    /// `10.0.0.2:80`.
    #[schema(schema_with = values::real_id)]
    pub real: String,
    #[schema(schema_with = values::forwarding_method)]
    pub forward: String,
    /// As `ipvsadm -Lc` has it, and `CUT`.
    #[schema(schema_with = values::connection_state)]
    pub state: String,
    /// Until it is forgotten, without another packet.
    pub expires_s: u64,
    pub in_packets: u64,
    pub in_bytes: u64,
    /// Under nat alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub out_packets: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub out_bytes: Option<u64>,
}

/// What would change, or has: a line each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Diff {
    pub changes: Vec<String>,
}

/// What a configuration that was found right has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Checked {
    pub valid: bool,
    pub services: usize,
    pub reals: usize,
}

impl From<&model::Config> for Checked {
    fn from(config: &model::Config) -> Self {
        Self {
            valid: true,
            services: config.services.len(),
            reals: config.services.iter().map(|s| s.reals.len()).sum(),
        }
    }
}

/// What has happened, as `/v1/events` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    pub time: String,
    pub kind: EventKind,
    /// Who asked for it: `uid 0, pid 77` or `SIGHUP`; absent where nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub by: Option<String>,
    /// One line that names the object.
    pub text: String,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Services, reals and what the operator has these do.
    Service,
    Mark,
    Timeouts,
    /// Connections were flushed.
    Connections,
    /// Counters were zeroed.
    Counters,
    /// The configuration was read again, or refused.
    Reload,
    /// A real's next hop answers, or does not.
    NextHop,
    /// A real goes down or comes up by its checks, or its service's quorum.
    Health,
}

impl EventKind {
    /// As in `/v1/events`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Mark => "mark",
            Self::Timeouts => "timeouts",
            Self::Connections => "connections",
            Self::Counters => "counters",
            Self::Reload => "reload",
            Self::NextHop => "next_hop",
            Self::Health => "health",
        }
    }
}

/// `/v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Interface {
    pub name: String,
    /// `native`, `generic`, or `detached` while the interface is gone.
    #[schema(schema_with = values::interface_mode)]
    pub mode: String,
}

/// Fill of one of the data plane's tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Table {
    pub name: String,
    pub entries: u64,
    pub capacity: u64,
}

/// One service of `/v1/stats`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceStats {
    #[schema(schema_with = values::service_id)]
    pub service: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = values::service_name)]
    pub name: Option<String>,
    pub stats: Stats,
    #[serde(default)]
    #[schema(required)]
    pub rates: Stats,
    pub reals: Vec<RealStats>,
}

impl From<Service> for ServiceStats {
    fn from(service: Service) -> Self {
        let of_real = |real: Real| RealStats {
            real: real.real,
            stats: real.stats,
            rates: real.rates,
        };
        Self {
            service: service.service,
            name: service.name,
            stats: service.stats,
            rates: service.rates,
            reals: service.reals.into_iter().map(of_real).collect(),
        }
    }
}

/// One real of `/v1/stats`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RealStats {
    #[schema(schema_with = values::real_id)]
    pub real: String,
    pub stats: Stats,
    #[serde(default)]
    #[schema(required)]
    pub rates: Stats,
}

/// An error: RFC 9457's problem document, `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `about:blank`: the status says it all (RFC 9457 section 4.2.1).
    #[serde(rename = "type", default)]
    #[schema(required)]
    pub kind: String,
    /// The status in words.
    #[serde(default)]
    #[schema(required)]
    pub title: String,
    #[serde(default)]
    #[schema(required)]
    pub status: u16,
    /// One sentence that names the object.
    #[serde(default)]
    #[schema(required)]
    pub detail: String,
    /// 404 and 409: of what kind the object is that is not there, or is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub object: Option<ObjectKind>,
}
