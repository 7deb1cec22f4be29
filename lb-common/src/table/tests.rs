use std::collections::HashSet;

use super::*;
use crate::{
    addr::{Addr, Be16, Be32},
    flow::{Endpoint, FlowKeyV4, FlowKeyV6, mix},
};

/// A bucket with these tags, and the control word full of noise.
fn tags(tags: [u8; SLOTS]) -> Tags {
    let mut octets = [0xff; 16];
    octets[..SLOTS].copy_from_slice(&tags);
    let [low, high] = [0, 8].map(|at| u64::from_le_bytes(octets[at..at + 8].try_into().unwrap()));
    Tags { low, high }
}

#[test]
fn every_slot_is_found_by_its_tag() {
    for slot in 0..SLOTS {
        for tag in 2..=255 {
            let mut bucket = [0; SLOTS];
            bucket[slot] = tag;
            let slots = tags(bucket).slots(tag);
            assert_eq!(slots.first() as usize, slot);
            assert!(slots.without_first().is_empty(), "a free slot: {slots:?}");
            let free = tags(bucket).slots(0);
            assert_ne!(free.first() as usize, slot);
        }
    }
    assert!(tags([7; SLOTS]).slots(0).is_empty());
    assert!(tags([7; SLOTS]).slots(9).is_empty());
}

/// Whatever else is in the bucket: all that have the tag, and the first of them
/// first.
#[test]
fn no_slot_with_the_tag_is_missed() {
    for number in 0..100_000 {
        // Few tags, and neighbours, whose difference is 1.
        let random = mix(number);
        let wanted = random as u8 & 3;
        let mut shift = 0;
        let bucket = [(); SLOTS].map(|()| {
            shift += 2;
            (random >> shift) as u8 & 3
        });
        let mut slots = tags(bucket).slots(wanted);
        let mut found = HashSet::new();
        if !slots.is_empty() {
            assert_eq!(bucket[slots.first() as usize], wanted, "{bucket:?}");
        }
        while !slots.is_empty() {
            assert!((slots.first() as usize) < SLOTS);
            found.insert(slots.first() as usize);
            slots = slots.without_first();
        }
        for (slot, tag) in bucket.into_iter().enumerate() {
            assert!(tag != wanted || found.contains(&slot), "{bucket:?}");
        }
    }
}

#[test]
fn the_control_word_is_no_tag() {
    let bucket = Tags {
        low: u64::MAX,
        high: 0x0000_0000_ffff_ffff,
    };
    assert!(bucket.slots(0).is_empty());
    assert!(!bucket.leads_on());
    let locked = u64::from(control::LOCKED) << 32;
    assert!(
        !Tags {
            high: locked,
            ..bucket
        }
        .leads_on()
    );
    assert!(
        Tags {
            high: locked | 1 << 32,
            ..bucket
        }
        .leads_on()
    );
}

fn v4(client: u32, port: u16) -> FlowKeyV4 {
    let end = |address, port| Endpoint {
        address: Addr::from_v4(Be32::new(address)),
        port: Be16::new(port),
    };
    FlowKey::new(end(client, port), end(0xc000_020a, 80), 6)
}

fn v6(client: u32, port: u16) -> FlowKeyV6 {
    let end = |address, port| Endpoint {
        address: Addr([0x2001_0db8, 0, 0, address].map(Be32::new)),
        port: Be16::new(port),
    };
    FlowKey::new(end(client, port), end(10, 80), 6)
}

/// Clients side by side, and one client's ports: a full table puts few of them
/// into other buckets, and all in.
#[test]
fn keys_are_spread() {
    const CONNECTIONS: u32 = 1 << 16;
    let shape = Shape::new(0x1234_5678_9abc_def1, CONNECTIONS, 2);
    let spread = |what: &str, hash: &dyn Fn(u32) -> Hash| {
        let mut used = vec![0; shape.buckets() as usize];
        let mut elsewhere = 0;
        for number in 0..CONNECTIONS {
            let hash = hash(number);
            let choice = (0..CHOICES)
                .find(|choice| used[hash.bucket(&shape, *choice) as usize] < SLOTS)
                .unwrap_or_else(|| panic!("{what}: no room for {number}"));
            used[hash.bucket(&shape, choice) as usize] += 1;
            elsewhere += u32::from(choice > 1);
        }
        let share = f64::from(elsewhere) / f64::from(CONNECTIONS);
        assert!(share < 0.04, "{what}: {share} are in other buckets");
    };
    spread("clients", &|n| {
        Hash::of(&v4(0x6440_0000 + n, 40_000), &shape)
    });
    spread("ports", &|n| {
        Hash::of(
            &v4(0x6440_0000 + n / 50_000, 1024 + (n % 50_000) as u16),
            &shape,
        )
    });
    spread("far apart", &|n| Hash::of(&v4(n << 16 | 7, 443), &shape));
    spread("clients of IPv6", &|n| Hash::of(&v6(n, 40_000), &shape));
    spread("ports of IPv6", &|n| {
        Hash::of(&v6(n / 50_000, 1024 + (n % 50_000) as u16), &shape)
    });
}

/// However many a table has room for, the index of few connections is small.
#[test]
fn few_keys_stay_in_front() {
    const CONNECTIONS: u32 = 1 << 16;
    for room in [1 << 20, 1 << 23] {
        let shape = Shape::new(0x1234_5678_9abc_def1, room, 2);
        let mut used = vec![0; shape.front_mask as usize + 1];
        let behind = (0..CONNECTIONS)
            .filter(|n| {
                let slots = &mut used[Hash::of(&v4(*n, 40_000), &shape).front(&shape) as usize];
                *slots += 1;
                *slots > SLOTS
            })
            .count();
        assert!(
            behind < 64,
            "{behind} of {CONNECTIONS} in a table for {room}"
        );
    }
}

/// The choices of a key: one bucket in front, and different ones behind.
#[test]
fn choices_are_apart() {
    for room in [1, 64, 1 << 16] {
        let shape = Shape::new(99, room, 2);
        let all = shape.buckets();
        assert_eq!(all, buckets(room));
        for n in 0..1000 {
            let hash = Hash::of(&v4(n, 9), &shape);
            assert_eq!(hash.bucket(&shape, 0), hash.front(&shape));
            assert_eq!(hash.bucket(&shape, 1), hash.home(&shape));
            assert!(hash.front(&shape) <= shape.front_mask);
            let behind: HashSet<_> = (1..CHOICES)
                .map(|choice| hash.bucket(&shape, choice))
                .collect();
            assert!(
                behind
                    .iter()
                    .all(|bucket| (shape.front_mask + 1..all).contains(bucket))
            );
            assert_eq!(behind.len() as u32, (CHOICES - 1).min(shape.mask + 1));
        }
    }
}

/// Two seeds have nothing to do with each other.
#[test]
fn another_seed_is_another_hash() {
    let [a, b] = [1, 2].map(|seed| Shape::new(seed, 1 << 20, 2));
    let same = (0..10_000)
        .filter(|n| {
            Hash::of(&v4(*n, 9), &a).bucket(&a, 0) == Hash::of(&v4(*n, 9), &b).bucket(&b, 0)
        })
        .count();
    assert!(same < 10, "{same}");
}

#[test]
fn a_stack_of_places() {
    assert_eq!(top(0), None);
    let one = with_top(0, 8);
    assert_eq!(top(one), Some(7));
    let none = with_top(one, 0);
    assert_eq!((top(none), none >> 32), (None, 2));
}
