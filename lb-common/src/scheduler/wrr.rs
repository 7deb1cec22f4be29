//! Weighted round robin, after `ip_vs_wrr.c`.
//!
//! IPVS walks the list at a current weight cw: it picks the reals with w ≥ cw
//! in order, lowers cw by di, the gcd of the weights, at the end of the list,
//! and starts again at mw = max − (di − 1) when cw reaches 0. Between two
//! neighbouring distinct weights every level cw picks the same reals, so the
//! plan keeps one list for each such band of levels:
//!
//! ```text
//! words:  bands · (start turn, reals, list offset) × bands · lists of slots
//! ```
//!
//! Turn t of a cycle lies in the last band whose start is ≤ t. The plan is
//! exact and short also where the weights are large.

use super::{Context, NO_REAL, Pick, search};
use crate::service::Plan;

/// Words that describe one band.
const BAND_WORDS: u32 = 3;

pub struct Wrr;

impl Pick for Wrr {
    #[inline(always)]
    fn pick<X: Context>(plan: &Plan, context: &X) -> u32 {
        let number = context.next_turn();
        let Some(turn) = number.checked_rem(plan.cycle.into()) else {
            return NO_REAL;
        };
        let Some(place) = place(turn as u32, plan, context) else {
            return NO_REAL;
        };
        if !context.is_overloaded(place.real) {
            return place.real;
        }
        let mut walk = Walk {
            turn: turn as u32,
            lost: 0,
            misses: 0,
        };
        walk.miss(&place, plan);
        let mut found = NO_REAL;
        X::repeat(search::MOST_TRIES, |_| {
            let Some(place) = self::place(walk.turn, plan, context) else {
                return true;
            };
            if !context.is_overloaded(place.real) {
                found = place.real;
                return true;
            }
            walk.miss(&place, plan);
            // Everybody has had his turn.
            walk.lost >= plan.cycle
        });
        if found == NO_REAL && walk.lost < plan.cycle {
            found = anybody(number, context);
        }
        if found == NO_REAL {
            // As if nobody had been asked.
            walk.lost = plan.cycle - 1;
        }
        context.skip_turns(walk.lost.into());
        found
    }
}

/// What a turn is.
struct Place {
    real: u32,
    /// Reals of its band.
    reals: u32,
    /// The turn at which the next band begins.
    end: u32,
}

/// The search for a real that is not overloaded, from a turn on.
struct Walk {
    turn: u32,
    /// Turns that were in vain.
    lost: u32,
    /// Of them, those in a row in this band.
    misses: u32,
}

impl Walk {
    /// On to the next turn; past the band, when all of its reals have been asked.
    #[inline(always)]
    fn miss(&mut self, place: &Place, plan: &Plan) {
        self.misses += 1;
        let mut next = self.turn.wrapping_add(1);
        if self.misses >= place.reals || next >= place.end {
            next = place.end;
            self.misses = 0;
        }
        self.lost = self.lost.wrapping_add(next.wrapping_sub(self.turn));
        self.turn = if next >= plan.cycle { 0 } else { next };
    }
}

#[inline(always)]
fn place(turn: u32, plan: &Plan, context: &impl Context) -> Option<Place> {
    let bands = context.word(0)?;
    let number = search::last_up_to(turn, 1, BAND_WORDS, bands, context)?;
    let band = 1 + number * BAND_WORDS;
    let start = context.word(band)?;
    let reals = context.word(band + 1)?;
    let offset = context.word(band + 2)?;
    let real = context.word(offset + turn.wrapping_sub(start).checked_rem(reals)?)?;
    let end = if number + 1 < bands {
        context.word(band + BAND_WORDS)?
    } else {
        plan.cycle
    };
    Some(Place { real, reals, end })
}

/// A real out of the last band, in which are all that have a weight: where more of
/// them are overloaded than there are tries.
#[inline(always)]
fn anybody(number: u64, context: &impl Context) -> u32 {
    let last = context.word(0).unwrap_or(0).wrapping_sub(1);
    let band = last.wrapping_mul(BAND_WORDS).wrapping_add(1);
    let reals = context.word(band.wrapping_add(1)).unwrap_or(0);
    let offset = context.word(band.wrapping_add(2)).unwrap_or(0);
    search::first(context, reals, |nth| {
        let index = (number as u32).wrapping_add(nth).checked_rem(reals)?;
        context.word(offset.wrapping_add(index))
    })
    .0
}

#[cfg(feature = "user")]
mod layout {
    use alloc::vec::Vec;

    use super::{BAND_WORDS, Wrr};
    use crate::scheduler::{Former, Layout, Listed, Options, Weighted, weighted};

    impl Layout for Wrr {
        /// The cycle is the sum of the weights over their gcd.
        fn plan(&self, reals: &[Listed], _: Options, words: &mut Vec<u32>) -> u32 {
            let reals = &weighted(reals, |real| real.weight);
            let count = bands(reals).count() as u32;
            words.extend([count]);
            let (mut turn, mut offset) = (0, 1 + count * BAND_WORDS);
            for (_, levels, reals) in bands(reals) {
                words.extend([turn, reals, offset]);
                turn += levels * reals;
                offset += reals;
            }
            for (level, ..) in bands(reals) {
                words.extend(
                    reals
                        .iter()
                        .filter(|real| real.weight >= level)
                        .map(|real| real.slot),
                );
            }
            turn
        }

        /// `ip_vs_wrr_dest_changed` puts the position before the first real and
        /// keeps cw, cut to the new range and step.
        fn resume(&self, before: &Former<'_>, after: &[Listed]) -> u64 {
            let after = &weighted(after, |real| real.weight);
            let (di, mw) = step_and_top(after);
            let mut cw = level_at(before);
            if cw == 0 || cw > mw {
                cw = mw;
            } else if di > 1 {
                cw = cw / di * di + 1;
            }
            let mut first = 0;
            for (level, levels, count) in bands(after) {
                let lowest = level - (levels - 1) * di;
                if cw >= lowest {
                    return first + u64::from(level.saturating_sub(cw) / di * count);
                }
                first += u64::from(levels * count);
            }
            0
        }

        /// Any change of a weight puts the position back.
        fn keeps_turn(&self, before: &[Listed], after: &[Listed]) -> bool {
            let seen = |real: &Listed| (real.slot, real.weight);
            before.iter().map(seen).eq(after.iter().map(seen))
        }
    }

    fn gcd(a: u32, b: u32) -> u32 {
        if b == 0 { a } else { gcd(b, a % b) }
    }

    /// di and mw of IPVS; both 0 when no weight is above 0.
    fn step_and_top(reals: &[Weighted]) -> (u32, u32) {
        let di = reals.iter().fold(0, |di, real| gcd(di, real.weight));
        let max = reals.iter().map(|real| real.weight).max().unwrap_or(0);
        (di, max.saturating_sub(di.saturating_sub(1)))
    }

    /// The bands, highest first: (top level, levels, reals picked at each).
    fn bands(reals: &[Weighted]) -> impl Iterator<Item = (u32, u32, u32)> + '_ {
        let (di, mut level) = step_and_top(reals);
        core::iter::from_fn(move || {
            if level == 0 || di == 0 {
                return None;
            }
            // The levels from `level` down to just above the next lower weight.
            let floor = reals
                .iter()
                .map(|real| real.weight)
                .filter(|weight| *weight < level)
                .max()
                .unwrap_or(0);
            let levels = (level - floor).div_ceil(di);
            let count = reals.iter().filter(|real| real.weight >= level).count() as u32;
            let band = (level, levels, count);
            level = level.saturating_sub(levels * di);
            Some(band)
        })
    }

    /// The level that IPVS's cw stands at before `turn`, of a plan that began at
    /// `start`: that of the last pick, or of the first one where none was made.
    fn level_at(former: &Former<'_>) -> u32 {
        let Former { start, turn, .. } = *former;
        let reals = &weighted(former.reals, |real| real.weight);
        let cycle: u64 = bands(reals)
            .map(|(_, levels, count)| u64::from(levels * count))
            .sum();
        if cycle == 0 {
            return 0;
        }
        let at = if turn == start {
            turn
        } else {
            turn.saturating_sub(1)
        } % cycle;
        let (di, _) = step_and_top(reals);
        let mut first = 0;
        for (level, levels, count) in bands(reals) {
            let turns = u64::from(levels * count);
            if at < first + turns {
                return level - ((at - first) / u64::from(count)) as u32 * di;
            }
            first += turns;
        }
        0
    }
}

#[cfg(all(test, feature = "user"))]
mod tests {
    use proptest::prelude::*;

    use crate::{
        real::RealCounts,
        scheduler::{
            NO_REAL, Scheduler,
            memory::{Memory, OPTIONS, listed},
        },
    };

    fn weights(weights: &[u32]) -> Vec<crate::scheduler::Listed> {
        let reals: Vec<_> = (0..).zip(weights.iter().copied()).collect();
        listed(&reals)
    }

    /// di and mw.
    fn step_and_top(weights: &[u32]) -> (u32, u32) {
        let divides = |di: &u32| weights.iter().all(|weight| weight.is_multiple_of(*di));
        let max = weights.iter().copied().max().unwrap_or(0);
        let di = (1..=max).rev().find(divides).unwrap_or(0);
        (di, max.saturating_sub(di.saturating_sub(1)))
    }

    /// The walk itself, as semantics.md tells it, to compare the plan with.
    struct Walk {
        weights: Vec<u32>,
        position: Option<usize>,
        cw: u32,
    }

    impl Walk {
        fn new(weights: &[u32]) -> Self {
            let (_, mw) = step_and_top(weights);
            Self {
                weights: weights.to_vec(),
                position: None,
                cw: mw,
            }
        }

        fn change(&mut self, weights: &[u32]) {
            let (di, mw) = step_and_top(weights);
            self.weights = weights.to_vec();
            self.position = None;
            if self.cw == 0 || self.cw > mw {
                self.cw = mw;
            } else if di > 1 {
                self.cw = self.cw / di * di + 1;
            }
        }

        fn pick(&mut self) -> Option<u32> {
            let (di, mw) = step_and_top(&self.weights);
            if mw == 0 {
                return None;
            }
            loop {
                let next = self.position.map_or(0, |p| p + 1);
                if next == self.weights.len() {
                    self.position = None;
                    self.cw = if self.cw > di { self.cw - di } else { mw };
                    continue;
                }
                self.position = Some(next);
                if self.weights[next] >= self.cw {
                    return Some(next as u32);
                }
            }
        }
    }

    #[test]
    fn four_three_two_interleave_as_the_documentation_says() {
        let memory = Memory::new(Scheduler::Wrr, &weights(&[4, 3, 2]), OPTIONS);
        assert_eq!(memory.picks(9), [0, 0, 1, 0, 1, 2, 0, 1, 2]);
        assert_eq!(memory.plan().cycle, 9);
    }

    #[test]
    fn all_weights_zero_pick_nothing() {
        let memory = Memory::new(Scheduler::Wrr, &weights(&[0, 0]), OPTIONS);
        assert_eq!(memory.picks(1), [NO_REAL]);
    }

    #[test]
    fn large_weights_make_a_short_plan() {
        let memory = Memory::new(Scheduler::Wrr, &weights(&[65_535, 65_534, 1]), OPTIONS);
        assert_eq!(memory.plan().cycle, 131_070);
        assert!(memory.plan().length < 20, "{}", memory.plan().length);
    }

    const OVERLOADED: RealCounts = RealCounts {
        active: 0,
        inactive: 0,
        persistent: 0,
        overloaded: 1,
    };

    /// Overloaded reals of any weight lose their turns, and the others go on in
    /// their order: the walk's.
    #[test]
    fn who_is_overloaded_loses_his_turns() {
        for (weights, overloaded) in [
            (vec![4, 3, 2], vec![0]),
            (vec![600, 1, 1], vec![0]),
            (vec![700, 50, 3, 2, 2], vec![0, 1]),
            ((1..=60).collect(), (1..59).collect()),
            (vec![2, 1], vec![0, 1]),
        ] {
            let mut memory = Memory::new(Scheduler::Wrr, &self::weights(&weights), OPTIONS);
            let mut walk = Walk::new(&weights);
            for slot in &overloaded {
                memory.set_counts(*slot, OVERLOADED);
            }
            for _ in 0..20 {
                let is_free = |pick: &u32| !overloaded.contains(pick);
                let turns = weights.iter().sum::<u32>();
                let expected = (0..turns).find_map(|_| walk.pick().filter(is_free));
                assert_eq!(
                    memory.picks(1)[0],
                    expected.unwrap_or(NO_REAL),
                    "{weights:?}"
                );
            }
        }
    }

    /// Also behind more of them than are looked at.
    #[test]
    fn the_last_one_is_found() {
        let all: Vec<u32> = (1..=200).rev().collect();
        let mut memory = Memory::new(Scheduler::Wrr, &weights(&all), OPTIONS);
        for slot in 0..199 {
            memory.set_counts(slot, OVERLOADED);
        }
        assert_eq!(memory.picks(3), [199; 3]);
        memory.set_counts(199, OVERLOADED);
        assert_eq!(memory.picks(1), [NO_REAL]);
    }

    proptest! {
        #[test]
        fn picks_as_the_walk_does_over_changes(
            histories in prop::collection::vec(
                (prop::collection::vec(0u32..13, 1..6), 1u32..4, 0usize..30), 1..6),
        ) {
            let mut walk: Option<Walk> = None;
            let mut memory: Option<Memory> = None;
            for (history, factor, picks) in histories {
                let history: Vec<u32> = history.iter().map(|w| w * factor).collect();
                let walk = match &mut walk {
                    Some(walk) => { walk.change(&history); walk }
                    none => none.insert(Walk::new(&history)),
                };
                let reals = weights(&history);
                match &mut memory {
                    Some(memory) => memory.change(Scheduler::Wrr, &reals, OPTIONS),
                    none => *none = Some(Memory::new(Scheduler::Wrr, &reals, OPTIONS)),
                }
                let memory = memory.as_ref().expect("made above");
                for pick in memory.picks(picks) {
                    prop_assert_eq!(pick, walk.pick().unwrap_or(NO_REAL));
                }
            }
        }
    }
}
