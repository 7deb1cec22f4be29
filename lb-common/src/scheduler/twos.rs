//! The better of two, after `ip_vs_twos.c`: two draws by weight among the
//! eligible reals, of which [`wlc`](super::wlc)'s cheaper one is picked.
//!
//! Plan: [`rows`], and behind them for each real with a weight the sum of the
//! weights before its own, the sum of all, and the slots in the same order.

use super::{
    Context, NO_REAL, Pick,
    rows::{self, Cheapest, Cost as _},
    search,
    wlc::Wlc,
};
use crate::service::Plan;

/// Draws until two are not overloaded; beyond, nearly all are.
const MOST_DRAWS: u32 = 32;

pub struct Twos;

impl Pick for Twos {
    #[inline(always)]
    fn pick<X: Context>(plan: &Plan, context: &X) -> u32 {
        let mut best = Cheapest::NONE;
        let mut drawn = 0;
        X::repeat(MOST_DRAWS, |_| {
            let Some((real, weight)) = draw(plan, context) else {
                return true;
            };
            let Some(load) = context.load(real) else {
                return true;
            };
            if load.overloaded != 0 {
                return false;
            }
            if let Some(cost) = Wlc::of(load, weight) {
                best.meet(real, cost);
            }
            drawn += 1;
            drawn == 2
        });
        if best.slot != NO_REAL {
            return best.slot;
        }
        rows::cheapest::<Wlc, _>(plan, context)
    }
}

/// A real by chance, each as often as its weight says, and its weight.
#[inline(always)]
fn draw(plan: &Plan, context: &impl Context) -> Option<(u32, u32)> {
    let sums = rows::length(plan.cycle);
    // One sum more than slots.
    let count = plan.length.checked_sub(sums + 1)? / 2;
    let total = context.word(sums + count)?;
    let at = (u64::from(context.random()) * u64::from(total)) >> 32;
    let number = search::last_up_to(at as u32, sums, 1, count, context)?;
    let before = context.word(sums + number)?;
    let weight = context.word(sums + number + 1)?.wrapping_sub(before);
    Some((context.word(sums + count + 1 + number)?, weight))
}

#[cfg(feature = "user")]
impl super::Layout for Twos {
    fn plan(
        &self,
        reals: &[super::Listed],
        _: super::Options,
        words: &mut alloc::vec::Vec<u32>,
    ) -> u32 {
        let mut weighted = super::weighted(reals, |real| real.weight);
        let rows = rows::plan(&weighted, words);
        weighted.retain(|real| real.weight > 0);
        let mut sum = 0;
        for real in &weighted {
            words.push(sum);
            sum += real.weight;
        }
        words.push(sum);
        words.extend(weighted.iter().map(|real| real.slot));
        rows
    }
}
