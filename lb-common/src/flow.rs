//! The keys of the connection tables: a packet's 5-tuple as it stands on the
//! wire, whichever way it goes. One look-up finds the client's half (client
//! to VIP) and, under nat, the real's half (real to client).

use crate::addr::{Addr, Be16, Be32};

/// Key of `CONNECTIONS_V4`, 16 bytes, no implicit padding.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKeyV4 {
    pub source: Be32,
    pub destination: Be32,
    pub source_port: Be16,
    pub destination_port: Be16,
    /// IP protocol number.
    pub protocol: u8,
    pub pad: [u8; 3],
}

/// Key of `CONNECTIONS_V6`, 40 bytes, no implicit padding.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKeyV6 {
    pub source: Addr,
    pub destination: Addr,
    pub source_port: Be16,
    pub destination_port: Be16,
    /// IP protocol number.
    pub protocol: u8,
    pub pad: [u8; 3],
}

/// What the two keys have in common.
pub trait FlowKey: Copy + Default + Eq {
    /// Addresses of another family than the key's are cut short.
    fn new(source: Endpoint, destination: Endpoint, protocol: u8) -> Self;
    fn source(&self) -> Endpoint;
    fn destination(&self) -> Endpoint;
    fn protocol(&self) -> u8;

    /// The key of what comes the other way.
    #[inline(always)]
    #[must_use]
    fn reversed(&self) -> Self {
        Self::new(self.destination(), self.source(), self.protocol())
    }

    /// A number by which an entry knows its key, and by which flows are
    /// spread: every bit of the key is in it.
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

/// An address with a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    pub address: Addr,
    pub port: Be16,
}

impl FlowKey for FlowKeyV4 {
    #[inline(always)]
    fn new(source: Endpoint, destination: Endpoint, protocol: u8) -> Self {
        Self {
            source: source.address.v4(),
            destination: destination.address.v4(),
            source_port: source.port,
            destination_port: destination.port,
            protocol,
            pad: [0; 3],
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
        self.protocol
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
            protocol,
            pad: [0; 3],
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
        self.protocol
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
