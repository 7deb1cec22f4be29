//! What the hashing schedulers tell packets apart by, and the hash itself.
//!
//! The hash is the same on every machine: `docs/schedulers.md` defines it.

use crate::{addr::Addr, flow::mix};

/// Addresses and client's port of a packet. IPv4 addresses are mapped.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key {
    pub source: Addr,
    pub destination: Addr,
    /// Host order; 0 where it is not to count.
    pub source_port: u32,
}

const _: () = assert!(size_of::<Key>() == 36);

/// The hash of an address and a number, by the finalizer of MurmurHash3.
#[inline(always)]
#[must_use]
pub const fn hash(address: &Addr, number: u32) -> u64 {
    let [a, b, c, d] = address.0;
    let upper = (a.get() as u64) << 32 | b.get() as u64;
    let lower = (c.get() as u64) << 32 | d.get() as u64;
    // The constant keeps `::` with the number 0 from being 0 on every level.
    mix(mix(mix(number as u64 ^ SEED) ^ upper) ^ lower)
}

/// The golden ratio's digits, as usual.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

impl Key {
    /// Of the client: his address, and his port too where `with_port` says so.
    #[inline(always)]
    #[must_use]
    pub const fn client(&self, with_port: bool) -> u64 {
        hash(&self.source, if with_port { self.source_port } else { 0 })
    }

    /// Of the address that the client wants.
    #[inline(always)]
    #[must_use]
    pub const fn wanted(&self) -> u64 {
        hash(&self.destination, 0)
    }
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use super::*;
    use crate::scheduler::{buckets, maglev};

    fn address(text: &str) -> Addr {
        Addr::from(text.parse::<IpAddr>().unwrap())
    }

    /// The numbers of docs/schedulers.md: other programs may rely on them.
    #[test]
    fn the_hash_is_what_the_documentation_says() {
        for (text, number, expected, bucket, place) in [
            ("198.51.100.7", 0, 0xf268_7d44_e473_3f31, 117, 2135),
            ("198.51.100.7", 40_000, 0x5da1_d8c8_3924_b0b6, 126, 1290),
            ("2001:db8::7", 0, 0x8dd4_8cea_098f_4947, 173, 2952),
        ] {
            let hash = hash(&address(text), number);
            let found = (hash, buckets::index(hash, 0), maglev::index(hash, 4093));
            assert_eq!(
                found,
                (expected, bucket, Some(place)),
                "{text} {number} {hash:#018x}"
            );
        }
    }

    #[test]
    fn the_port_counts_where_it_is_to() {
        let key = Key {
            source: address("198.51.100.7"),
            destination: address("192.0.2.10"),
            source_port: 40_000,
        };
        assert_eq!(key.client(false), hash(&key.source, 0));
        assert_eq!(key.client(true), hash(&key.source, 40_000));
        assert_eq!(key.wanted(), hash(&key.destination, 0));
    }
}
