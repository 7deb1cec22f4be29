//! The cases: paths through the data plane, and what they are called.

use lb_common::real::TunnelKind;
use lb_daemon::config::model::{
    ForwardingMethod, IpFamily, Protocol, Real, RealId, Scheduler, Service, ServiceId, Tunnel,
    VirtualAddress,
};

use crate::packets::{Kind, NAT_PORT, PORT, Packet, real, vip};

/// Numbers of flows, each a power of two; new ones are more than a few.
const FLOWS: [u32; 4] = [1, 1 << 12, 1 << 16, 1 << 20];
const NEW_FLOWS: [u32; 2] = [1 << 16, 1 << 20];

/// Those of the default group, which the project has targets for.
const TARGETS: [&str; 9] = [
    "dr_established_v4",
    "tun_established_v4",
    "tun_established_v6",
    "gue_established_v4",
    "nat_established_v4",
    "nat_back_v4",
    "dr_new_rr_v4",
    "dr_new_mh_v4",
    "not_ours_v4",
];

/// How the service's only real is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Dr,
    Nat,
    /// By IP in IP.
    Tun,
    Gue,
    Gre,
}

impl Method {
    const ALL: [Self; 5] = [Self::Dr, Self::Nat, Self::Tun, Self::Gue, Self::Gre];
    /// A new connection costs the same by every tunnel, but for the headers.
    const OF_NEW: [Self; 3] = [Self::Dr, Self::Tun, Self::Nat];

    const fn name(self) -> &'static str {
        match self {
            Self::Dr => "dr",
            Self::Nat => "nat",
            Self::Tun => "tun",
            Self::Gue => "gue",
            Self::Gre => "gre",
        }
    }

    const fn forwarding(self) -> ForwardingMethod {
        match self {
            Self::Dr => ForwardingMethod::Dr,
            Self::Nat => ForwardingMethod::Nat,
            Self::Tun | Self::Gue | Self::Gre => ForwardingMethod::Tun,
        }
    }

    const fn tunnel(self) -> TunnelKind {
        match self {
            Self::Gue => TunnelKind::Gue,
            Self::Gre => TunnelKind::Gre,
            Self::Dr | Self::Nat | Self::Tun => TunnelKind::Ipip,
        }
    }
}

/// What a packet meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// Its connection's entry, on the way to the real.
    Established,
    /// Likewise, on the way from the real by nat.
    Back,
    /// A scheduler.
    New(Scheduler),
    /// Nothing: it is for an address of no service.
    NotOurs,
    /// Nothing: an echo request to the VIP.
    Icmp,
    /// An entry, by what it quotes.
    IcmpError,
    /// `deny`.
    Dropped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub method: Method,
    pub path: Path,
    pub family: IpFamily,
    pub protocol: Protocol,
}

impl Case {
    pub(crate) fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for family in [IpFamily::V4, IpFamily::V6] {
            let of = |method, path, protocol| Self {
                method,
                path,
                family,
                protocol,
            };
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let established = |method| of(method, Path::Established, protocol);
                cases.extend(Method::ALL.map(established));
                cases.push(of(Method::Nat, Path::Back, protocol));
            }
            for scheduler in [Scheduler::Rr, Scheduler::Mh] {
                let new = |method| of(method, Path::New(scheduler), Protocol::Tcp);
                cases.extend(Method::OF_NEW.map(new));
            }
            let others = [Path::NotOurs, Path::Icmp, Path::IcmpError, Path::Dropped];
            cases.extend(others.map(|path| of(Method::Dr, path, Protocol::Tcp)));
        }
        cases
    }

    /// As the command line and the report call it.
    pub(crate) fn name(&self) -> String {
        let method = self.method.name();
        let protocol = match self.protocol {
            Protocol::Tcp => "",
            Protocol::Udp => "_udp",
            Protocol::Sctp => "_sctp",
        };
        let family = match self.family {
            IpFamily::V4 => "v4",
            IpFamily::V6 => "v6",
        };
        match self.path {
            Path::Established => format!("{method}_established{protocol}_{family}"),
            Path::Back => format!("{method}_back{protocol}_{family}"),
            Path::New(scheduler) => format!("{method}_new_{}_{family}", scheduler.name()),
            Path::NotOurs => format!("not_ours_{family}"),
            Path::Icmp => format!("icmp_{family}"),
            Path::IcmpError => format!("icmp_error_{family}"),
            Path::Dropped => format!("dropped_{family}"),
        }
    }

    pub(crate) fn is_target(&self) -> bool {
        TARGETS.contains(&self.name().as_str())
    }

    /// Whether each packet makes a connection: the table fills from empty.
    pub(crate) const fn is_of_new(&self) -> bool {
        matches!(self.path, Path::New(_))
    }

    /// Entries of the connection table for each flow.
    pub(crate) const fn entries(&self) -> u32 {
        match self.method {
            Method::Nat => 2,
            Method::Dr | Method::Tun | Method::Gue | Method::Gre => 1,
        }
    }

    pub(crate) const fn flows(&self) -> &'static [u32] {
        if self.is_of_new() { &NEW_FLOWS } else { &FLOWS }
    }

    /// What is measured.
    pub(crate) const fn packet(&self) -> Packet {
        let kind = match self.path {
            Path::Established => Kind::Established,
            Path::Back => Kind::Back,
            Path::New(_) => Kind::Beginning,
            Path::NotOurs => Kind::NotOurs,
            Path::Icmp => Kind::Echo,
            Path::IcmpError => Kind::Error,
            Path::Dropped => Kind::Denied,
        };
        Packet::new(kind, self.family, self.protocol)
    }

    /// The virtual service, with its one real.
    pub(crate) fn service(&self) -> Service {
        let scheduler = match self.path {
            Path::New(scheduler) => scheduler,
            _ => Scheduler::Rr,
        };
        let forward = self.method.forwarding();
        let id = RealId {
            address: real(self.family),
            port: if self.method == Method::Nat {
                NAT_PORT
            } else {
                PORT
            },
        };
        let real = Real {
            tunnel: Tunnel {
                kind: self.method.tunnel(),
                ..Tunnel::default()
            },
            ..Real::new(id, forward)
        };
        Service {
            forward,
            reals: vec![real],
            ..Service::new(service_id(self.family, self.protocol), scheduler)
        }
    }
}

pub(crate) const fn service_id(family: IpFamily, protocol: Protocol) -> ServiceId {
    ServiceId::Address(VirtualAddress {
        protocol,
        address: vip(family),
        port: PORT,
    })
}
