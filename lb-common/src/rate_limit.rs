//! Limits of events a second with a burst: the generic cell rate algorithm
//! (ITU-T I.371), whose whole memory is one time.

/// How often something may happen, plain data.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// What one event costs, ns; 0: there is no limit.
    pub interval_ns: u64,
    /// How far ahead of the clock the events may be, ns.
    pub burst_ns: u64,
}

impl Limit {
    /// `rate` a second, and `burst` at once, both at least 1.
    #[must_use]
    pub const fn new(rate: u32, burst: u32) -> Self {
        let rate = if rate == 0 { 1 } else { rate };
        let interval_ns = 1_000_000_000 / rate as u64;
        Self {
            interval_ns,
            burst_ns: interval_ns * burst.saturating_sub(1) as u64,
        }
    }

    /// The time to remember if an event may happen at `now_ns`. `paid_until`
    /// is what was remembered last, 0 before the first.
    #[inline(always)]
    #[must_use]
    pub const fn pass(&self, paid_until: u64, now_ns: u64) -> Option<u64> {
        let from = if paid_until > now_ns {
            paid_until
        } else {
            now_ns
        };
        if from - now_ns > self.burst_ns {
            return None;
        }
        Some(from + self.interval_ns)
    }
}

const _: () = assert!(size_of::<Limit>() == 16);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn passed(limit: Limit, times: impl Iterator<Item = u64>) -> usize {
        let mut paid = 0;
        times
            .filter(|now| {
                limit
                    .pass(paid, *now)
                    .inspect(|next| paid = *next)
                    .is_some()
            })
            .count()
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let limit = Limit::new(100, 20);
        assert_eq!(passed(limit, (0..1000).map(|_| SECOND)), 20);
        // A thousand a second for ten seconds: a hundred a second get through.
        let storm = (0..10_000).map(|n| SECOND + n * SECOND / 1000);
        let count = passed(limit, storm);
        assert!((1019..=1021).contains(&count), "{count}");
    }

    #[test]
    fn below_the_rate_all_pass() {
        let limit = Limit::new(100, 1);
        assert_eq!(passed(limit, (1..=500).map(|n| n * SECOND / 100)), 500);
    }
}
