//! What requests ask of services and reals: objects to be added, and changes of those that
//! there are.

use std::{net::IpAddr, sync::Arc};

use super::scheduling::SchedulingPatch;
use crate::config::{
    commands::{self, Commands},
    health::{Check, Quorum, Require, SorryServer},
    model::{
        ForwardingMethod, Health, OnDown, Persistence, RateLimit, Real, RealHealth, RealId,
        RealState, ServiceId, Tunnel, TunnelKind, Weight,
    },
};

/// What a service edit changes; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServicePatch {
    pub name: Option<String>,
    pub scheduling: SchedulingPatch,
    pub forward: Option<ForwardingMethod>,
    /// Empty: the clients' own addresses.
    pub masquerade: Option<Vec<IpAddr>>,
    pub persistence: Switch<PersistencePatch>,
    pub one_packet: Option<bool>,
    pub on_down: Option<OnDown>,
    pub rate_limit: Switch<RateLimit>,
    pub health: HealthPatch,
}

/// What is asked of how a service watches its reals; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthPatch {
    pub checks: Option<Vec<Check>>,
    pub require: Option<Require>,
    pub quorum: QuorumPatch,
    pub sorry_server: Switch<SorryPatch>,
}

/// What is asked of a service's quorum; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuorumPatch {
    pub up: Option<u32>,
    pub hysteresis: Option<u32>,
    pub notify_up: Option<Vec<String>>,
    pub notify_down: Option<Vec<String>>,
}

/// A sorry server: what is `None` comes from the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SorryPatch {
    pub address: IpAddr,
    pub port: Option<u16>,
    pub forward: Option<ForwardingMethod>,
}

impl HealthPatch {
    /// As what is asked of a service that is made anew: what stays is the default.
    #[must_use]
    pub fn or_default(self) -> Self {
        let usual = Quorum::default();
        let QuorumPatch {
            up,
            hysteresis,
            notify_up,
            notify_down,
        } = self.quorum;
        Self {
            checks: Some(self.checks.unwrap_or_default()),
            require: Some(self.require.unwrap_or_default()),
            quorum: QuorumPatch {
                up: up.or(Some(usual.up)),
                hysteresis: hysteresis.or(Some(usual.hysteresis)),
                notify_up: notify_up.or(Some(usual.notify_up)),
                notify_down: notify_down.or(Some(usual.notify_down)),
            },
            sorry_server: match self.sorry_server {
                Switch::Stays => Switch::Off,
                asked => asked,
            },
        }
    }

    /// What `before` becomes, of the service `of`, whose reals are forwarded to by
    /// `forward` by default.
    #[must_use]
    pub fn apply(
        self,
        before: &Arc<Health>,
        of: ServiceId,
        forward: ForwardingMethod,
    ) -> Arc<Health> {
        if self == Self::default() {
            return Arc::clone(before);
        }
        let mut health = Health::clone(before);
        health.checks = self.checks.unwrap_or(health.checks);
        health.require = self.require.unwrap_or(health.require);
        let quorum = &mut health.quorum;
        quorum.up = self.quorum.up.unwrap_or(quorum.up);
        quorum.hysteresis = self.quorum.hysteresis.unwrap_or(quorum.hysteresis);
        if let Some(command) = self.quorum.notify_up {
            quorum.notify_up = command;
        }
        if let Some(command) = self.quorum.notify_down {
            quorum.notify_down = command;
        }
        match self.sorry_server {
            Switch::Stays => {}
            Switch::Off => health.sorry_server = None,
            Switch::On(sorry) => {
                health.sorry_server = Some(SorryServer {
                    id: RealId {
                        address: sorry.address,
                        port: sorry.port.unwrap_or(of.default_real_port()),
                    },
                    forward: sorry.forward.unwrap_or(forward),
                });
            }
        }
        Arc::new(health)
    }
}

/// What is asked of a setting that can be off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switch<T> {
    #[default]
    Stays,
    Off,
    On(T),
}

/// What is asked of a service's persistence; what is `None` stays, or is the
/// default where there was none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PersistencePatch {
    pub timeout_s: Option<u32>,
    pub netmask: Option<u8>,
    pub netmask_v6: Option<u8>,
}

impl Switch<PersistencePatch> {
    /// The persistence that `before` becomes.
    #[must_use]
    pub fn apply(self, before: Option<Persistence>) -> Option<Persistence> {
        let patch = match self {
            Self::Stays => return before,
            Self::Off => return None,
            Self::On(patch) => patch,
        };
        let before = before.unwrap_or_default();
        Some(Persistence {
            timeout_s: patch.timeout_s.unwrap_or(before.timeout_s),
            netmask: patch.netmask.unwrap_or(before.netmask),
            netmask_v6: patch.netmask_v6.unwrap_or(before.netmask_v6),
        })
    }
}

impl Switch<RateLimit> {
    /// The limit that `before` becomes.
    #[must_use]
    pub fn apply(self, before: Option<RateLimit>) -> Option<RateLimit> {
        match self {
            Self::Stays => before,
            Self::Off => None,
            Self::On(limit) => Some(limit),
        }
    }
}

/// A real to be added: what is `None` comes from the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReal {
    pub address: IpAddr,
    pub port: Option<u16>,
    pub weight: Weight,
    pub forward: Option<ForwardingMethod>,
    pub tunnel: TunnelPatch,
    pub upper_threshold: u32,
    pub lower_threshold: u32,
    pub health: RealHealthPatch,
    pub state: RealState,
}

impl NewReal {
    /// The real of the service `of`, whose reals are forwarded to by
    /// `forward` by default.
    #[must_use]
    pub fn real(&self, of: ServiceId, forward: ForwardingMethod) -> Real {
        Real {
            id: RealId {
                address: self.address,
                port: self.port.unwrap_or(of.default_real_port()),
            },
            weight: self.weight,
            forward: self.forward.unwrap_or(forward),
            tunnel: self.tunnel.apply(Tunnel::default()),
            upper_threshold: self.upper_threshold,
            lower_threshold: self.lower_threshold,
            health: self.health.clone().apply(None),
            state: self.state,
        }
    }
}

/// What a real edit changes; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RealPatch {
    pub weight: Option<Weight>,
    pub forward: Option<ForwardingMethod>,
    pub tunnel: TunnelPatch,
    pub upper_threshold: Option<u32>,
    pub lower_threshold: Option<u32>,
    pub health: RealHealthPatch,
    pub state: Option<RealState>,
}

/// What is asked of how a real is watched by itself; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RealHealthPatch {
    /// Off: the service's checks; none at all: it is not watched.
    pub checks: Switch<Vec<Check>>,
    pub notify_up: Option<Vec<String>>,
    pub notify_down: Option<Vec<String>>,
}

impl RealHealthPatch {
    /// As [`HealthPatch::or_default`].
    #[must_use]
    pub fn or_default(self) -> Self {
        Self {
            checks: match self.checks {
                Switch::Stays => Switch::Off,
                asked => asked,
            },
            notify_up: Some(self.notify_up.unwrap_or_default()),
            notify_down: Some(self.notify_down.unwrap_or_default()),
        }
    }

    /// What `before` becomes.
    #[must_use]
    pub fn apply(self, before: Option<&Arc<RealHealth>>) -> Option<Arc<RealHealth>> {
        if self == Self::default() {
            return before.map(Arc::clone);
        }
        let mut health = before.map_or_else(RealHealth::default, |of| RealHealth::clone(of));
        match self.checks {
            Switch::Stays => {}
            Switch::Off => health.checks = None,
            Switch::On(checks) => health.checks = Some(checks),
        }
        health.notify_up = self.notify_up.unwrap_or(health.notify_up);
        health.notify_down = self.notify_down.unwrap_or(health.notify_down);
        health.shared()
    }
}

/// What is asked of a real's tunnel; what is `None` stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunnelPatch {
    pub kind: Option<TunnelKind>,
    pub port: Option<u16>,
    pub checksum: Option<bool>,
}

impl RealPatch {
    /// Whether it changes nothing but what the operator has the real do.
    #[must_use]
    pub fn is_state_alone(&self) -> bool {
        *self
            == Self {
                state: self.state,
                ..Self::default()
            }
    }
}

impl TunnelPatch {
    /// The tunnel that `before` becomes. A new kind takes over what it has
    /// itself: a port or a checksum that it cannot have is gone unless asked
    /// for, and then refused.
    #[must_use]
    pub fn apply(self, before: Tunnel) -> Tunnel {
        let kind = self.kind.unwrap_or(before.kind);
        let port = match kind {
            TunnelKind::Gue => before.port,
            TunnelKind::Ipip | TunnelKind::Gre => Tunnel::DEFAULT_PORT,
        };
        let checksum = kind != TunnelKind::Ipip && before.checksum;
        Tunnel {
            kind,
            port: self.port.unwrap_or(port),
            checksum: self.checksum.unwrap_or(checksum),
        }
    }
}

impl Commands for ServicePatch {
    fn first_key(&self) -> Option<String> {
        let HealthPatch { checks, quorum, .. } = &self.health;
        commands::of_service(
            checks.as_deref().unwrap_or_default(),
            quorum.notify_up.as_deref().unwrap_or_default(),
            quorum.notify_down.as_deref().unwrap_or_default(),
        )
    }
}

impl Commands for RealHealthPatch {
    fn first_key(&self) -> Option<String> {
        let checks = match &self.checks {
            Switch::On(checks) => checks,
            Switch::Stays | Switch::Off => &Vec::new(),
        };
        commands::of_real(
            checks,
            self.notify_up.as_deref().unwrap_or_default(),
            self.notify_down.as_deref().unwrap_or_default(),
        )
    }
}
