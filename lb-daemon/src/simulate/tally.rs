//! How many connections there are at once: the peak, and the mean over time.

#[derive(Clone, Debug, Default)]
pub(super) struct Level {
    now: u32,
    peak: u32,
    /// Connections · ns.
    area: u128,
    since_ns: u64,
}

impl Level {
    pub(super) fn rise(&mut self, now_ns: u64) {
        self.pass(now_ns);
        self.now += 1;
        self.peak = self.peak.max(self.now);
    }

    pub(super) fn fall(&mut self, now_ns: u64) {
        self.pass(now_ns);
        self.now -= 1;
    }

    pub(super) const fn peak(&self) -> u32 {
        self.peak
    }

    /// From the beginning until now.
    pub(super) fn mean(&mut self, now_ns: u64) -> f64 {
        self.pass(now_ns);
        self.area as f64 / now_ns.max(1) as f64
    }

    fn pass(&mut self, now_ns: u64) {
        self.area += u128::from(self.now) * u128::from(now_ns - self.since_ns);
        self.since_ns = now_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_over_time() {
        let mut level = Level::default();
        level.rise(0);
        level.rise(50);
        level.fall(75);
        assert_eq!((level.peak(), level.mean(100)), (2, 1.25));
    }
}
