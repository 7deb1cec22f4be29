//! Allocation of slots and of ranges of plan words.

use std::collections::BTreeMap;

/// Slots of an array map: the lowest never used one, or one given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots {
    capacity: u32,
    unused: u32,
    free: Vec<u32>,
}

impl Slots {
    /// All slots but those in `used` are free.
    #[must_use]
    pub fn new(capacity: u32, used: &std::collections::HashSet<u32>) -> Self {
        let unused = used.iter().max().map_or(0, |highest| highest + 1);
        let free = (0..unused)
            .rev()
            .filter(|slot| !used.contains(slot))
            .collect();
        Self {
            capacity,
            unused,
            free,
        }
    }

    pub fn take(&mut self) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            return Some(slot);
        }
        (self.unused < self.capacity).then(|| {
            self.unused += 1;
            self.unused - 1
        })
    }

    pub fn give_back(&mut self, slot: u32) {
        debug_assert!(slot < self.unused && !self.free.contains(&slot));
        self.free.push(slot);
    }

    /// Slots in use.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.unused - self.free.len() as u32
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
        let (&first, &free) = self.free.iter().find(|(_, free)| **free >= length)?;
        self.free.remove(&first);
        if free > length {
            self.free.insert(first + length, free - length);
        }
        Some(first)
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
}
