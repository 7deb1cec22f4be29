//! Health checks as configured: how a service's reals are watched, and what
//! becomes of them and of the service by what is seen. Nothing here runs one.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use super::model::{ForwardingMethod, Real, RealId, ServiceId};
pub use super::probe::{
    Digest, Dns, Exchange, Exec, Expected, Http, Octets, Pattern, Probe, ProbeType, Record, Tls,
};
use super::rules::{Invalid, invalid};

/// How a service watches its reals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Of the reals that have none of their own; none: they are up.
    pub checks: Vec<Check>,
    pub require: Require,
    pub quorum: Quorum,
    /// None: without a real, clients are refused.
    pub sorry_server: Option<SorryServer>,
}

/// What a real has of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RealHealth {
    /// None: the service's; empty: it is not watched.
    pub checks: Option<Vec<Check>>,
    /// Run when it comes up; empty: nothing is.
    pub notify_up: Vec<String>,
    /// Run when it goes down; empty: nothing is.
    pub notify_down: Vec<String>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub probe: Probe,
    pub timing: Timing,
    /// Successes in a row that bring a real up, 1 to [`MAX_IN_A_ROW`].
    pub rise: u32,
    /// Failures in a row that take it down, 1 to [`MAX_IN_A_ROW`].
    pub fall: u32,
    /// None: the real's.
    pub port: Option<u16>,
    pub via: Via,
    /// The real is down until it has been up.
    pub alpha: bool,
    /// A stop of the daemon runs what a failure does.
    pub omega: bool,
    pub on_failure: OnFailure,
}

/// When it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From one begin to the next, of [`INTERVALS`].
    pub interval: Duration,
    /// For the whole answer, of [`TIMEOUTS`]; may be longer than the interval.
    pub timeout: Duration,
    /// Before the first one, up to [`MAX_WARMUP`].
    pub warmup: Duration,
    /// While the state is changing; none: the interval.
    pub fast_interval: Option<Duration>,
}

pub const INTERVALS: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(86_400);
pub const TIMEOUTS: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(3600);
pub const MAX_WARMUP: Duration = Duration::from_secs(86_400);
pub const MAX_IN_A_ROW: u32 = 10_000;
/// Of a service, and of a real that has its own.
pub const MAX_CHECKS: usize = 32;

/// Where the probe goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// To the real's own address.
    #[default]
    Real,
    /// To the VIP, through the real.
    Service,
}

/// What becomes of a real that fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    #[default]
    Remove,
    /// It stays with weight 0.
    Quiesce,
}

/// Which of several checks must succeed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Require {
    #[default]
    All,
    Any,
}

/// When the service counts as up: the sum of its up reals' weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// From 1 on.
    pub up: u32,
    /// Lost below `up` less this, regained at `up` and this. Less than `up`.
    pub hysteresis: u32,
    /// Run when it is regained; empty: nothing is.
    pub notify_up: Vec<String>,
    /// Run when it is lost; empty: nothing is.
    pub notify_down: Vec<String>,
}

/// Who serves while no real does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SorryServer {
    pub id: RealId,
    pub forward: ForwardingMethod,
}

/// Whether a service, or one of its reals, asks for anything of a checker.
pub fn asks_for_checks<'a>(
    service: &Health,
    reals: impl IntoIterator<Item = Option<&'a RealHealth>>,
) -> bool {
    *service != Health::default() || reals.into_iter().any(|real| real.is_some())
}

impl Health {
    /// The sorry server, as a real that no scheduler picks.
    #[must_use]
    pub fn sorry_real(&self) -> Option<Real> {
        let sorry = self.sorry_server?;
        Some(Real::new(sorry.id, sorry.forward))
    }

    /// The rules that hold for a service's.
    pub(super) fn validate(&self, of: ServiceId) -> Result<(), Invalid> {
        let refuse = |key, problem: String| Err(invalid(key, format!("service {of}: {problem}")));
        let Quorum { up, hysteresis, .. } = self.quorum;
        if hysteresis >= up {
            return refuse(
                "quorum",
                format!(
                    "quorum.hysteresis {hysteresis} is not below quorum.up {up}: it would never be lost"
                ),
            );
        }
        let Some(sorry) = self.sorry_server else {
            return Ok(());
        };
        Real::new(sorry.id, sorry.forward)
            .validate(of)
            .map_err(|error| {
                let problem = error.problem.replacen(": real ", ": sorry_server ", 1);
                invalid("sorry_server", problem)
            })
    }
}

impl RealHealth {
    /// As a real has it: nothing where nothing is said.
    #[must_use]
    pub fn shared(self) -> Option<Arc<Self>> {
        (self != Self::default()).then(|| Arc::new(self))
    }
}

impl Check {
    /// A check of which nothing else is said.
    #[must_use]
    pub fn new(probe: Probe) -> Self {
        Self {
            probe,
            timing: Timing::default(),
            rise: 2,
            fall: 3,
            port: None,
            via: Via::default(),
            alpha: false,
            omega: false,
            on_failure: OnFailure::default(),
        }
    }

    /// Why it cannot ask `real`: it asks a port, and there is none where the service
    /// has many. A command is told 0, and may not care.
    pub(super) fn port_problem(&self, real: RealId) -> Option<String> {
        let of_type = self.probe.probe_type();
        let asks_one = of_type.has_key("port") && of_type != ProbeType::Exec;
        (asks_one && self.port.is_none() && real.port == 0).then(|| {
            let name = of_type.name();
            format!(
                "the check of type \"{name}\" has no port to ask, since the real has none of its own; give the \
                 check a port"
            )
        })
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            warmup: Duration::ZERO,
            fast_interval: None,
        }
    }
}

impl Default for Quorum {
    fn default() -> Self {
        Self {
            up: 1,
            hysteresis: 0,
            notify_up: Vec::new(),
            notify_down: Vec::new(),
        }
    }
}

impl Via {
    pub const ALL: [Self; 2] = [Self::Real, Self::Service];

    /// As in `lbd.toml`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::Service => "service",
        }
    }
}

impl OnFailure {
    pub const ALL: [Self; 2] = [Self::Remove, Self::Quiesce];

    /// As in `lbd.toml`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Remove => "remove",
            Self::Quiesce => "quiesce",
        }
    }
}

impl Require {
    pub const ALL: [Self; 2] = [Self::All, Self::Any];

    /// As in `lbd.toml`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Any => "any",
        }
    }
}
