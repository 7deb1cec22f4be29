//! Locality-based least connections with replication, after `ip_vs_lblcr.c`: who
//! wants the same address gets the least loaded of the reals that serve it; if
//! that is [overwhelmed](locality::is_overwhelmed) or there is none,
//! [`wlc`](super::wlc)'s pick joins them. Of several that have been the same for
//! `lblc_expiry` the most loaded goes.
//!
//! Plan: [`locality`].

use super::{
    Context, NO_REAL, Pick,
    locality::{self, Shared},
    rows::{self, Cheapest, Cost as _},
    wlc::Wlc,
};
use crate::service::Plan;

pub struct Lblcr;

impl Pick for Lblcr {
    #[inline(always)]
    fn pick<X: Context>(plan: &Plan, context: &X) -> u32 {
        let set = context.locality();
        if let Some(set) = set {
            let real = least(set, plan, context);
            trim(set, plan, context);
            if real != NO_REAL
                && let Some(load) = context.load(real)
            {
                let weight = locality::weight(real, plan, context);
                if !locality::is_overwhelmed(load, weight, plan, context) {
                    return real;
                }
            }
        }
        let real = rows::cheapest::<Wlc, _>(plan, context);
        match set {
            _ if real == NO_REAL => {}
            Some(set) => set.join(real, context),
            None => context.remember(real),
        }
        real
    }
}

/// The least loaded member: `ip_vs_dest_set_min()`.
#[inline(always)]
fn least<X: Context>(set: Shared<'_>, plan: &Plan, context: &X) -> u32 {
    let mut best = Cheapest::NONE;
    set.for_each(plan, context, |_, real, load, weight| {
        if load.overloaded == 0
            && let Some(cost) = Wlc::of(load, weight)
        {
            best.meet(real, cost);
        }
    });
    best.slot
}

/// Takes the most loaded of several members away, if they have been the same
/// for long: `ip_vs_dest_set_max()`.
#[inline(always)]
fn trim<X: Context>(set: Shared<'_>, plan: &Plan, context: &X) {
    let now_ns = context.now_ns();
    let age_ns = now_ns.saturating_sub(set.changed_ns());
    if set.count() <= 1 || age_ns <= context.locality_expiry_ns() {
        return;
    }
    let (mut most, mut most_overhead, mut most_weight) = (NO_REAL, 0, 0);
    set.for_each(plan, context, |index, _, load, weight| {
        let overhead = load.overhead();
        let is_more = most_overhead * u64::from(weight) < overhead * u64::from(most_weight);
        if most == NO_REAL || is_more {
            (most, most_overhead, most_weight) = (index, overhead, weight);
        }
    });
    if most != NO_REAL {
        set.remove(most, context);
    }
}

#[cfg(feature = "user")]
impl super::Layout for Lblcr {
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
