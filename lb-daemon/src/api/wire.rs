//! What goes over the API socket, both ways, as `docs/api.md` documents it.
//! The daemon writes these and lbctl reads them; `-j` prints them as they are.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::config::{
    model::{self, ForwardingMethod},
    vocabulary,
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
    pub forward: String,
    /// Empty where clients' addresses are left alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masquerade: Vec<IpAddr>,
    pub reals: Vec<Real>,
    pub stats: Stats,
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
    /// `ready`.
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
