//! Picks of the least cost, over reals that lie side by side.
//!
//! Live connections lie in `REAL_COUNTS` by real slot, [`SHELF`] reals to a
//! value. A row of the plan mirrors one such value: the weights of its reals, 0
//! for all that are not the service's or not to be picked. So a pick reads up to
//! sixteen reals with three look-ups.
//!
//! ```text
//! words:  shelf of REAL_COUNTS × rows, filled up with 0 to whole shelves
//!         weights × 16 × rows
//! cycle:  rows
//! ```
//!
//! Rows are in the order of configuration, and so are the reals in a row: where
//! slots do not ascend in that order, a shelf has several rows.

use super::{Context, Load, Loads, NO_REAL, Pick, SHELF};
use crate::service::Plan;

/// What a real would cost a connection: a scheduler that picks the cheapest.
pub trait Cost {
    /// As [`Layout::starts_slowly`](super::Layout::starts_slowly).
    const STARTS_SLOWLY: bool = true;

    /// Whether reals that are overloaded by their thresholds count.
    const OF_OVERLOADED: bool = false;

    /// The cost, a fraction: (numerator, denominator). None: this real is not
    /// to be picked. Its weight is above 0.
    fn of(load: Load, weight: u32) -> Option<(u64, u32)>;

    /// The weight that the plan has for a real which has one.
    #[cfg(feature = "user")]
    fn weight(real: &super::Listed) -> u32 {
        real.weight
    }
}

impl<C: Cost> Pick for C {
    #[inline(always)]
    fn pick<X: Context>(plan: &Plan, context: &X) -> u32 {
        cheapest::<C, _>(plan, context)
    }
}

#[cfg(feature = "user")]
impl<C: Cost + Sync> super::Layout for C {
    fn plan(
        &self,
        reals: &[super::Listed],
        _: super::Options,
        words: &mut alloc::vec::Vec<u32>,
    ) -> u32 {
        plan(&super::weighted(reals, C::weight), words)
    }

    fn starts_slowly(&self) -> bool {
        C::STARTS_SLOWLY
    }
}

/// The cheapest real so far.
pub(super) struct Cheapest {
    pub slot: u32,
    numerator: u64,
    /// 0: dearer than any.
    denominator: u32,
}

impl Cheapest {
    pub const NONE: Self = Self {
        slot: NO_REAL,
        numerator: 1,
        denominator: 0,
    };

    /// Takes a real that costs less; the one that came first stays if it costs
    /// the same. No division, as in `ip_vs_wlc.c`: a/b < c/d where ad < cb.
    #[inline(always)]
    pub fn meet(&mut self, slot: u32, (numerator, denominator): (u64, u32)) {
        let challenge = numerator * u64::from(self.denominator);
        if challenge < self.numerator * u64::from(denominator) {
            *self = Self {
                slot,
                numerator,
                denominator,
            };
        }
    }
}

/// The first of the reals that cost least; [`NO_REAL`] if there is none.
#[inline(always)]
pub fn cheapest<C: Cost, X: Context>(plan: &Plan, context: &X) -> u32 {
    let rows = plan.cycle;
    let weights = weights_shelf(rows);
    let mut best = Cheapest::NONE;
    X::repeat(rows, |row| {
        let Some(shelf) = context.word(row) else {
            return true;
        };
        let (Some(weights), Some(loads)) = (context.words(weights + row), context.loads(shelf))
        else {
            return true;
        };
        let first = shelf.wrapping_mul(SHELF as u32);
        for (place, weight) in weights.iter().enumerate() {
            if *weight == 0 {
                continue;
            }
            let load = loads.at(place);
            if load.overloaded != 0 && !C::OF_OVERLOADED {
                continue;
            }
            if let Some(cost) = C::of(load, *weight) {
                best.meet(first.wrapping_add(place as u32), cost);
            }
        }
        false
    });
    best.slot
}

/// The weight of a real, where its row is as far from the first one as its slot is
/// from the first slots, as is usual; else 0.
#[inline(always)]
pub fn guess(real: u32, plan: &Plan, context: &impl Context) -> u32 {
    let shelf = real / SHELF as u32;
    let Some(first) = context.word(0) else {
        return 0;
    };
    let row = shelf.wrapping_sub(first);
    if row >= plan.cycle || context.word(row) != Some(shelf) {
        return 0;
    }
    let weights = context.words(weights_shelf(plan.cycle) + row);
    weights.map_or(0, |weights| weights[real as usize % SHELF])
}

/// The shelf of the plan's words at which the weights begin.
#[inline(always)]
const fn weights_shelf(rows: u32) -> u32 {
    rows.div_ceil(SHELF as u32)
}

/// Words of a plan with so many rows.
#[must_use]
pub const fn length(rows: u32) -> u32 {
    (weights_shelf(rows) + rows) * SHELF as u32
}

/// Appends the words; returns the number of rows.
#[cfg(feature = "user")]
pub fn plan(reals: &[super::Weighted], words: &mut alloc::vec::Vec<u32>) -> u32 {
    use alloc::vec::Vec;

    let mut rows: Vec<(u32, [u32; SHELF])> = Vec::new();
    let mut last = 0;
    for real in reals.iter().filter(|real| real.weight > 0) {
        let (shelf, place) = (real.slot / SHELF as u32, real.slot as usize % SHELF);
        match rows.last_mut() {
            Some((at, weights)) if *at == shelf && real.slot > last => weights[place] = real.weight,
            _ => {
                let mut weights = [0; SHELF];
                weights[place] = real.weight;
                rows.push((shelf, weights));
            }
        }
        last = real.slot;
    }
    let count = rows.len() as u32;
    let first = words.len();
    words.extend(rows.iter().map(|(shelf, _)| *shelf));
    words.resize(first + weights_shelf(count) as usize * SHELF, 0);
    words.extend(rows.iter().flat_map(|(_, weights)| *weights));
    count
}
