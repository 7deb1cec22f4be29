//! Whether the counts of reals are those of their entries. They are, unless a
//! program was cut off half-way or a race was lost: then they are corrected.
//!
//! A walk takes a while, in which packets change the table. So a difference
//! counts only where the counts stood still meanwhile, and where it is the same
//! in several walks in a row. What is corrected is added, so that no change of
//! a packet's is lost.

use lb_common::{
    defence,
    real::{Live, RealCounts},
    sweep::Repair,
};

/// Walks in a row that find the same difference.
const WALKS: u8 = 3;

/// What earlier walks found missing.
pub(super) struct Recount(Vec<Missing>);

#[derive(Clone, Copy, Default)]
struct Missing {
    /// Active, inactive, templates: two's complements.
    counts: [u32; 3],
    walks: u8,
}

impl Recount {
    pub fn new(reals: u32) -> Self {
        Self(vec![Missing::default(); reals as usize])
    }

    /// What is to be added to which real's counts. `before` and `after` are
    /// the counts around the walk that found `live`.
    pub fn differences(
        &mut self,
        before: &[RealCounts],
        live: &[Live],
        after: &[RealCounts],
    ) -> Vec<Repair> {
        let mut repairs = Vec::new();
        for (real, missing) in self.0.iter_mut().enumerate() {
            let counts = counts(&after[real]);
            let Live {
                active,
                inactive,
                persistent,
                ..
            } = live[real];
            let mut now = [active, inactive, persistent];
            for (live, count) in now.iter_mut().zip(counts) {
                *live = live.wrapping_sub(count);
            }
            if now == [0; 3] || self::counts(&before[real]) != counts {
                *missing = Missing::default();
                continue;
            }
            if missing.counts != now {
                *missing = Missing {
                    counts: now,
                    walks: 0,
                };
            }
            missing.walks += 1;
            if missing.walks < WALKS {
                continue;
            }
            *missing = Missing::default();
            let [active, inactive, persistent] = now;
            repairs.push(Repair {
                real: real as u32,
                active,
                inactive,
                persistent,
            });
        }
        if !repairs.is_empty() {
            tracing::warn!(reals = repairs.len(), "counts of connections corrected");
        }
        repairs
    }
}

fn counts(real: &RealCounts) -> [u32; 3] {
    [real.active, real.inactive, real.persistent]
}

/// What is to be added to a table's number of entries, a two's complement: 0
/// unless the walk found less than there ever were meanwhile, or more, by a
/// share that matters. What the walk ended may have come again, under attack,
/// ahead of it, and been found once more: it counts as what there was too.
pub(super) fn fill_difference(before: u32, found: u64, ended: u32, after: u32) -> u32 {
    let found = found.min(u64::from(u32::MAX)) as u32;
    let counts = [before, after].map(defence::count);
    let (low, high) = (counts[0].min(counts[1]), counts[0].max(counts[1]));
    let slack = high / 8 + 64;
    let most = high.saturating_add(ended).saturating_add(slack);
    if found > most || found.saturating_add(slack) < low {
        return found.wrapping_sub(after);
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(active: u32, inactive: u32) -> RealCounts {
        RealCounts {
            active,
            inactive,
            ..RealCounts::default()
        }
    }

    fn live(active: u32, inactive: u32) -> [Live; 1] {
        [Live {
            active,
            inactive,
            references: active + inactive + 1,
            ..Live::default()
        }]
    }

    #[test]
    fn a_difference_that_stays_is_made_good() {
        let mut recount = Recount::new(1);
        let counts = [count(3, 1)];
        let found = live(2, 2);
        assert!(recount.differences(&counts, &found, &counts).is_empty());
        assert!(recount.differences(&counts, &found, &counts).is_empty());
        let repair = Repair {
            real: 0,
            active: u32::MAX,
            inactive: 1,
            persistent: 0,
        };
        assert_eq!(recount.differences(&counts, &found, &counts), [repair]);
        assert!(recount.differences(&counts, &found, &counts).is_empty());
    }

    #[test]
    fn what_moves_is_left_alone() {
        let mut recount = Recount::new(1);
        for walk in 0..10 {
            let (before, after) = ([count(walk, 0)], [count(walk + 1, 0)]);
            assert!(recount.differences(&before, &live(0, 0), &after).is_empty());
            let counts = [count(walk, 0)];
            assert!(
                recount
                    .differences(&counts, &live(0, 0), &counts)
                    .is_empty()
            );
        }
    }

    #[test]
    fn the_fill_is_corrected_where_it_is_far_off() {
        assert_eq!(fill_difference(1000, 1000, 0, 1000), 0);
        assert_eq!(fill_difference(1000, 1100, 0, 1200), 0);
        assert_eq!(fill_difference(1000, 0, 0, 1000), 0u32.wrapping_sub(1000));
        assert_eq!(fill_difference(0, 5000, 0, 10), 4990);
        assert_eq!(
            fill_difference(0u32.wrapping_sub(5), 0, 0, 0u32.wrapping_sub(5)),
            0
        );
    }

    #[test]
    fn what_was_ended_and_came_again_is_found_twice() {
        assert_eq!(fill_difference(15_892, 20_495, 5000, 15_892), 0);
        assert_eq!(fill_difference(15_892, 20_495, 0, 15_892), 4603);
    }
}
