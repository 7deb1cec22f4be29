//! The connection table: entries in the order in which they were taken, and an
//! index of buckets of one cache line that leads to them.
//!
//! The kernel's own hash maps cost a flow among many two cache misses and two
//! walks of the page tables that nothing overlaps: the bucket's, and the
//! element's. Here the index is half as large, one look at a bucket finds
//! the slot without a branch that could be guessed wrong, and entries that are
//! in use lie close together (docs/decisions/0012-a-connection-table-of-our-own.md).
//!
//! A few of the buckets are in front: each key is put there while there is room, so
//! that the index of few connections is as small as they are, and stays in a CPU's
//! own cache however many the table has room for.
//!
//! Who looks up takes no lock. Who inserts or removes a key holds the lock of the
//! key's bucket in front, so that a key has one entry at most; entries never
//! move while they are in the table.

use crate::{connection::Connection, flow::FlowKey};

/// Slots of a bucket.
pub const SLOTS: usize = 12;

/// Connections for each bucket of a table that is full, at least half of it and at
/// most: four slots of twelve are left, so that few connections need another
/// bucket than their first.
pub const CONNECTIONS_PER_BUCKET: u32 = 8;

/// Buckets that are looked through for a free slot: one of the front ones, the
/// key's home among the others, and more of these that follow from its hash.
pub const CHOICES: u32 = 9;

/// Buckets in front, at most: one megabyte, which the second-level cache of a CPU
/// of today holds.
pub const FRONT_BUCKETS: u32 = 1 << 14;

/// Value of `INDEX_V4` and `INDEX_V6`, 64 bytes.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Places in `CONNECTIONS_V4` or `CONNECTIONS_V6`; of a free slot, anything.
    pub places: [u32; SLOTS],
    /// An octet for each slot, the first in the low octet of the first word: 0, or
    /// the tag of the key whose place this is. Octets 12 to 15 are `control`.
    pub tags: [u32; 3],
    /// [`control`].
    pub control: u32,
}

/// [`Bucket::control`].
pub mod control {
    /// In front: somebody inserts or removes a key that is looked for here first.
    /// Behind: somebody fills a slot.
    pub const LOCKED: u32 = 1 << 31;
    /// The number of keys that were looked for here and are in a later choice.
    pub const ELSEWHERE: u32 = LOCKED - 1;
}

/// Value of `CONNECTIONS_V4` and `CONNECTIONS_V6`, 128 bytes. One that is not in
/// use has the state [`crate::connection::mark::FREE`], or has never been in use.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry<K> {
    pub key: K,
    pub connection: Connection,
}

/// Value of `TABLE`, an array of one entry: what holds for both families' tables
/// as long as they exist.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Random, so that nobody can choose addresses that share a bucket.
    pub seed: u64,
    /// Buckets in front, a power of two, minus one. They come first in the index.
    pub front_mask: u32,
    /// Buckets behind them, a power of two, minus one.
    pub mask: u32,
    /// Stacks of free places that CPUs take from, 1 to [`FREE_STACKS`].
    pub stacks: u32,
    pub pad: u32,
}

impl Shape {
    /// For so many connections, on so many CPUs.
    #[must_use]
    pub const fn new(seed: u64, connections: u32, cpus: u32) -> Self {
        let stacks = match cpus {
            0 => 1,
            1..FREE_STACKS => cpus,
            _ => FREE_STACKS,
        };
        let behind = buckets_behind(connections);
        Self {
            seed,
            front_mask: buckets_in_front(behind) - 1,
            mask: behind - 1,
            stacks,
            pad: 0,
        }
    }

    /// All buckets.
    #[must_use]
    pub const fn buckets(&self) -> u32 {
        self.front_mask + 1 + self.mask + 1
    }
}

/// Buckets of a table for so many connections.
#[must_use]
pub const fn buckets(connections: u32) -> u32 {
    let behind = buckets_behind(connections);
    buckets_in_front(behind) + behind
}

const fn buckets_behind(connections: u32) -> u32 {
    let buckets = connections.div_ceil(CONNECTIONS_PER_BUCKET);
    // Beyond this there are more connections than memory.
    if buckets > 1 << 28 {
        1 << 28
    } else {
        buckets.next_power_of_two()
    }
}

/// Few beside those behind, so that they cost little memory.
const fn buckets_in_front(behind: u32) -> u32 {
    match behind / 8 {
        0 => 1,
        eighth @ 1..FRONT_BUCKETS => eighth,
        _ => FRONT_BUCKETS,
    }
}

/// Where a key's entry is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash(u64);

impl Hash {
    #[inline(always)]
    #[must_use]
    pub fn of<K: FlowKey>(key: &K, shape: &Shape) -> Self {
        Self(key.hash(shape.seed))
    }

    /// The bucket in front, the first choice.
    #[inline(always)]
    #[must_use]
    pub const fn front(self, shape: &Shape) -> u32 {
        (self.0 >> 32) as u32 & shape.front_mask
    }

    /// The first bucket behind, the second choice.
    #[inline(always)]
    #[must_use]
    pub const fn home(self, shape: &Shape) -> u32 {
        (shape.front_mask + 1).wrapping_add((self.0 >> 32) as u32 & shape.mask)
    }

    /// The bucket of a choice, 0 being the first.
    #[inline(always)]
    #[must_use]
    pub const fn bucket(self, shape: &Shape, choice: u32) -> u32 {
        if choice == 0 {
            return self.front(shape);
        }
        // An odd step meets as many buckets as there are choices.
        let step = (self.0 >> 8) as u32 | 1;
        let behind = ((self.0 >> 32) as u32).wrapping_add((choice - 1).wrapping_mul(step));
        (shape.front_mask + 1).wrapping_add(behind & shape.mask)
    }

    /// 2 to 255: no tag is a free slot's but for the lowest bit, which
    /// [`Tags::slots`] may take for the same.
    #[inline(always)]
    #[must_use]
    pub const fn tag(self) -> u8 {
        ((((self.0 & 0xff) * 254) >> 8) + 2) as u8
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
/// Those of the four tags in the second word.
const HIGH_BITS_OF_FOUR: u64 = 0x8080_8080;

/// The last sixteen octets of a bucket as two words: eight tags, and four tags
/// with `control` in the upper half.
#[derive(Clone, Copy, Debug)]
pub struct Tags {
    pub low: u64,
    pub high: u64,
}

impl Tags {
    /// Slots that may have this tag; the first has it, and none of the others is
    /// free. 0: the first one is free, and so may be others.
    #[inline(always)]
    #[must_use]
    pub const fn slots(self, tag: u8) -> Slots {
        let wanted = ONES * tag as u64;
        let low = zero_octets(self.low ^ wanted) & HIGH_BITS;
        let high = zero_octets(self.high ^ wanted) & HIGH_BITS_OF_FOUR;
        Slots(low >> 7 | high >> 6)
    }

    /// Whether keys that are looked for here may be in a later choice.
    #[inline(always)]
    #[must_use]
    pub const fn leads_on(self) -> bool {
        (self.high >> 32) as u32 & control::ELSEWHERE != 0
    }
}

/// The high bit of each octet that is 0, and perhaps that of some above one.
#[inline(always)]
const fn zero_octets(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word
}

/// Some slots of a bucket: bit 8n is slot n, bit 8n + 1 slot n + 8.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slots(u64);

impl Slots {
    pub const NONE: Self = Self(0);

    #[inline(always)]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The first, of some; below 16 for the verifier, below [`SLOTS`] in truth.
    ///
    /// Without a branch: which slot it is cannot be guessed, and a wrong guess
    /// would wait for the cache miss that this is there to overlap.
    #[inline(always)]
    #[must_use]
    pub const fn first(self) -> u32 {
        const EIGHTS: u64 = 8 * ONES;
        // Octet 7 - n is n: shifted left by 8n, the highest octet is n.
        const NUMBERS: u64 = 0x0001_0203_0405_0607;
        let bit = self.0 & self.0.wrapping_neg();
        let upper = bit >> 1 & ONES;
        let octet = (bit | bit >> 1) & ONES;
        let number = octet.wrapping_mul(NUMBERS) >> 56;
        let half = upper.wrapping_mul(EIGHTS) >> 56;
        (number + half) as u32 & 15
    }

    #[inline(always)]
    #[must_use]
    pub const fn without_first(self) -> Self {
        Self(self.0 & self.0.wrapping_sub(1))
    }
}

/// A look through the buckets of a key: for a slot that has it, or for room. In
/// the programs' scratch ([`crate::abi::Scratch`]), where stacks are too small.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Of the bucket, those that have the key's tag and are still to be looked at.
    pub slots: Slots,
    /// Buckets that have been begun, of so many; 1: only the one in front. What is
    /// found is in the last of them.
    pub begun: u32,
    pub buckets: u32,
    /// What was found: 1 and a place, or 0. Looking for room, 1: the bucket is
    /// locked.
    pub is_found: u32,
    pub place: u32,
    /// Number of the bucket, and slot in it.
    pub bucket: u32,
    pub slot: u32,
    /// Number of the stack that the place is taken from or given to.
    pub stack: u32,
    /// Numbers of the key's buckets in front and at home, and the key's tag.
    pub front: u32,
    pub home: u32,
    pub tag: u32,
}

impl Search {
    pub const NEW: Self = Self {
        slots: Slots::NONE,
        begun: 0,
        buckets: CHOICES,
        is_found: 0,
        place: 0,
        bucket: 0,
        slot: 0,
        stack: 0,
        front: 0,
        home: 0,
        tag: 0,
    };
}

/// A stack of places, as one word that is compared and swapped: the place on top
/// plus one, 0 being none, and above it a number that no two changes share. Value
/// of `FREE_V4` and `FREE_V6`, a cache line each, by CPU.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FreePlaces {
    pub top: u64,
    pub pad: [u64; 7],
}

/// Stacks of free places of a table: CPUs share them where there are more.
pub const FREE_STACKS: u32 = 16;

/// The place on top of a stack.
#[inline(always)]
#[must_use]
pub const fn top(stack: u64) -> Option<u32> {
    (stack as u32).checked_sub(1)
}

/// The stack with another link on top: a place plus one, or 0.
#[inline(always)]
#[must_use]
pub const fn with_top(stack: u64, link: u32) -> u64 {
    ((stack >> 32) + 1) << 32 | link as u64
}

const _: () = {
    use crate::flow::{FlowKeyV4, FlowKeyV6};
    use core::mem::{offset_of, size_of};
    assert!(size_of::<Bucket>() == 64);
    assert!(offset_of!(Bucket, tags) == 48);
    assert!(size_of::<Entry<FlowKeyV4>>() == 128);
    assert!(size_of::<Entry<FlowKeyV6>>() == 128);
    assert!(size_of::<Search>() == 48);
    assert!(size_of::<Shape>() == 24);
    assert!(size_of::<FreePlaces>() == 64);
};

#[cfg(test)]
mod tests;
