//! IPv4 (RFC 791).

use crate::{
    addr::{Be16, Be32},
    checksum,
};

/// The header without options, 20 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug)]
pub struct Ipv4 {
    pub version_ihl: u8,
    pub tos: u8,
    pub total_length: Be16,
    pub identification: Be16,
    /// Flags (3 bits) and fragment offset (13 bits).
    pub fragment: Be16,
    pub ttl: u8,
    pub protocol: u8,
    pub checksum: u16,
    pub source: Be32,
    pub destination: Be32,
}

/// Length of a header without options.
pub const HEADER_BYTES: u16 = 20;
/// "Don't fragment" in [`Ipv4::fragment`], host order.
pub const DF: u16 = 0x4000;
/// "More fragments" and the offset: non-zero in every fragment, host order.
pub const FRAGMENT_MASK: u16 = 0x3fff;
/// The offset alone, host order: zero in a first fragment.
pub const OFFSET_MASK: u16 = 0x1fff;

impl Ipv4 {
    /// Header length, bytes; below 20 is malformed.
    #[inline(always)]
    #[must_use]
    pub const fn header_bytes(&self) -> u16 {
        (self.version_ihl & 0x0f) as u16 * 4
    }

    #[inline(always)]
    #[must_use]
    pub const fn is_version_4(&self) -> bool {
        self.version_ihl >> 4 == 4
    }

    #[inline(always)]
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        self.fragment.get() & FRAGMENT_MASK != 0
    }

    /// Decrements the TTL and updates the checksum (RFC 1141).
    #[inline(always)]
    pub const fn decrement_ttl(&mut self) {
        // TTL is the high octet of the word that it shares with the protocol.
        let old = u16::from_ne_bytes([self.ttl, self.protocol]);
        self.ttl -= 1;
        let new = u16::from_ne_bytes([self.ttl, self.protocol]);
        self.checksum = checksum::apply(self.checksum, checksum::replace_u16(old, new));
    }

    /// RFC 3168: sets both ECN bits and updates the checksum.
    #[inline(always)]
    pub const fn set_congestion_experienced(&mut self) {
        let old = u16::from_ne_bytes([self.version_ihl, self.tos]);
        self.tos |= 3;
        let new = u16::from_ne_bytes([self.version_ihl, self.tos]);
        self.checksum = checksum::apply(self.checksum, checksum::replace_u16(old, new));
    }

    /// The sum of the header without options, not folded.
    #[inline(always)]
    #[must_use]
    pub const fn sum(&self) -> u64 {
        u16::from_ne_bytes([self.version_ihl, self.tos]) as u64
            + self.total_length.raw() as u64
            + self.identification.raw() as u64
            + self.fragment.raw() as u64
            + u16::from_ne_bytes([self.ttl, self.protocol]) as u64
            + self.checksum as u64
            + self.source.raw() as u64
            + self.destination.raw() as u64
    }

    /// Computes the checksum of a header without options.
    #[inline(always)]
    pub const fn fill_checksum(&mut self) {
        self.checksum = 0;
        self.checksum = !checksum::fold(self.sum());
    }
}

const _: () = assert!(size_of::<Ipv4>() == 20);

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Wikipedia's "IPv4 header checksum": 0xb861.
    fn example() -> Ipv4 {
        Ipv4 {
            version_ihl: 0x45,
            tos: 0,
            total_length: Be16::new(0x73),
            identification: Be16::new(0),
            fragment: Be16::new(DF),
            ttl: 0x40,
            protocol: 0x11,
            checksum: 0,
            source: Be32::new(0xc0a8_0001),
            destination: Be32::new(0xc0a8_00c7),
        }
    }

    #[test]
    fn the_checksum_of_a_known_header() {
        let mut header = example();
        header.fill_checksum();
        assert_eq!(u16::from_be(header.checksum), 0xb861);
    }

    #[test]
    fn decrementing_the_ttl_keeps_the_checksum_right() {
        let mut header = example();
        header.fill_checksum();
        for _ in 0..0x3f {
            header.decrement_ttl();
            let incremental = header.checksum;
            header.fill_checksum();
            assert_eq!(incremental, { header.checksum });
        }
    }
}
