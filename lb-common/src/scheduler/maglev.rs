//! Consistent hashing after Eisenbud et al., "Maglev: A Fast and Reliable
//! Software Network Load Balancer" (NSDI 2016), section 3.4: a table in which
//! each real has places by its weight, and few change when a real goes.
//!
//! In Maglev a real whose place is taken tries on in the same turn, so that a
//! place lost or won shifts all that its real takes later, and the changes
//! multiply. Here each try is a turn, at a time that no other real has a say
//! in, and a place is its earliest claimant's, whoever asks first. That is the
//! deferred acceptance of Gale and Shapley, "College Admissions and the
//! Stability of Marriage" (1962):
//!
//! * A real is to have a number of places by its weight. It asks for places in
//!   an order of its own, in turn t (from 0) for `mix(identity ^ t)`, until it
//!   has so many. Its turn t is at the time (2t + 1) / weight.
//! * A place is kept by the claim of the earliest time; of equal times, of the
//!   lowest identity. Who loses it asks on.
//!
//! Without the numbers, by the times alone, the places would already fall to
//! the reals in proportion to their weights, but for chance, and none would
//! move between others when a real goes (that is rendezvous hashing). So only
//! what chance is off by changes hands.
//!
//! All preferences are strict, so there is one outcome (the one that is best
//! for the reals). It depends on the length and on the set of the identities
//! and weights above 0, not on an order of the reals.
//!
//! Measured, of 100 equal reals one of which goes: of the places of the others
//! at most 2.1 % move at 4,093 places, and 0.4 % at 65,537 (Maglev's way: 4.4 %
//! and 0.7 %).

use core::cmp::Reverse;

use crate::{
    flow::mix,
    limits::{MAX_REALS_PER_SERVICE, MAX_TABLE_SIZE},
};

/// A real as the table is filled.
#[derive(Clone, Copy, Debug)]
pub struct Entrant {
    pub slot: u32,
    pub weight: u32,
    /// What tells the real from others, the same on every director: a hash of
    /// its address and port.
    pub identity: u64,
    /// How many places it is to have.
    places: u32,
    /// Turns that it has had.
    turns: u32,
}

impl Entrant {
    #[must_use]
    pub const fn new(slot: u32, weight: u32, identity: u64) -> Self {
        Self {
            slot,
            weight,
            identity,
            places: 0,
            turns: 0,
        }
    }

    /// Its next turn, and the place that it asks for in it. A place may come
    /// again, which is a turn for nothing.
    const fn ask(&mut self, length: u32) -> (u32, usize) {
        let turn = self.turns;
        self.turns += 1;
        let hash = mix(self.identity ^ turn as u64) >> 32;
        (turn, ((hash * length as u64) >> 32) as usize)
    }

    /// Whether its claim of a turn goes before another's of that one's turn.
    const fn is_before(&self, turn: u32, other: &Self, others_turn: u32) -> bool {
        let time = (2 * turn as u64 + 1) * other.weight as u64;
        let others_time = (2 * others_turn as u64 + 1) * self.weight as u64;
        time < others_time || time == others_time && self.identity < other.identity
    }
}

/// Bits of a claim, which is what a place holds while the table is filled: the
/// claimant's index and, below it, the turn.
const TURN_BITS: u32 = 21;
/// The last turn that is told from those after it. A real has asked for every
/// place after some `length × ln(length)` turns: this is for the proof only.
const LAST_TURN: u32 = (1 << TURN_BITS) - 2;
/// What no claim is.
const FREE: u32 = u32::MAX;

/// The most reals that a table is filled with.
const MOST_REALS: usize = 1 << (u32::BITS - TURN_BITS);
/// The most places of a table.
const LONGEST: usize = 1 << 17;

const _: () =
    assert!(MAX_REALS_PER_SERVICE as usize <= MOST_REALS && MAX_TABLE_SIZE as usize <= LONGEST);

/// Lengths of the tables of stateless picks, primes as mh's.
const LENGTHS: [u32; 7] = [251, 509, 1021, 2039, 4093, 8191, 16_381];
/// Places that a real should have.
const PLACES: u32 = 16;

/// The longest table of so few reals that the shortest length is theirs, and
/// the most places that a real of others has.
pub const SHORTEST: u32 = LENGTHS[0];
pub const MOST_PLACES: u32 = PLACES * 2;

/// How long a table of stateless picks is for so many reals: 0 for none.
#[must_use]
pub fn length(reals: u32) -> u32 {
    if reals == 0 {
        return 0;
    }
    let wanted = reals.saturating_mul(PLACES);
    let fits = LENGTHS.into_iter().find(|length| *length >= wanted);
    fits.unwrap_or(LENGTHS[LENGTHS.len() - 1])
}

/// Fills a table of at most [`LONGEST`] with at most [`MOST_REALS`] reals,
/// whose identities differ. It sorts the reals. One of weight 0 has no place;
/// each other has one, if there are as many places. If no real has a weight,
/// the table stays as it is.
pub fn fill(reals: &mut [Entrant], table: &mut [u32]) {
    debug_assert!(reals.len() <= MOST_REALS && table.len() <= LONGEST);
    if table.is_empty() || reals.iter().all(|real| real.weight == 0) {
        return;
    }
    share_out(reals, table.len() as u32);
    table.fill(FREE);
    for index in 0..reals.len() {
        reals[index].turns = 0;
        for _ in 0..reals[index].places {
            settle(index, reals, table);
        }
    }
    for place in table {
        *place = reals[(*place >> TURN_BITS) as usize].slot;
    }
}

/// Finds a real one more place. Who loses a claim over it asks in its stead,
/// and so on, until a place was free. One is: the reals' numbers of places add
/// up to the table's.
fn settle(index: usize, reals: &mut [Entrant], table: &mut [u32]) {
    let mut asking = index;
    loop {
        let (turn, place) = reals[asking].ask(table.len() as u32);
        let turn = turn.min(LAST_TURN);
        let held = table[place];
        let claim = (asking as u32) << TURN_BITS | turn;
        if held == FREE {
            table[place] = claim;
            return;
        }
        let holder = (held >> TURN_BITS) as usize;
        let held_turn = held & ((1 << TURN_BITS) - 1);
        if reals[asking].is_before(turn, &reals[holder], held_turn) {
            table[place] = claim;
            asking = holder;
        }
    }
}

/// How many places each real is to have, of the table's: its share by weight,
/// the fractions by largest remainder, but 1 where the share is less and there
/// are as many places as reals.
fn share_out(reals: &mut [Entrant], length: u32) {
    reals.sort_unstable_by_key(|real| (real.weight, real.identity));
    let unweighted = reals.partition_point(|real| real.weight == 0);
    let (without, reals) = reals.split_at_mut(unweighted);
    for real in without {
        real.places = 0;
    }
    let mut places = u64::from(length);
    let mut weight: u64 = reals.iter().map(|real| u64::from(real.weight)).sum();
    let mut light = 0;
    if reals.len() as u64 <= places {
        // The lightest first: what they are given beyond their shares makes
        // those of the others less, and may make another's less than 1.
        for real in &mut *reals {
            let own = u64::from(real.weight);
            if own * places >= weight {
                break;
            }
            real.places = 1;
            places -= 1;
            weight -= own;
            light += 1;
        }
    }
    let reals = &mut reals[light..];
    let of_weight = |real: &Entrant| u64::from(real.weight) * places;
    reals.sort_unstable_by_key(|real| (Reverse(of_weight(real) % weight), real.identity));
    let mut left = places;
    for real in &mut *reals {
        let whole = of_weight(real) / weight;
        real.places = whole as u32;
        left -= whole;
    }
    for real in reals.iter_mut().take(left as usize) {
        real.places += 1;
    }
}

/// The place of a flow in a table.
#[inline(always)]
#[must_use]
pub const fn index(hash: u64, length: u32) -> Option<u32> {
    ((hash ^ hash >> 32) as u32).checked_rem(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Real = (u32, u32);

    fn entrant((slot, weight): Real) -> Entrant {
        Entrant::new(slot, weight, mix(u64::from(slot) + 1))
    }

    fn table(reals: &[Real], length: usize) -> Vec<u32> {
        let mut entrants: Vec<_> = reals.iter().copied().map(entrant).collect();
        let mut table = vec![u32::MAX; length];
        fill(&mut entrants, &mut table);
        table
    }

    fn equal(slots: core::ops::Range<u32>) -> Vec<Real> {
        slots.map(|slot| (slot, 1)).collect()
    }

    fn count(table: &[u32], slot: u32) -> usize {
        table.iter().filter(|holder| **holder == slot).count()
    }

    /// Of the places that were not `slot`'s and are not, those that moved, in
    /// hundredths of a percent.
    fn moved(before: &[u32], after: &[u32], slot: u32) -> usize {
        let others = before.iter().zip(after);
        let others = others.filter(|(before, after)| **before != slot && **after != slot);
        let (mut all, mut moved) = (0, 0);
        for (before, after) in others {
            all += 1;
            moved += usize::from(before != after);
        }
        moved * 10_000 / all
    }

    /// The most that moves as any one of 100 equal reals goes.
    fn most_moved(slots: core::ops::Range<u32>, length: usize) -> usize {
        let all = equal(slots);
        let before = table(&all, length);
        let gone = |&(gone, _): &Real| {
            let rest: Vec<_> = all.iter().copied().filter(|real| real.0 != gone).collect();
            moved(&before, &table(&rest, length), gone)
        };
        all.iter().map(gone).max().unwrap()
    }

    #[test]
    fn few_flows_move_whichever_of_100_reals_goes() {
        for set in 0..20 {
            let most = most_moved(set * 100..set * 100 + 100, 4093);
            assert!(most < 250, "{set}: {most}");
        }
    }

    #[test]
    fn fewer_move_in_a_long_table() {
        for set in 0..2 {
            let most = most_moved(set * 100..set * 100 + 100, 65_537);
            assert!(most < 60, "{set}: {most}");
        }
    }

    #[test]
    fn a_real_of_weight_0_is_as_one_that_went() {
        let mut reals = equal(0..10);
        reals[3].1 = 0;
        let with = table(&reals, 1021);
        reals.remove(3);
        assert_eq!(with, table(&reals, 1021));
        assert_eq!(count(&with, 3), 0);
    }

    #[test]
    fn few_flows_move_when_a_weight_changes() {
        let mut reals: Vec<_> = (0..100).map(|slot| (slot, 100 + slot)).collect();
        let before = table(&reals, 65_537);
        reals[50].1 += 2;
        let after = table(&reals, 65_537);
        assert!(moved(&before, &after, 50) < 20);
        assert!(count(&after, 50) > count(&before, 50));
    }

    #[test]
    fn shares_follow_the_weights() {
        let reals: Vec<_> = (0..100).map(|slot| (slot, 1000 + 7 * slot)).collect();
        let total: u64 = reals.iter().map(|real| u64::from(real.1)).sum();
        let table = table(&reals, 65_537);
        for (slot, weight) in reals {
            let expected = u64::from(weight) * 65_537 / total;
            let found = count(&table, slot) as u64;
            assert!(found == expected || found == expected + 1, "{slot}");
        }
    }

    #[test]
    fn no_weight_above_0_is_without_a_place() {
        let mut reals = vec![(0, 65_535)];
        reals.extend(equal(1..1024));
        let table = table(&reals, 4093);
        assert_eq!(count(&table, 0), 4093 - 1023);
        for slot in 1..1024 {
            assert_eq!(count(&table, slot), 1, "{slot}");
        }
    }

    #[test]
    fn the_order_of_the_reals_is_nothing() {
        let mut reals: Vec<_> = (0..50).map(|slot| (slot, slot % 7)).collect();
        let before = table(&reals, 4093);
        reals.reverse();
        assert_eq!(table(&reals, 4093), before);
        reals.rotate_left(17);
        assert_eq!(table(&reals, 4093), before);
    }

    /// The table is part of what directors agree on.
    #[test]
    fn the_table_is_the_same_for_ever() {
        assert_eq!(
            table(&[(0, 1), (1, 2), (2, 4)], 11),
            [1, 2, 1, 2, 0, 2, 1, 2, 2, 0, 2]
        );
    }

    /// No claim could do better: every place that a real asked for before its
    /// last one is its own or kept by an earlier claim.
    #[test]
    fn the_outcome_is_stable() {
        let reals: Vec<_> = (0..20).map(|slot| (slot, 1 + slot % 5)).collect();
        let length = 509;
        let table = table(&reals, length);
        // By slot and place: the turn in which a real first asks for it.
        let turn = |slot: u32, place: usize| {
            let mut real = entrant(reals[slot as usize]);
            loop {
                let (turn, asked) = real.ask(length as u32);
                if asked == place {
                    return turn;
                }
            }
        };
        for real in &reals {
            let mine = entrant(*real);
            let own = (0..length).filter(|place| table[*place] == real.0);
            let last = own.map(|place| turn(real.0, place)).max().unwrap();
            for place in (0..length).filter(|place| table[*place] != real.0) {
                let (asked, holder) = (turn(real.0, place), table[place]);
                let other = entrant(reals[holder as usize]);
                assert!(
                    asked > last || other.is_before(turn(holder, place), &mine, asked),
                    "{real:?} at {place}"
                );
            }
        }
    }

    #[test]
    fn one_real_has_every_place() {
        assert_eq!(table(&[(7, 65_535)], 4093), [7; 4093]);
        assert_eq!(table(&[(7, 1)], 1), [7]);
    }

    #[test]
    fn more_reals_than_places() {
        let mut reals = equal(0..1024);
        reals[1000].1 = 2;
        let table = table(&reals, 251);
        assert!(table.iter().all(|slot| *slot < 1024));
        assert_eq!(count(&table, 1000), 1);
        for slot in 0..1024 {
            assert!(count(&table, slot) <= 1, "{slot}");
        }
    }

    #[test]
    fn as_many_reals_as_places() {
        let table = table(
            &(0..251).map(|slot| (slot, slot + 1)).collect::<Vec<_>>(),
            251,
        );
        for slot in 0..251 {
            assert_eq!(count(&table, slot), 1, "{slot}");
        }
    }

    #[test]
    fn nobody_to_fill_it_with() {
        assert_eq!(table(&[], 3), [u32::MAX; 3]);
        assert_eq!(table(&[(1, 0)], 3), [u32::MAX; 3]);
        assert_eq!(table(&[(1, 1)], 0), []);
        assert_eq!(length(0), 0);
        assert_eq!(index(5, 0), None);
    }
}
