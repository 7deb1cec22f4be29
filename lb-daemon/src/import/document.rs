//! What an imported configuration says, in our terms: the three formats fill it,
//! [`super::fit`] makes it keep our rules, [`super::output`] prints it.

use std::net::{IpAddr, SocketAddr};

use super::source::Place;
use crate::config::model::{
    ForwardingMethod, IpFamily, MarkRule, Persistence, Protocol, Scheduler, Tunnel,
};

/// A whole file.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// In the order of the file, each once.
    pub(super) interfaces: Vec<String>,
    pub(super) alerts: Option<Alerts>,
    pub(super) timeouts: Timeouts,
    pub(super) marks: Vec<Mark>,
    pub(super) services: Vec<Service>,
}

impl Document {
    /// Takes `name` as an interface, without the label of an alias (`eth0:1`).
    pub(super) fn add_interface(&mut self, name: &str) {
        let name = name.split(':').next().unwrap_or(name);
        if !name.is_empty() && !self.interfaces.iter().any(|known| known == name) {
            self.interfaces.push(name.to_owned());
        }
    }
}

/// `[alerts]`.
#[derive(Debug)]
pub(super) struct Alerts {
    pub(super) place: Place,
    pub(super) smtp: String,
    pub(super) from: String,
    pub(super) to: Vec<String>,
}

/// `[timeouts]`, seconds; none: nothing is said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Timeouts {
    pub(super) tcp_s: Option<u32>,
    pub(super) tcp_fin_s: Option<u32>,
    pub(super) udp_s: Option<u32>,
}

/// A `[[firewall_mark]]`.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) place: Place,
    pub(super) rule: MarkRule,
}

/// How clients reach a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// At least one address; several share reals and checks.
    Addresses(Protocol, Vec<SocketAddr>),
    Mark(u32, IpFamily),
}

#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) place: Place,
    pub(super) name: Option<String>,
    pub(super) identity: Identity,
    pub(super) scheduler: Scheduler,
    pub(super) scheduler_flags: Vec<String>,
    pub(super) forward: ForwardingMethod,
    pub(super) one_packet: bool,
    pub(super) persistence: Option<Persistence>,
    pub(super) slow_start_s: Option<u32>,
    pub(super) sorry_server: Option<SorryServer>,
    pub(super) quorum: Quorum,
    pub(super) reals: Vec<Real>,
}

impl Service {
    /// A service of which nothing else is said.
    pub(super) const fn new(place: Place, identity: Identity) -> Self {
        Self {
            place,
            name: None,
            identity,
            scheduler: Scheduler::Wlc,
            scheduler_flags: Vec::new(),
            forward: ForwardingMethod::Dr,
            one_packet: false,
            persistence: None,
            slow_start_s: None,
            sorry_server: None,
            quorum: Quorum {
                up: 1,
                hysteresis: 0,
                notify_up: Vec::new(),
                notify_down: Vec::new(),
            },
            reals: Vec::new(),
        }
    }

    /// The port that its reals have where none is given: 0 where the service has
    /// many, none where its addresses have several.
    pub(super) fn default_real_port(&self) -> Option<u16> {
        match &self.identity {
            Identity::Mark(..) => Some(0),
            Identity::Addresses(_, addresses) => {
                let port = addresses.first().map(SocketAddr::port);
                port.filter(|port| addresses.iter().all(|address| address.port() == *port))
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SorryServer {
    pub(super) place: Place,
    pub(super) address: IpAddr,
    /// None: the service's.
    pub(super) port: Option<u16>,
    pub(super) forward: ForwardingMethod,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Quorum {
    pub(super) up: u32,
    pub(super) hysteresis: u32,
    pub(super) notify_up: Vec<String>,
    pub(super) notify_down: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Real {
    pub(super) place: Place,
    pub(super) address: IpAddr,
    /// None: the service's.
    pub(super) port: Option<u16>,
    pub(super) weight: u32,
    pub(super) forward: ForwardingMethod,
    pub(super) tunnel: Tunnel,
    pub(super) upper_threshold: u32,
    pub(super) lower_threshold: u32,
    pub(super) notify_up: Vec<String>,
    pub(super) notify_down: Vec<String>,
    pub(super) checks: Vec<Check>,
}

impl Real {
    /// A real of which nothing else is said.
    pub(super) fn new(
        place: Place,
        address: IpAddr,
        port: Option<u16>,
        forward: ForwardingMethod,
    ) -> Self {
        Self {
            place,
            address,
            port,
            weight: 1,
            forward,
            tunnel: Tunnel::default(),
            upper_threshold: 0,
            lower_threshold: 0,
            notify_up: Vec::new(),
            notify_down: Vec::new(),
            checks: Vec::new(),
        }
    }
}

/// A health check. Its defaults are other programs', so all of it is printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) kind: CheckKind,
    pub(super) interval_ms: u64,
    pub(super) timeout_ms: u64,
    pub(super) rise: u32,
    pub(super) fall: u32,
    /// The interval while the state changes; none: the usual one.
    pub(super) fast_interval_ms: Option<u64>,
    pub(super) warmup_ms: Option<u64>,
    /// Where the probe goes; none: to the real's port, or the check has none.
    pub(super) port: Option<u16>,
    pub(super) alpha: bool,
    pub(super) omega: bool,
    /// A failed real stays with weight 0.
    pub(super) quiesce: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CheckKind {
    Tcp,
    Http(Http),
    Udp {
        send: Option<Octets>,
        expect: Option<Expect>,
    },
    Dns {
        query: String,
        record: String,
    },
    Icmp,
    Smtp {
        /// What is said in HELO.
        host: Option<String>,
    },
    SendExpect {
        send: Option<Octets>,
        expect: Option<Expect>,
    },
    Exec {
        command: Vec<String>,
        expect: Option<Expect>,
        dynamic: bool,
    },
    File {
        path: String,
    },
}

impl CheckKind {
    /// Whether the probe goes to a port.
    pub(super) const fn has_port(&self) -> bool {
        !matches!(self, Self::Icmp | Self::Exec { .. } | Self::File { .. })
    }
}

/// What goes over the wire or comes from it.
pub(super) type Octets = Vec<u8>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    Prefix(Octets),
    Regex(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Http {
    pub(super) tls: Option<Tls>,
    pub(super) path: String,
    pub(super) host: Option<String>,
    /// `200`, `200-299`; empty: every 2xx.
    pub(super) status: Vec<String>,
    pub(super) body_regex: Option<String>,
    pub(super) body_md5: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tls {
    /// Whether the certificate matters.
    pub(super) verify: bool,
    /// None: the host.
    pub(super) sni: Option<String>,
}
