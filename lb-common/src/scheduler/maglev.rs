//! Consistent hashing after Eisenbud et al., "Maglev: A Fast and Reliable
//! Software Network Load Balancer" (NSDI 2016), section 3.4: a table in which
//! each real has slots by its weight, and few change when a real goes.
//!
//! Plan: the table's real slots. A flow's hash modulo the length picks.

/// A real as the table is filled.
#[derive(Clone, Copy, Debug)]
pub struct Entrant {
    pub slot: u32,
    pub weight: u32,
    /// What tells the real from others, the same on every director: a hash of
    /// its address and port.
    pub identity: u64,
    /// Places of its permutation that it has tried.
    tried: u32,
    /// Weight that it has been given by earlier rounds.
    credit: u64,
}

impl Entrant {
    #[must_use]
    pub const fn new(slot: u32, weight: u32, identity: u64) -> Self {
        Self {
            slot,
            weight,
            identity,
            tried: 0,
            credit: 0,
        }
    }

    /// The next place in its order of preference.
    fn place(&mut self, length: u32) -> usize {
        let offset = (self.identity as u32) % length;
        let skip = ((self.identity >> 32) as u32) % (length - 1) + 1;
        let place =
            (u64::from(offset) + u64::from(self.tried) * u64::from(skip)) % u64::from(length);
        self.tried += 1;
        place as usize
    }
}

/// What no slot is.
const FREE: u32 = u32::MAX;

/// Lengths of tables: primes, so that each real's steps reach every place.
const LENGTHS: [u32; 7] = [251, 509, 1021, 2039, 4093, 8191, 16_381];
/// Places that a real should have.
const PLACES: u32 = 16;

/// The longest table of so few reals that the shortest length is theirs, and
/// the most places that a real of others has.
pub const SHORTEST: u32 = LENGTHS[0];
pub const MOST_PLACES: u32 = PLACES * 2;

/// How long a table for so many reals is: 0 for none.
#[must_use]
pub fn length(reals: u32) -> u32 {
    if reals == 0 {
        return 0;
    }
    let wanted = reals.saturating_mul(PLACES);
    let fits = LENGTHS.into_iter().find(|length| *length >= wanted);
    fits.unwrap_or(LENGTHS[LENGTHS.len() - 1])
}

/// Fills a table, whose length is a prime above 1. Reals of weight 0 have no
/// place; if no real has a weight, the table stays as it is.
pub fn fill(reals: &mut [Entrant], table: &mut [u32]) {
    let most = reals.iter().map(|real| real.weight).max().unwrap_or(0);
    if most == 0 || table.len() < 2 {
        return;
    }
    table.fill(FREE);
    let length = table.len() as u32;
    let mut left = length;
    // A round gives the heaviest real one place, and the others theirs as
    // their weights add up to the heaviest's.
    loop {
        for real in &mut *reals {
            real.credit += u64::from(real.weight);
            if real.credit < u64::from(most) {
                continue;
            }
            real.credit -= u64::from(most);
            let place = loop {
                let place = real.place(length);
                if table[place] == FREE {
                    break place;
                }
            };
            table[place] = real.slot;
            left -= 1;
            if left == 0 {
                return;
            }
        }
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

    fn identity(number: u32) -> u64 {
        let mut word = u64::from(number)
            .wrapping_add(1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word ^= word >> 29;
        word.wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    fn table(reals: &[(u32, u32)]) -> Vec<u32> {
        let mut entrants: Vec<_> = reals
            .iter()
            .map(|&(slot, weight)| Entrant::new(slot, weight, identity(slot)))
            .collect();
        let mut table = vec![0; length(reals.len() as u32) as usize];
        fill(&mut entrants, &mut table);
        table
    }

    fn share(table: &[u32], slot: u32) -> f64 {
        table.iter().filter(|s| **s == slot).count() as f64 / table.len() as f64
    }

    #[test]
    fn shares_follow_the_weights() {
        let table = table(&[(1, 1), (2, 2), (3, 0), (4, 5)]);
        for (slot, expected) in [(1, 0.125), (2, 0.25), (3, 0.0), (4, 0.625)] {
            let share = share(&table, slot);
            assert!((share - expected).abs() < 0.01, "{slot}: {share}");
        }
    }

    #[test]
    fn large_weights_starve_nobody() {
        let table = table(&[(1, 65_535), (2, 32_768), (3, 1000)]);
        assert!((share(&table, 2) - 0.33).abs() < 0.01);
        assert!(share(&table, 3) > 0.0);
    }

    #[test]
    fn few_flows_move_when_a_real_goes() {
        let all: Vec<_> = (0..20).map(|slot| (slot, 1)).collect();
        let before = table(&all);
        for gone in 0..20 {
            let mut reals = all.clone();
            reals[gone as usize].1 = 0;
            let after = table(&reals);
            let moved = before
                .iter()
                .zip(&after)
                .filter(|(b, a)| **b != gone && b != a)
                .count();
            assert!(
                moved * 10 < before.len(),
                "{gone}: {moved} of {}",
                before.len()
            );
        }
    }

    #[test]
    fn nobody_to_fill_it_with() {
        assert_eq!(length(0), 0);
        let mut table = [7; 3];
        fill(&mut [Entrant::new(1, 0, 9)], &mut table);
        assert_eq!(table, [7; 3]);
        assert_eq!(index(5, 0), None);
    }
}
