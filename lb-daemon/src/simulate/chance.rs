//! Chances that are the same again for the same seed.

use std::str::FromStr;

/// Numbers by chance: SplitMix64, after Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators".
pub struct Chance(u64);

impl Chance {
    /// Streams of one seed have nothing to do with each other.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut chance = Self(seed);
        let start = chance.word();
        Self(start ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93))
    }

    pub const fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    /// Evenly above 0, up to and with 1.
    pub fn unit(&mut self) -> f64 {
        ((self.word() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Evenly below `bound`, which is not 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        ((u128::from(self.word()) * u128::from(bound)) >> 64) as u32
    }
}

/// Most members of a [`Population`].
pub const MOST_MEMBERS: u32 = 1_000_000;

/// How many clients or destinations there are, and how often each comes: all
/// alike, or by Zipf's law, the n-th one 1/n times as often as the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Population {
    pub members: u32,
    pub is_zipf: bool,
}

impl FromStr for Population {
    type Err = String;

    /// `1000` or `zipf:1000`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (is_zipf, number) = match text.strip_prefix("zipf:") {
            Some(number) => (true, number),
            None => (false, text),
        };
        let members = number.parse().ok();
        let members = members.filter(|members| (1..=MOST_MEMBERS).contains(members));
        let members = members.ok_or_else(|| {
            format!("{text:?}: expected a number from 1 to {MOST_MEMBERS}, or zipf: and one")
        })?;
        Ok(Self { members, is_zipf })
    }
}

/// Draws members of a population.
pub struct Draw {
    chance: Chance,
    members: u32,
    /// Zipf: the sums of the parts, up to and with each member's.
    sums: Vec<f64>,
}

impl Draw {
    #[must_use]
    pub fn new(population: Population, chance: Chance) -> Self {
        let mut sum = 0.0;
        let parts = (1..=population.members).filter(|_| population.is_zipf);
        let sums = parts.map(|rank| {
            sum += 1.0 / f64::from(rank);
            sum
        });
        Self {
            chance,
            members: population.members,
            sums: sums.collect(),
        }
    }

    pub fn member(&mut self) -> u32 {
        let Some(total) = self.sums.last() else {
            return self.chance.below(self.members);
        };
        let at = self.chance.unit() * total;
        let member = self.sums.partition_point(|sum| *sum < at);
        (member as u32).min(self.members - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(population: &str, seed: u64) -> Vec<u32> {
        let population = population.parse().unwrap();
        let mut draw = Draw::new(population, Chance::new(seed, 1));
        (0..10_000).map(|_| draw.member()).collect()
    }

    #[test]
    fn a_seed_says_it_all() {
        assert_eq!(drawn("zipf:100", 7), drawn("zipf:100", 7));
        assert_ne!(drawn("100", 7), drawn("100", 8));
    }

    #[test]
    fn the_first_ones_come_more_often_by_zipf() {
        let often = |drawn: &[u32], member| drawn.iter().filter(|m| **m == member).count();
        let zipf = drawn("zipf:10", 1);
        // Of the sum of 1, 1/2, … 1/10: 2.929.
        assert!((often(&zipf, 0) as f64 / 10_000.0 - 0.341).abs() < 0.02);
        assert!((often(&zipf, 9) as f64 / 10_000.0 - 0.034).abs() < 0.01);
        let even = drawn("10", 1);
        assert!((0..10).all(|member| (900..1100).contains(&often(&even, member))));
    }

    #[test]
    fn populations_have_a_number() {
        for text in ["", "0", "zipf:", "zipf:0", "pareto:3", "1000001", "-1"] {
            let error = text.parse::<Population>().unwrap_err();
            assert!(error.contains("expected a number"), "{error}");
        }
    }
}
