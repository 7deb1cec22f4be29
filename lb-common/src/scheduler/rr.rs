//! Round robin, after `ip_vs_rr.c`: the next eligible real after the last
//! pick.
//!
//! Plan: the slots of the reals with a weight above 0, in the order of
//! configuration; turn t picks word t modulo the length. In a slow start
//! sixteen such rounds, of which a real takes part in as many as its share has
//! sixteenths.

use super::{Context, NO_REAL, Pick, search};
use crate::service::Plan;

pub struct Rr;

impl Pick for Rr {
    #[inline(always)]
    fn pick<X: Context>(plan: &Plan, context: &X) -> u32 {
        let turn = context.next_turn();
        let (real, vain) = search::first(context, plan.cycle, |nth| {
            of_turn(turn.wrapping_add(nth.into()), plan, context)
        });
        if real != NO_REAL {
            // Who is overloaded loses his turn.
            if vain > 0 {
                context.skip_turns(vain.into());
            }
            return real;
        }
        if plan.cycle <= search::MOST_TRIES {
            return NO_REAL;
        }
        // More turns than tries: everybody is in the first ones.
        search::first(context, plan.cycle, |nth| context.word(nth)).0
    }
}

/// The real of a turn.
#[inline(always)]
fn of_turn(turn: u64, plan: &Plan, context: &impl Context) -> Option<u32> {
    context.word(turn.checked_rem(u64::from(plan.cycle))? as u32)
}

#[cfg(feature = "user")]
mod layout {
    use alloc::vec::Vec;

    use super::Rr;
    use crate::scheduler::{FULL_SHARE, Former, Layout, Listed, Options};

    impl Layout for Rr {
        fn plan(&self, reals: &[Listed], _: Options, words: &mut Vec<u32>) -> u32 {
            let eligible = || reals.iter().filter(|real| real.weight > 0);
            let are_whole = eligible().all(|real| real.share == FULL_SHARE);
            for round in if are_whole { 0..1 } else { 0..FULL_SHARE } {
                // As evenly as whole rounds allow, the first one with everybody.
                let takes_part = |real: &&Listed| round * real.share % FULL_SHARE < real.share;
                words.extend(eligible().filter(takes_part).map(|real| real.slot));
            }
            words.len() as u32
        }

        /// After the last pick, or, when that real is gone, after the nearest
        /// one before it that is still there (as IPVS moves its mark back at a
        /// deletion).
        fn resume(&self, before: &Former<'_>, after: &[Listed]) -> u64 {
            if before.turn == 0 || before.cycle == 0 {
                return 0;
            }
            let last = ((before.turn - 1) % u64::from(before.cycle)) as usize;
            let last = before.words.get(last);
            let is_last = |real: &Listed| Some(&real.slot) == last;
            let Some(last) = before.reals.iter().position(is_last) else {
                return 0;
            };
            let mark = before.reals[..=last]
                .iter()
                .rev()
                .find_map(|mark| after.iter().position(|real| real.slot == mark.slot));
            let Some(mark) = mark else { return 0 };
            after[..=mark].iter().filter(|real| real.weight > 0).count() as u64
        }
    }
}

#[cfg(all(test, feature = "user"))]
mod tests {
    use super::*;
    use crate::scheduler::{
        FULL_SHARE, Former, Layout as _, NO_REAL, Scheduler,
        memory::{Memory, OPTIONS, listed},
    };

    #[test]
    fn takes_turns_and_skips_weight_zero() {
        let memory = Memory::new(Scheduler::Rr, &listed(&[(5, 1), (6, 0), (7, 9)]), OPTIONS);
        assert_eq!(memory.picks(5), [5, 7, 5, 7, 5]);
    }

    #[test]
    fn nothing_to_pick_from() {
        let memory = Memory::new(Scheduler::Rr, &listed(&[(5, 0)]), OPTIONS);
        assert_eq!(memory.picks(1), [NO_REAL]);
    }

    #[test]
    fn a_real_in_its_slow_start_takes_part_in_some_rounds() {
        let mut reals = listed(&[(5, 1), (6, 1)]);
        for share in 1..FULL_SHARE {
            reals[1].share = share;
            let memory = Memory::new(Scheduler::Rr, &reals, OPTIONS);
            let picks = memory.picks(16 + share as usize);
            let of = |slot| picks.iter().filter(|pick| **pick == slot).count() as u32;
            assert_eq!((of(5), of(6)), (16, share));
        }
    }

    fn resume(last: Option<u64>, before: &[(u32, u32)], after: &[(u32, u32)]) -> u64 {
        let before = listed(before);
        let mut words = Vec::new();
        let cycle = Rr.plan(&before, OPTIONS, &mut words);
        let former = Former {
            reals: &before,
            words: &words,
            cycle,
            start: 0,
            turn: last.map_or(0, |turn| turn + 1),
        };
        Rr.resume(&former, &listed(after))
    }

    #[test]
    fn goes_on_after_the_last_pick() {
        let before = [(1, 1), (2, 1), (3, 1), (4, 1)];
        // 2 was picked last; it stays, so 3 is next: turn 2 of 1 2 3 4.
        assert_eq!(resume(Some(1), &before, &before), 2);
        // 2 is gone: the mark goes back to 1, and 3 is next.
        assert_eq!(resume(Some(1), &before, &[(1, 1), (3, 1), (4, 1)]), 1);
        // 2 has weight 0 now: still the mark.
        assert_eq!(resume(Some(1), &before, &[(1, 1), (2, 0), (3, 1)]), 1);
        // Nothing before it is left: the top.
        assert_eq!(resume(Some(0), &before, &[(3, 1), (4, 1)]), 0);
        assert_eq!(resume(None, &before, &[(1, 1)]), 0);
    }
}
