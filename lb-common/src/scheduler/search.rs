//! The search for a real that is not overloaded among candidates in order.

use super::{Context, NO_REAL, flag};
use crate::service::Plan;

/// Candidates that are looked at for one packet.
pub const MOST_TRIES: u32 = 4096;

/// Steps of a binary search over 1,024 of something, as many as a service has
/// reals.
const STEPS: u32 = 11;

/// The last of `count` ascending words that is at or below `value`: its number; 0
/// where none is. The words lie `stride` apart, from `first` on. None: the plan
/// ends before.
#[inline(always)]
pub fn last_up_to(
    value: u32,
    first: u32,
    stride: u32,
    count: u32,
    context: &impl Context,
) -> Option<u32> {
    // It lies in [low, high).
    let (mut low, mut high) = (0, count);
    for _ in 0..STEPS {
        if high - low <= 1 {
            break;
        }
        let middle = low + (high - low) / 2;
        if context.word(first + middle * stride)? <= value {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(low)
}

/// How many candidates there are where a hash says who is first.
#[inline(always)]
pub const fn tries(plan: &Plan) -> u32 {
    if plan.cycle == 0 || plan.flags & flag::FALLBACK != 0 {
        plan.cycle
    } else {
        1
    }
}

/// The first of `tries` candidates that is there and not overloaded, and how many
/// were in vain; of more than [`MOST_TRIES`] the first ones.
#[inline(always)]
pub fn first<C: Context>(
    context: &C,
    tries: u32,
    mut candidate: impl FnMut(u32) -> Option<u32>,
) -> (u32, u32) {
    if tries == 0 {
        return (NO_REAL, 0);
    }
    let real = candidate(0).unwrap_or(NO_REAL);
    if !context.is_overloaded(real) {
        return (real, 0);
    }
    let (mut found, mut vain) = (NO_REAL, 1);
    C::repeat(tries.min(MOST_TRIES) - 1, |before| {
        let real = candidate(before + 1).unwrap_or(NO_REAL);
        if context.is_overloaded(real) {
            vain += 1;
            return false;
        }
        found = real;
        true
    });
    (found, vain)
}
