//! What health checks make of a service's reals, as the planner takes it.

use std::collections::HashMap;

use crate::config::{
    health::OnFailure,
    model::{Real, RealId, RealState},
};

/// What health makes of one real.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    #[default]
    Up,
    /// Up, with this weight in the place of the configured one.
    Weighs(u32),
    Down(OnFailure),
}

/// What health makes of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standings {
    /// Who is not among them is up.
    pub reals: HashMap<RealId, Standing>,
    /// The quorum is lost: a sorry server takes all new connections.
    pub is_lost: bool,
}

impl Standings {
    #[must_use]
    pub fn of(&self, real: RealId) -> Standing {
        self.reals.get(&real).copied().unwrap_or_default()
    }
}

impl Standing {
    #[must_use]
    pub const fn is_up(self) -> bool {
        !matches!(self, Self::Down(_))
    }

    /// The weight in force: none under drain and maint, and of who is down.
    #[must_use]
    pub const fn weight(self, real: &Real) -> u32 {
        match (real.state, self) {
            (RealState::Ready, Self::Up) => real.weight.get(),
            (RealState::Ready, Self::Weighs(weight)) => weight,
            _ => 0,
        }
    }

    /// The weight that lists show, as `ipvsadm -L` does where a checker has changed
    /// it; none: the real is not among them.
    #[must_use]
    pub const fn listed_weight(self, real: &Real) -> Option<u32> {
        match self {
            Self::Up => Some(real.weight.get()),
            Self::Weighs(weight) => Some(weight),
            Self::Down(OnFailure::Quiesce) => Some(0),
            Self::Down(OnFailure::Remove) => None,
        }
    }

    /// Whether schedulers know of the real: one in maint, and one that is down
    /// and removed, are as if deleted.
    #[must_use]
    pub const fn is_listed(self, state: RealState) -> bool {
        !matches!(state, RealState::Maint) && !matches!(self, Self::Down(OnFailure::Remove))
    }
}
