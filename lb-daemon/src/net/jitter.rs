//! Waiting times that do not fall together.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// The longest time between two tries of what does not succeed, seconds.
const BACKOFF_CAP_S: u64 = 30;

/// A source of chance good enough for timers.
#[derive(Debug, Default)]
pub(crate) struct Jitter {
    state: RandomState,
    drawn: u64,
}

impl Jitter {
    /// `base`, give or take a fifth.
    pub(crate) fn around(&mut self, base: Duration) -> Duration {
        base.mul_f64(0.8 + 0.4 * self.fraction())
    }

    /// Anything from nothing to `most`.
    pub(crate) fn within(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.fraction())
    }

    /// About 1 s after the first try, then twice as long each time, up to a
    /// cap of about 30 s.
    pub(crate) fn backoff(&mut self, tries: u32) -> Duration {
        let seconds = 1_u64.checked_shl(tries).unwrap_or(BACKOFF_CAP_S);
        self.around(Duration::from_secs(seconds.min(BACKOFF_CAP_S)))
    }

    /// From 0 to below 1.
    fn fraction(&mut self) -> f64 {
        self.drawn = self.drawn.wrapping_add(1);
        let bits = self.state.hash_one(self.drawn) >> 32;
        f64::from(u32::try_from(bits).unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_the_cap() {
        let mut jitter = Jitter::default();
        for (tries, seconds) in [(0, 1.0), (1, 2.0), (4, 16.0), (5, 30.0), (80, 30.0)] {
            let drawn = jitter.backoff(tries).as_secs_f64();
            assert!(
                (seconds * 0.8..=seconds * 1.2).contains(&drawn),
                "{tries}: {drawn}"
            );
        }
    }
}
