//! What is to end in a while, by the second in which it is over.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// A second's keys are given out together.
const SLOT: Duration = Duration::from_secs(1);
/// Nothing is due later than this: in seconds, and more than any walk is from
/// the next.
const SLOTS: usize = 64;

/// Keys, each in the slot of the second in which its time is over.
pub(super) struct Due<K> {
    /// When the first slot ends.
    first: Instant,
    slots: VecDeque<Vec<K>>,
}

impl<K: Copy + Ord> Due<K> {
    pub fn new(now: Instant) -> Self {
        Self {
            first: now + SLOT,
            slots: VecDeque::new(),
        }
    }

    /// Something is over then, or later than [`SLOTS`]: then it is looked at too
    /// early, which does no harm.
    pub fn put(&mut self, key: K, at: Instant) {
        let rest = at.saturating_duration_since(self.first);
        let slot = (rest.as_millis().div_ceil(SLOT.as_millis()) as usize).min(SLOTS - 1);
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, Vec::new);
        }
        self.slots[slot].push(key);
    }

    /// What is over by now, each key once in its second.
    pub fn take(&mut self, now: Instant) -> Vec<K> {
        let mut keys = Vec::new();
        while self.first <= now {
            self.first += SLOT;
            let mut slot = self.slots.pop_front().unwrap_or_default();
            slot.sort_unstable();
            slot.dedup();
            if keys.is_empty() {
                keys = slot;
            } else {
                keys.append(&mut slot);
            }
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_comes_when_it_is_over_and_once() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut due = Due::new(start);
        for (key, ms) in [
            (1, 0),
            (3, 1001),
            (2, 900),
            (2, 950),
            (4, 26_500),
            (5, 900_000),
        ] {
            due.put(key, at(ms));
        }
        assert_eq!(due.take(at(999)), [0; 0]);
        assert_eq!(due.take(at(1000)), [1, 2]);
        assert_eq!(due.take(at(1999)), [0; 0]);
        due.put(6, at(500));
        assert_eq!(due.take(at(3000)), [3, 6]);
        assert_eq!(due.take(at(26_999)), [0; 0]);
        assert_eq!(due.take(at(27_000)), [4]);
        assert_eq!(due.take(at(200_000)), [5]);
    }

    /// Nobody looked for long: nothing is lost.
    #[test]
    fn what_is_late_comes_all_the_same() {
        let start = Instant::now();
        let mut due = Due::new(start);
        for key in 0..10 {
            due.put(key, start + Duration::from_secs(key));
        }
        let mut keys = due.take(start + Duration::from_secs(3600));
        keys.sort_unstable();
        assert_eq!(keys, (0..10).collect::<Vec<_>>());
        due.put(11, start);
        assert_eq!(due.take(start + Duration::from_secs(3601)), [11]);
    }
}
