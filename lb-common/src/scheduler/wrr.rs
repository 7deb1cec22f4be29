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

use super::{Listed, PlanWords};

/// Words that describe one band.
const BAND_WORDS: u32 = 3;
/// Steps that a binary search over at most 1,024 bands takes.
const SEARCH_STEPS: u32 = 11;

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// di and mw of IPVS; both 0 when no weight is above 0.
fn step_and_top(reals: &[Listed]) -> (u32, u32) {
    let di = reals.iter().fold(0, |di, real| gcd(di, real.weight));
    let max = reals.iter().map(|real| real.weight).max().unwrap_or(0);
    (di, max.saturating_sub(di.saturating_sub(1)))
}

/// The bands, highest first: (top level, levels, reals picked at each).
fn bands(reals: &[Listed]) -> impl Iterator<Item = (u32, u32, u32)> + '_ {
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

/// Writes the plan's words; returns the cycle: the sum of the weights over
/// their gcd.
pub fn plan(reals: &[Listed], words: &mut impl Extend<u32>) -> u32 {
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

/// The real of `turn`.
#[inline(always)]
pub fn pick(turn: u64, cycle: u32, words: &impl PlanWords) -> Option<u32> {
    if cycle == 0 {
        return None;
    }
    let turn = (turn % u64::from(cycle)) as u32;
    // The last band that starts at or before the turn lies in [low, high).
    let (mut low, mut high) = (0, words.word(0)?);
    for _ in 0..SEARCH_STEPS {
        if high - low <= 1 {
            break;
        }
        let middle = low + (high - low) / 2;
        if words.word(1 + middle * BAND_WORDS)? <= turn {
            low = middle;
        } else {
            high = middle;
        }
    }
    let band = 1 + low * BAND_WORDS;
    let start = words.word(band)?;
    let reals = words.word(band + 1)?;
    let offset = words.word(band + 2)?;
    if reals == 0 {
        return None;
    }
    words.word(offset + turn.wrapping_sub(start) % reals)
}

/// The level that IPVS's cw stands at before `turn`, of a plan that began at
/// `start`: that of the last pick, or of the first one where none was made.
fn level_at(start: u64, turn: u64, reals: &[Listed]) -> u32 {
    let cycle: u64 = bands(reals)
        .map(|(_, levels, count)| u64::from(levels * count))
        .sum();
    if cycle == 0 {
        return 0;
    }
    let at = if turn == start { turn } else { turn - 1 } % cycle;
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

/// The turn at which a plan for `after` starts where `before` stood at
/// `turn`: `ip_vs_wrr_dest_changed` puts the position before the first real
/// and keeps cw, cut to the new range and step.
#[must_use]
pub fn resume(start: u64, turn: u64, before: &[Listed], after: &[Listed]) -> u64 {
    let (di, mw) = step_and_top(after);
    let mut cw = level_at(start, turn, before);
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn listed(weights: &[u32]) -> Vec<Listed> {
        weights
            .iter()
            .enumerate()
            .map(|(slot, &weight)| Listed {
                slot: slot as u32,
                weight,
            })
            .collect()
    }

    /// The walk itself, as semantics.md tells it, to compare the plan with.
    struct Walk {
        weights: Vec<u32>,
        position: Option<usize>,
        cw: u32,
    }

    impl Walk {
        fn new(weights: &[u32]) -> Self {
            let (_, mw) = step_and_top(&listed(weights));
            Self {
                weights: weights.to_vec(),
                position: None,
                cw: mw,
            }
        }

        fn change(&mut self, weights: &[u32]) {
            let (di, mw) = step_and_top(&listed(weights));
            self.weights = weights.to_vec();
            self.position = None;
            if self.cw == 0 || self.cw > mw {
                self.cw = mw;
            } else if di > 1 {
                self.cw = self.cw / di * di + 1;
            }
        }

        fn pick(&mut self) -> Option<u32> {
            let (di, mw) = step_and_top(&listed(&self.weights));
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
        let mut words = Vec::new();
        let cycle = plan(&listed(&[4, 3, 2]), &mut words);
        let picks: Vec<_> = (0..9)
            .map(|t| pick(t, cycle, &words.as_slice()).unwrap())
            .collect();
        assert_eq!(picks, [0, 0, 1, 0, 1, 2, 0, 1, 2]);
        assert_eq!(cycle, 9);
    }

    #[test]
    fn all_weights_zero_pick_nothing() {
        let mut words = Vec::new();
        let cycle = plan(&listed(&[0, 0]), &mut words);
        assert_eq!(pick(0, cycle, &words.as_slice()), None);
    }

    #[test]
    fn large_weights_make_a_short_plan() {
        let mut words = Vec::new();
        let cycle = plan(&listed(&[65_535, 65_534, 1]), &mut words);
        assert_eq!(cycle, 131_070);
        assert!(words.len() < 20, "{}", words.len());
    }

    proptest! {
        #[test]
        fn picks_as_the_walk_does_over_changes(
            histories in prop::collection::vec(
                (prop::collection::vec(0u32..13, 1..6), 1u32..4, 0usize..30), 1..6),
        ) {
            let mut walk: Option<Walk> = None;
            let mut state: Option<(u64, u64, Vec<Listed>)> = None;
            for (weights, factor, picks) in histories {
                let weights: Vec<u32> = weights.iter().map(|w| w * factor).collect();
                let reals = listed(&weights);
                let mut words = Vec::new();
                let cycle = plan(&reals, &mut words);
                let walk = match &mut walk {
                    Some(walk) => { walk.change(&weights); walk }
                    none => none.insert(Walk::new(&weights)),
                };
                let start = match &state {
                    Some((start, turn, before)) => resume(*start, *turn, before, &reals),
                    None => 0,
                };
                let mut turn = start;
                for _ in 0..picks {
                    prop_assert_eq!(pick(turn, cycle, &words.as_slice()), walk.pick());
                    turn += 1;
                }
                state = Some((start, turn, reals));
            }
        }
    }
}
