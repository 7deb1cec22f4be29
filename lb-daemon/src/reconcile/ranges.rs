//! Allocation of slots and of ranges of plan words.

use std::collections::BTreeMap;

/// Slots of an array map, the lowest first. Those of one owner are best side by
/// side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots {
    free: Ranges,
    used: u32,
}

impl Slots {
    /// All slots but those in `used` are free.
    #[must_use]
    pub fn new(capacity: u32, used: &std::collections::HashSet<u32>) -> Self {
        Self {
            free: Ranges::new(capacity, used.iter().map(|slot| (*slot, 1)).collect()),
            used: used.len() as u32,
        }
    }

    pub fn take(&mut self) -> Option<u32> {
        self.take_near(0)
    }

    /// `near`, or the next free one behind it, or else the lowest.
    pub fn take_near(&mut self, near: u32) -> Option<u32> {
        let slot = self.free.take_near(near)?;
        self.used += 1;
        Some(slot)
    }

    /// Where so many free ones lie side by side; 0 if nowhere.
    #[must_use]
    pub fn room_for(&self, number: u32) -> u32 {
        self.free.first_fit(number).map_or(0, |(first, _)| first)
    }

    pub fn give_back(&mut self, slot: u32) {
        self.free.give_back(slot, 1);
        self.used -= 1;
    }

    /// Slots in use.
    #[must_use]
    pub const fn used(&self) -> u32 {
        self.used
    }
}

/// Ranges of an array map: first fit, neighbours joined when given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges {
    /// First word → length of each free range.
    free: BTreeMap<u32, u32>,
}

impl Ranges {
    /// All of `capacity` but the ranges in `used`, which do not overlap.
    #[must_use]
    pub fn new(capacity: u32, mut used: Vec<(u32, u32)>) -> Self {
        used.sort_unstable();
        let mut free = BTreeMap::new();
        let mut first = 0;
        for (start, length) in used {
            if start > first {
                free.insert(first, start - first);
            }
            first = first.max(start + length);
        }
        if first < capacity {
            free.insert(first, capacity - first);
        }
        Self { free }
    }

    pub fn take(&mut self, length: u32) -> Option<u32> {
        if length == 0 {
            return Some(0);
        }
        let (first, free) = self.first_fit(length)?;
        self.free.remove(&first);
        if free > length {
            self.free.insert(first + length, free - length);
        }
        Some(first)
    }

    /// The first free range of at least this length: its start and length.
    fn first_fit(&self, length: u32) -> Option<(u32, u32)> {
        let mut free = self.free.iter().map(|(first, free)| (*first, *free));
        free.find(|(_, free)| *free >= length)
    }

    /// One word: `near`, or the next free one behind it, or else the first.
    fn take_near(&mut self, near: u32) -> Option<u32> {
        let around = self.free.range(..=near).next_back();
        let around = around.filter(|(first, length)| *first + *length > near);
        let behind = || self.free.range(near..).next();
        let is_free = around.is_some();
        let (&first, &length) = around.or_else(behind).or_else(|| self.free.iter().next())?;
        let at = if is_free { near } else { first };
        self.free.remove(&first);
        if at > first {
            self.free.insert(first, at - first);
        }
        if at + 1 < first + length {
            self.free.insert(at + 1, first + length - at - 1);
        }
        Some(at)
    }

    pub fn give_back(&mut self, first: u32, length: u32) {
        if length == 0 {
            return;
        }
        let (mut first, mut length) = (first, length);
        if let Some((&before, &free)) = self.free.range(..first).next_back()
            && before + free == first
        {
            self.free.remove(&before);
            first = before;
            length += free;
        }
        if let Some(free) = self.free.remove(&(first + length)) {
            length += free;
        }
        self.free.insert(first, length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_never_overlap_and_come_back_whole(lengths in prop::collection::vec(0u32..40, 1..60)) {
            let whole = Ranges::new(1000, Vec::new());
            let mut ranges = whole.clone();
            let mut taken: Vec<(u32, u32)> = Vec::new();
            for length in lengths {
                match ranges.take(length) {
                    Some(first) => {
                        for (other, other_length) in &taken {
                            prop_assert!(
                                length == 0 || *other_length == 0
                                    || first + length <= *other || other + other_length <= first
                            );
                        }
                        taken.push((first, length));
                    }
                    None => {
                        for (first, length) in taken.drain(..taken.len() / 2) {
                            ranges.give_back(first, length);
                        }
                    }
                }
            }
            prop_assert_eq!(&Ranges::new(1000, taken.iter().copied().filter(|r| r.1 > 0).collect()), &ranges);
            for (first, length) in taken {
                ranges.give_back(first, length);
            }
            prop_assert_eq!(ranges, whole);
        }
    }

    #[test]
    fn slots_are_used_again() {
        let mut slots = Slots::new(3, &[1].into());
        assert_eq!(
            [slots.take(), slots.take(), slots.take()],
            [Some(0), Some(2), None]
        );
        slots.give_back(1);
        assert_eq!(slots.used(), 2);
        assert_eq!(slots.take(), Some(1));
    }

    #[test]
    fn slots_lie_side_by_side_where_they_can() {
        let mut slots = Slots::new(10, &[1, 4].into());
        assert_eq!(
            [slots.room_for(2), slots.room_for(3), slots.room_for(9)],
            [2, 5, 0]
        );
        assert_eq!([slots.take_near(5), slots.take_near(6)], [Some(5), Some(6)]);
        // 1 is taken: the next one. None behind 9: the lowest.
        assert_eq!(slots.take_near(1), Some(2));
        assert_eq!([slots.take_near(9), slots.take_near(9)], [Some(9), Some(0)]);
        assert_eq!(slots.used(), 7);
        // From the beginning of what is left, and on.
        let mut slots = Slots::new(100, &(40..98).collect());
        let taken = [98, 99, 100, 1, 2].map(|near| slots.take_near(near));
        assert_eq!(taken, [98, 99, 0, 1, 2].map(Some));
    }
}
