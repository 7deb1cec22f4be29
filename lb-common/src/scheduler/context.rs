//! What a pick sees and may use of the director.

use super::{Key, NO_REAL, SHELF, locality};
use crate::real::RealCounts;

/// Live connections of one real, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    pub active: u32,
    pub inactive: u32,
    /// Not 0: by its thresholds it is to be left out.
    pub overloaded: u32,
}

impl Load {
    /// What lc, wlc and others weigh: `ip_vs_dest_conn_overhead()` of
    /// `include/net/ip_vs.h`, 256 · active + inactive.
    #[inline(always)]
    #[must_use]
    pub const fn overhead(self) -> u64 {
        ((self.active as u64) << 8).wrapping_add(self.inactive as u64)
    }
}

impl From<&RealCounts> for Load {
    fn from(counts: &RealCounts) -> Self {
        Self {
            active: counts.active,
            inactive: counts.inactive,
            overloaded: counts.overloaded,
        }
    }
}

/// The loads of the reals whose slots begin at a multiple of [`SHELF`].
pub trait Loads {
    /// Of the real at `place`, below [`SHELF`].
    fn at(&self, place: usize) -> Load;
}

/// The plan's surroundings.
pub trait Context {
    /// Word `index` of the plan, if there is one.
    fn word(&self, index: u32) -> Option<u32>;

    /// The words of the plan from `shelf` · [`SHELF`] on, if there are any.
    fn words(&self, shelf: u32) -> Option<&[u32; SHELF]>;

    /// The loads of the real slots from `shelf` · [`SHELF`] on.
    fn loads(&self, shelf: u32) -> Option<impl Loads>;

    /// The number of the plan's next turn, which is nobody else's.
    fn next_turn(&self) -> u64;

    /// So many turns after that one are nobody's.
    fn skip_turns(&self, number: u64);

    fn random(&self) -> u32;

    /// Monotonic, ns, a kernel's tick exact.
    fn now_ns(&self) -> u64;

    /// The packet's addresses and ports.
    fn key(&self) -> Key;

    /// `lblc_expiry`, ns.
    fn locality_expiry_ns(&self) -> u64;

    /// What is remembered of the packet's destination, now used.
    fn locality(&self) -> Option<locality::Shared<'_>>;

    /// Remembers a real of a destination that nothing is remembered of, if
    /// there is room.
    fn remember(&self, real: u32);

    /// Calls `body` with 0, 1, … until it returns true, `times` at most.
    fn repeat(times: u32, body: impl FnMut(u32) -> bool);

    #[inline(always)]
    fn load(&self, real: u32) -> Option<Load> {
        let loads = self.loads(real / SHELF as u32)?;
        Some(loads.at(real as usize % SHELF))
    }

    /// Whether a real is to be left out; [`NO_REAL`] is.
    #[inline(always)]
    fn is_overloaded(&self, real: u32) -> bool {
        real == NO_REAL || self.load(real).is_none_or(|load| load.overloaded != 0)
    }
}
