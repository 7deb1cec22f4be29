//! Round robin, after `ip_vs_rr.c`: the next eligible real after the last
//! pick.
//!
//! Plan: the slots of the reals with a weight above 0, in the order of
//! configuration. Turn t picks word t modulo the length.

use super::{Listed, PlanWords};

/// Writes the plan's words; returns the cycle.
pub fn plan(reals: &[Listed], words: &mut impl Extend<u32>) -> u32 {
    let eligible = || reals.iter().filter(|real| real.weight > 0);
    words.extend(eligible().map(|real| real.slot));
    eligible().count() as u32
}

/// The real of `turn`.
#[inline(always)]
pub fn pick(turn: u64, cycle: u32, words: &impl PlanWords) -> Option<u32> {
    if cycle == 0 {
        return None;
    }
    words.word((turn % u64::from(cycle)) as u32)
}

/// The turn at which a new plan goes on where the old one stood: after the
/// last pick, or, when that real is gone, after the nearest one before it
/// that is still there (as IPVS moves its mark back at a deletion).
///
/// `before` and `after` are the reals' slots in scan order, weight 0 included.
#[must_use]
pub fn resume(last_pick: Option<u32>, before: &[u32], after: &[Listed]) -> u64 {
    let Some(last) = last_pick.and_then(|slot| before.iter().position(|s| *s == slot)) else {
        return 0;
    };
    let mark = before[..=last]
        .iter()
        .rev()
        .find_map(|slot| after.iter().position(|real| real.slot == *slot));
    let Some(mark) = mark else { return 0 };
    after[..=mark].iter().filter(|real| real.weight > 0).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(reals: &[(u32, u32)]) -> Vec<Listed> {
        reals
            .iter()
            .map(|&(slot, weight)| Listed { slot, weight })
            .collect()
    }

    #[test]
    fn takes_turns_and_skips_weight_zero() {
        let mut words = Vec::new();
        let cycle = plan(&listed(&[(5, 1), (6, 0), (7, 9)]), &mut words);
        let picks: Vec<_> = (0..5).map(|t| pick(t, cycle, &words.as_slice())).collect();
        assert_eq!(picks, [Some(5), Some(7), Some(5), Some(7), Some(5)]);
    }

    #[test]
    fn nothing_to_pick_from() {
        let mut words = Vec::new();
        assert_eq!(plan(&listed(&[(5, 0)]), &mut words), 0);
        assert_eq!(pick(3, 0, &words.as_slice()), None);
    }

    #[test]
    fn goes_on_after_the_last_pick() {
        let before = [1, 2, 3, 4];
        // 2 was picked last; it stays, so 3 is next: turn 2 of 1 2 3 4.
        assert_eq!(
            resume(Some(2), &before, &listed(&[(1, 1), (2, 1), (3, 1), (4, 1)])),
            2
        );
        // 2 is gone: the mark goes back to 1, and 3 is next.
        assert_eq!(
            resume(Some(2), &before, &listed(&[(1, 1), (3, 1), (4, 1)])),
            1
        );
        // 2 has weight 0 now: still the mark.
        assert_eq!(
            resume(Some(2), &before, &listed(&[(1, 1), (2, 0), (3, 1)])),
            1
        );
        // Nothing before it is left: the top.
        assert_eq!(resume(Some(1), &before, &listed(&[(3, 1), (4, 1)])), 0);
        assert_eq!(resume(None, &before, &listed(&[(1, 1)])), 0);
    }
}
