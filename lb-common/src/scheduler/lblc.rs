//! Locality-based least connections, after `ip_vs_lblc.c`: who wants the same
//! address gets the real that served it last, unless that is not eligible or
//! [overwhelmed](locality::is_overwhelmed); then [`wlc`](super::wlc)'s pick,
//! which is remembered.
//!
//! Plan: [`locality`].

use super::{Context, NO_REAL, Pick, locality, rows, wlc::Wlc};
use crate::service::Plan;

pub struct Lblc;

impl Pick for Lblc {
    #[inline(always)]
    fn pick<X: Context>(plan: &Plan, context: &X) -> u32 {
        let set = context.locality();
        if let Some(set) = set {
            let real = set.newest();
            let weight = locality::weight(real, plan, context);
            if weight != 0
                && let Some(load) = context.load(real)
                && load.overloaded == 0
                && !locality::is_overwhelmed(load, weight, plan, context)
            {
                return real;
            }
        }
        let real = rows::cheapest::<Wlc, _>(plan, context);
        match set {
            _ if real == NO_REAL => {}
            Some(set) => set.replace(real, context.now_ns()),
            None => context.remember(real),
        }
        real
    }
}

#[cfg(feature = "user")]
impl super::Layout for Lblc {
    fn plan(
        &self,
        reals: &[super::Listed],
        _: super::Options,
        words: &mut alloc::vec::Vec<u32>,
    ) -> u32 {
        locality::plan(reals, words)
    }

    fn is_by_destination(&self) -> bool {
        true
    }
}

#[cfg(all(test, feature = "user"))]
mod tests {
    use crate::{
        real::RealCounts,
        scheduler::{
            Key, Scheduler,
            memory::{Memory, OPTIONS, listed},
        },
    };

    /// A destination moves when its real has more than its weight, also while
    /// another one is in its slow start.
    #[test]
    fn a_slow_start_changes_nothing_for_who_is_whole() {
        let mut reals = listed(&[(0, 2), (1, 2), (2, 2)]);
        for share in [16, 1] {
            reals[2].share = share;
            let mut memory = Memory::new(Scheduler::Lblc, &reals, OPTIONS);
            let mut picks = Vec::new();
            for _ in 0..5 {
                let real = memory.pick(Key::default());
                let active = memory.counts(real).active + 1;
                let counts = RealCounts {
                    active,
                    ..RealCounts::default()
                };
                memory.set_counts(real, counts);
                picks.push(real);
            }
            assert_eq!(picks, [0, 0, 0, 1, 1], "{share}");
        }
    }
}
