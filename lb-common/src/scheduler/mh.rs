//! Maglev hashing, after `ip_vs_mh.c`: a table by the client's address, and his
//! port with `mh-port`. Few flows change their real when one comes or goes
//! ([`maglev`]). A real of weight 0 keeps the places of its last weight; who is
//! led there gets nobody, or with `mh-fallback` another real.
//!
//! Plan: the real slots of the places, [`NO_REAL`] where the real has the weight
//! 0: a prime number of them, the cycle. Behind them the slots that have a weight.

use super::{Context, NO_REAL, Pick, flag, maglev, search};
use crate::service::Plan;

pub struct Mh;

impl Pick for Mh {
    #[inline(always)]
    fn pick<X: Context>(plan: &Plan, context: &X) -> u32 {
        let hash = context.key().client(plan.flags & flag::PORT != 0);
        let tries = search::tries(plan);
        let (real, _) = search::first(context, tries, |nth| {
            // The flows of one place scatter over the others.
            let step = (hash >> 32) % u64::from(plan.cycle.max(2) - 1) + 1;
            let place = u64::from(maglev::index(hash, plan.cycle)?) + u64::from(nth) * step;
            context.word((place % u64::from(plan.cycle)) as u32)
        });
        let listed = plan.length.saturating_sub(plan.cycle);
        if real != NO_REAL || tries <= search::MOST_TRIES {
            return real;
        }
        // Who is left has so few places that none was met.
        search::first(context, listed, |nth| {
            let index = (hash as u32).wrapping_add(nth).checked_rem(listed)?;
            context.word(plan.cycle.wrapping_add(index))
        })
        .0
    }
}

#[cfg(feature = "user")]
impl super::Layout for Mh {
    fn plan(
        &self,
        reals: &[super::Listed],
        options: super::Options,
        words: &mut alloc::vec::Vec<u32>,
    ) -> u32 {
        let mut entrants: alloc::vec::Vec<_> = (0..)
            .zip(reals)
            .map(|(index, real)| maglev::Entrant::new(index, real.last_weight, real.identity))
            .collect();
        if entrants.iter().any(|entrant| entrant.weight > 0) {
            words.resize(options.table_size as usize, 0);
            maglev::fill(&mut entrants, words);
        }
        for word in words.iter_mut() {
            *word = match reals[*word as usize] {
                real if real.weight > 0 => real.slot,
                _ => NO_REAL,
            };
        }
        let cycle = words.len() as u32;
        let eligible = reals.iter().filter(|real| real.weight > 0);
        words.extend(eligible.map(|real| real.slot));
        cycle
    }

    fn flags(&self) -> &'static [(&'static str, u32)] {
        &[("mh-fallback", flag::FALLBACK), ("mh-port", flag::PORT)]
    }

    fn starts_slowly(&self) -> bool {
        false
    }
}

#[cfg(all(test, feature = "user"))]
mod tests {
    use crate::{
        real::RealCounts,
        scheduler::{
            Key, NO_REAL, Options, Scheduler, flag,
            memory::{Memory, listed},
        },
    };

    /// With the fallback somebody is found if there is anybody, however few places
    /// he has.
    #[test]
    fn the_last_one_is_found() {
        for (flags, expected) in [(0, NO_REAL), (flag::FALLBACK, 1)] {
            let options = Options {
                flags,
                table_size: 65_537,
            };
            let reals = listed(&[(0, 65_535), (1, 1)]);
            let mut memory = Memory::new(Scheduler::Mh, &reals, options);
            let overloaded = RealCounts {
                overloaded: 1,
                ..RealCounts::default()
            };
            memory.set_counts(0, overloaded);
            for source_port in 0..10 {
                let key = Key {
                    source_port,
                    ..Key::default()
                };
                assert_eq!(memory.pick(key), expected);
            }
        }
    }
}
