//! Firewall marks: which destinations belong to a service that is named by a
//! number. The marking is the director's own, not netfilter's.

use crate::{addr::Addr, limits::MARK_RANGES};

/// What `MARKS`, a longest-prefix trie, is looked up by. The prefix length of
/// an entry counts from the first bit of this: [`MarkKey::prefix_length`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MarkKey {
    /// IP protocol number.
    pub protocol: u8,
    pub pad: [u8; 3],
    /// Destination.
    pub address: Addr,
}

impl MarkKey {
    #[inline(always)]
    #[must_use]
    pub const fn new(protocol: u8, address: Addr) -> Self {
        Self {
            protocol,
            pad: [0; 3],
            address,
        }
    }

    /// Bits of the key that count for a destination prefix of `length` bits of
    /// an address of the family's.
    #[must_use]
    pub const fn prefix_length(is_v4: bool, length: u8) -> u32 {
        32 + length as u32 + if is_v4 { 96 } else { 0 }
    }
}

/// Value of `MARKS`: the services of one destination's ports.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkPorts {
    /// How many ranges there are, at most [`MARK_RANGES`].
    pub count: u32,
    /// In rising order, none overlaps another.
    pub ranges: [PortRange; MARK_RANGES],
}

/// Ports, host order, first to last, and the slot of their service.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
    pub service: u32,
}

impl MarkPorts {
    pub const EMPTY: Self = Self {
        count: 0,
        ranges: [PortRange {
            first: 0,
            last: 0,
            service: 0,
        }; MARK_RANGES],
    };

    /// The service slot of a port, host order.
    #[inline(always)]
    #[must_use]
    pub fn service(&self, port: u16) -> Option<u32> {
        // The last range that begins at or before the port, found bit by bit:
        // to the verifier of Linux 6.1 each step's index is a known number.
        let mut index = 0;
        let mut bit = MARK_RANGES as u32 / 2;
        while bit > 0 {
            let later = index | bit;
            if later < self.count && self.range(later).first <= port {
                index = later;
            }
            bit /= 2;
        }
        let range = self.range(index);
        (self.count > 0 && range.first <= port && port <= range.last).then_some(range.service)
    }

    #[inline(always)]
    const fn range(&self, index: u32) -> PortRange {
        self.ranges[index as usize & (MARK_RANGES - 1)]
    }
}

const _: () = assert!(size_of::<MarkKey>() == 20);
const _: () = assert!(size_of::<PortRange>() == 8);
const _: () = assert!(MARK_RANGES.is_power_of_two());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_finds_its_range() {
        for count in 0..=MARK_RANGES as u16 {
            let mut ports = MarkPorts::EMPTY;
            ports.count = u32::from(count);
            for index in 0..count {
                ports.ranges[usize::from(index)] = PortRange {
                    first: 100 * index + 10,
                    last: 100 * index + 20,
                    service: u32::from(index),
                };
            }
            for port in 0..100 * (count + 1) {
                let (range, offset) = (port / 100, port % 100);
                let inside = range < count && (10..=20).contains(&offset);
                let expected = inside.then_some(u32::from(range));
                assert_eq!(ports.service(port), expected, "{port} of {count}");
            }
        }
    }
}
