//! Addresses under a prefix.

use crate::addr::{Addr, Be32};

/// The word with its first `length` bits, and `bits` in the others.
#[inline(always)]
#[must_use]
pub const fn fill(word: Be32, length: u8, bits: u32) -> Be32 {
    if length >= 32 {
        return word;
    }
    let host = u32::MAX >> (length & 31);
    Be32::new(word.get() & !host | bits & host)
}

/// The network that an address lies in: its first `length` bits, of a family
/// with 32 or with 128.
#[inline(always)]
#[must_use]
pub const fn network(address: Addr, length: u8, is_v4: bool) -> Addr {
    let [a, b, c, d] = address.0;
    if is_v4 {
        return Addr([a, b, c, fill(d, length, 0)]);
    }
    Addr([
        fill(a, length, 0),
        fill(b, length.saturating_sub(32), 0),
        fill(c, length.saturating_sub(64), 0),
        fill(d, length.saturating_sub(96), 0),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_stays_and_the_rest_is_filled() {
        let word = Be32::new(0x6440_0000);
        assert_eq!(fill(word, 16, 0xffff_1234), Be32::new(0x6440_1234));
        assert_eq!(fill(word, 0, 0xffff_1234), Be32::new(0xffff_1234));
        assert_eq!(fill(word, 32, 0xffff_1234), word);
        assert_eq!(fill(word, 31, 1), Be32::new(0x6440_0001));
    }

    #[test]
    fn a_network_keeps_its_first_bits() {
        use core::net::IpAddr;
        let network = |text: &str, length| {
            let address: IpAddr = text.parse().unwrap();
            IpAddr::from(network(address.into(), length, address.is_ipv4())).to_string()
        };
        assert_eq!(network("198.51.100.77", 24), "198.51.100.0");
        assert_eq!(network("198.51.100.77", 32), "198.51.100.77");
        assert_eq!(network("198.51.100.77", 0), "0.0.0.0");
        assert_eq!(network("2001:db8:1:2:3:4:5:6", 64), "2001:db8:1:2::");
        assert_eq!(network("2001:db8:1:2:3:4:5:6", 128), "2001:db8:1:2:3:4:5:6");
        assert_eq!(network("2001:db8:1:2:3:4:5:6", 33), "2001:db8::");
    }
}
