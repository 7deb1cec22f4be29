//! The configuration's meaning, validated: what the rest of the daemon works
//! with. Nothing here knows TOML.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

pub use super::{
    alerts::Alerts,
    defence::{Defence, RateLimit, SourceLimit, Strategy},
    health::{Health, Quorum, RealHealth},
    identity::{FirewallMark, IpFamily, RealId, ServiceId, VirtualAddress},
    mark::MarkRule,
    persistence::Persistence,
    scheduling::{DEFAULT_TABLE_SIZE, Scheduling},
    timeouts::Timeouts,
};
pub use lb_common::{connection::ForwardingMethod, real::TunnelKind, scheduler::Scheduler};
use lb_common::{limits::MAX_WEIGHT, wire::protocol};

/// A whole configuration. Services are in the order of the file, each with a
/// unique [`ServiceId`]; those of one name are a group, which stands together:
/// one table with `listen` made them. No two of the marks' rules contradict
/// each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub director: Director,
    pub capacity: Capacity,
    pub timeouts: Timeouts,
    pub options: Options,
    pub defence: Defence,
    pub metrics: Metrics,
    /// None: no mail is sent.
    pub alerts: Option<Alerts>,
    pub marks: Vec<MarkRule>,
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
    /// lbd adds the VIPs to `vip_interface`, and removes them.
    pub manage_addresses: bool,
    pub vip_interface: String,
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
    pub persistence: u32,
}

/// `[options]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub sloppy_tcp: bool,
    /// A connection of a deleted real ends at its next packet.
    pub expire_nodest: bool,
    /// Persistent clients of a quiesced real go elsewhere.
    pub expire_quiescent: bool,
    pub reuse_fin_wait: bool,
    /// Seconds that lblc and lblcr remember what nobody asks for, and after which
    /// a set of lblcr that stays the same loses a member.
    pub lblc_expiry_s: u32,
    /// ICMP messages a second and CPU.
    pub icmp_rate: u32,
    pub tunnel_sources: TunnelSources,
}

/// `[metrics]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// None: they are not served.
    pub listen: Option<SocketAddr>,
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

/// A virtual service with its reals, in order of configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub id: ServiceId,
    /// Shared by a group, else unique.
    pub name: Option<String>,
    pub scheduler: Scheduler,
    /// Bits of [`lb_common::scheduler::flag`] that the scheduler takes.
    pub scheduler_flags: u32,
    /// mh: a prime.
    pub mh_table_size: u32,
    /// How long a real that comes up takes to its whole share; none: it has it
    /// at once.
    pub slow_start: Option<Duration>,
    /// Default for its reals.
    pub forward: ForwardingMethod,
    /// nat: the addresses that stand in the clients' place towards the reals;
    /// none: the clients' own.
    pub masquerade: Vec<IpAddr>,
    /// None: every connection is scheduled for itself.
    pub persistence: Option<Persistence>,
    /// udp alone: every datagram is scheduled.
    pub one_packet: bool,
    pub on_down: OnDown,
    /// None: no limit.
    pub rate_limit: Option<RateLimit>,
    pub health: Arc<Health>,
    /// Unique by [`RealId`].
    pub reals: Vec<Real>,
}

/// A real server of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Real {
    pub id: RealId,
    pub weight: Weight,
    pub forward: ForwardingMethod,
    /// The default unless the method is tun.
    pub tunnel: Tunnel,
    /// Connections from which on it is overloaded; 0: never.
    pub upper_threshold: u32,
    /// Connections below which it no longer is; 0: 75 % of the upper.
    pub lower_threshold: u32,
    /// What it has besides the service's; none: nothing.
    pub health: Option<Arc<RealHealth>>,
    /// Set by lbctl and the API alone.
    pub state: RealState,
}

impl Service {
    /// A service of an identity, as it is when nothing else is said of it.
    #[must_use]
    pub fn new(id: ServiceId, scheduler: Scheduler) -> Self {
        Self {
            id,
            name: None,
            scheduler,
            scheduler_flags: 0,
            mh_table_size: DEFAULT_TABLE_SIZE,
            slow_start: None,
            forward: ForwardingMethod::Dr,
            masquerade: Vec::new(),
            persistence: None,
            one_packet: false,
            on_down: OnDown::Keep,
            rate_limit: None,
            health: Arc::default(),
            reals: Vec::new(),
        }
    }
}

impl Real {
    /// A real as it is when nothing else is said of it.
    #[must_use]
    pub fn new(id: RealId, forward: ForwardingMethod) -> Self {
        Self {
            id,
            weight: Weight::ONE,
            forward,
            tunnel: Tunnel::default(),
            upper_threshold: 0,
            lower_threshold: 0,
            health: None,
            state: RealState::Ready,
        }
    }
}

/// What becomes of the connections of a real that fails its check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDown {
    #[default]
    Keep,
    Reset,
}

impl OnDown {
    pub const ALL: [Self; 2] = [Self::Keep, Self::Reset];

    /// As in `lbd.toml`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Reset => "reset",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|word| word.name() == name)
    }
}

/// What the operator has a real do; its health is another matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RealState {
    #[default]
    Ready,
    /// No new connections; persistent clients still come.
    Drain,
    /// Nobody new at all, no checks; established connections go on.
    Maint,
}

impl RealState {
    pub const ALL: [Self; 3] = [Self::Ready, Self::Drain, Self::Maint];

    /// As on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maint => "maint",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
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
