//! The keys of the connection tables: a packet's 5-tuple as it stands on the
//! wire, whichever way it goes. One look-up finds the client's half (client
//! to VIP) and, under nat, the real's half (real to client).

use crate::addr::{Addr, Be16, Be32};

/// Key of an entry in `CONNECTIONS_V4`, 16 bytes, no implicit padding.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKeyV4 {
    pub source: Be32,
    pub destination: Be32,
    pub source_port: Be16,
    pub destination_port: Be16,
    /// IP protocol number. A whole word: odd octets of a stack cannot be written
    /// together.
    pub protocol: u32,
}

/// Key of an entry in `CONNECTIONS_V6`, 40 bytes, no implicit padding.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKeyV6 {
    pub source: Addr,
    pub destination: Addr,
    pub source_port: Be16,
    pub destination_port: Be16,
    /// IP protocol number. A whole word: odd octets of a stack cannot be written
    /// together.
    pub protocol: u32,
}

/// What the two keys have in common.
pub trait FlowKey: Copy + Default + Eq {
    /// Addresses of another family than the key's are cut short.
    fn new(source: Endpoint, destination: Endpoint, protocol: u8) -> Self;
    fn source(&self) -> Endpoint;
    fn destination(&self) -> Endpoint;
    fn protocol(&self) -> u8;
    /// Where [`crate::table`] looks for it. Whoever does not know the seed cannot
    /// choose keys that meet.
    fn hash(&self, seed: u64) -> u64;
    /// Whether it is another one, without a branch for each part.
    fn is(&self, other: &Self) -> bool;

    /// The key of what comes the other way.
    #[inline(always)]
    #[must_use]
    fn reversed(&self) -> Self {
        Self::new(self.destination(), self.source(), self.protocol())
    }

    /// A number by which flows are spread: every bit of the key is in it.
    #[inline(always)]
    #[must_use]
    fn tag(&self) -> u64 {
        let (source, destination) = (self.source(), self.destination());
        let ports = u64::from(source.port.raw()) << 16 | u64::from(destination.port.raw());
        let mut tag = mix(u64::from(self.protocol()) << 32 | ports);
        for address in [source.address, destination.address] {
            let [a, b, c, d] = address.0.map(|word| u64::from(word.raw()));
            tag = mix(tag ^ (a << 32 | b));
            tag = mix(tag ^ (c << 32 | d));
        }
        tag
    }
}

/// The finalizer of MurmurHash3 (public domain): a bijection, so that two keys
/// that differ in one place never meet.
#[inline(always)]
pub(crate) const fn mix(mut word: u64) -> u64 {
    word ^= word >> 33;
    word = word.wrapping_mul(0xff51_afd7_ed55_8ccd);
    word ^= word >> 33;
    word = word.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ word >> 33
}

/// A word of a key on top of those before: for [`FlowKey::hash`], which has no
/// time for [`mix`].
#[inline(always)]
const fn stir(hash: u64, word: u64) -> u64 {
    let hash = (hash ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ hash >> 32
}

/// Addresses and ports as the words of a hash.
#[inline(always)]
const fn words(a: Be32, b: Be32) -> u64 {
    (a.raw() as u64) << 32 | b.raw() as u64
}

#[inline(always)]
const fn port_words(source: Be16, destination: Be16, protocol: u32) -> u64 {
    (protocol as u64) << 32 | (source.raw() as u64) << 16 | destination.raw() as u64
}

/// An address with a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    pub address: Addr,
    pub port: Be16,
}

impl FlowKeyV4 {
    #[inline(always)]
    const fn as_words(&self) -> &[u64; 2] {
        // SAFETY: as large and as aligned, and without padding.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }
}

impl FlowKey for FlowKeyV4 {
    #[inline(always)]
    fn new(source: Endpoint, destination: Endpoint, protocol: u8) -> Self {
        Self {
            source: source.address.v4(),
            destination: destination.address.v4(),
            source_port: source.port,
            destination_port: destination.port,
            protocol: u32::from(protocol),
        }
    }

    #[inline(always)]
    fn source(&self) -> Endpoint {
        Endpoint {
            address: Addr::from_v4(self.source),
            port: self.source_port,
        }
    }

    #[inline(always)]
    fn destination(&self) -> Endpoint {
        Endpoint {
            address: Addr::from_v4(self.destination),
            port: self.destination_port,
        }
    }

    #[inline(always)]
    fn protocol(&self) -> u8 {
        self.protocol as u8
    }

    #[inline(always)]
    fn is(&self, other: &Self) -> bool {
        let ([a, b], [c, d]) = (self.as_words(), other.as_words());
        (a ^ c) | (b ^ d) == 0
    }

    #[inline(always)]
    fn hash(&self, seed: u64) -> u64 {
        let ports = port_words(self.source_port, self.destination_port, self.protocol);
        let hash = stir(seed, words(self.source, self.destination));
        stir(stir(hash, ports), seed)
    }
}

impl FlowKeyV6 {
    #[inline(always)]
    const fn as_words(&self) -> &[u64; 5] {
        // SAFETY: as large and as aligned, and without padding.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }
}

impl FlowKey for FlowKeyV6 {
    #[inline(always)]
    fn new(source: Endpoint, destination: Endpoint, protocol: u8) -> Self {
        Self {
            source: source.address,
            destination: destination.address,
            source_port: source.port,
            destination_port: destination.port,
            protocol: u32::from(protocol),
        }
    }

    #[inline(always)]
    fn source(&self) -> Endpoint {
        Endpoint {
            address: self.source,
            port: self.source_port,
        }
    }

    #[inline(always)]
    fn destination(&self) -> Endpoint {
        Endpoint {
            address: self.destination,
            port: self.destination_port,
        }
    }

    #[inline(always)]
    fn protocol(&self) -> u8 {
        self.protocol as u8
    }

    #[inline(always)]
    fn is(&self, other: &Self) -> bool {
        let ([a, b, c, d, e], [f, g, h, i, j]) = (self.as_words(), other.as_words());
        (a ^ f) | (b ^ g) | (c ^ h) | (d ^ i) | (e ^ j) == 0
    }

    #[inline(always)]
    fn hash(&self, seed: u64) -> u64 {
        let ([a, b, c, d], [e, f, g, h]) = (self.source.0, self.destination.0);
        let ports = port_words(self.source_port, self.destination_port, self.protocol);
        let mut hash = stir(seed, words(a, b));
        for word in [words(c, d), words(e, f), words(g, h), ports, seed] {
            hash = stir(hash, word);
        }
        hash
    }
}

const _: () = assert!(size_of::<FlowKeyV4>() == 16);
const _: () = assert!(size_of::<FlowKeyV6>() == 40);

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;

    fn endpoint(address: &str, port: u16) -> Endpoint {
        Endpoint {
            address: address.parse::<IpAddr>().unwrap().into(),
            port: Be16::new(port),
        }
    }

    #[test]
    fn the_other_way_round_twice_is_the_same() {
        let v4 = FlowKeyV4::new(endpoint("192.0.2.1", 1), endpoint("192.0.2.2", 2), 6);
        let v6 = FlowKeyV6::new(endpoint("2001:db8::1", 1), endpoint("2001:db8::2", 2), 6);
        assert_eq!(v4.reversed().reversed(), v4);
        assert_eq!(v6.reversed().reversed(), v6);
        assert_eq!(v4.reversed().source(), endpoint("192.0.2.2", 2));
        assert_ne!(v6.reversed(), v6);
    }

    #[test]
    fn every_part_of_the_key_is_in_the_tag() {
        let (a, b) = (endpoint("2001:db8::1", 1), endpoint("2001:db8::2", 2));
        let tag = FlowKeyV6::new(a, b, 6).tag();
        for other in [
            FlowKeyV6::new(b, a, 6),
            FlowKeyV6::new(a, b, 17),
            FlowKeyV6::new(endpoint("2001:db8::1", 2), b, 6),
            FlowKeyV6::new(a, endpoint("2001:db8::2", 3), 6),
            FlowKeyV6::new(endpoint("2001:db9::1", 1), b, 6),
            FlowKeyV6::new(a, endpoint("2001:db8:0:1::2", 2), 6),
        ] {
            assert_ne!(other.tag(), tag, "{other:?}");
        }
    }
}
