//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! Sums are kept in native byte order over 16-bit words as they lie in
//! memory: the ones' complement sum does not depend on byte order (RFC 1071
//! section 2 B), so nothing is swapped.

use crate::addr::Addr;

/// Folds a sum of 16-bit words into 16 bits.
#[inline(always)]
#[must_use]
pub const fn fold(mut sum: u64) -> u16 {
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// The change that replacing `old` by `new` makes to a sum: ~m + m' of RFC
/// 1624 equation 3. Changes add up; fold and [`apply`] them once.
#[inline(always)]
#[must_use]
pub const fn replace_u16(old: u16, new: u16) -> u64 {
    !old as u64 + new as u64
}

/// As [`replace_u16`], for a 32-bit field.
#[inline(always)]
#[must_use]
pub const fn replace_u32(old: u32, new: u32) -> u64 {
    !old as u64 + new as u64
}

/// As [`replace_u16`], for an address. The words in front of mapped IPv4
/// addresses are the same in both and add nothing.
#[inline(always)]
#[must_use]
pub const fn replace_address(old: Addr, new: Addr) -> u64 {
    let (old, new) = (old.0, new.0);
    replace_u32(old[0].raw(), new[0].raw())
        + replace_u32(old[1].raw(), new[1].raw())
        + replace_u32(old[2].raw(), new[2].raw())
        + replace_u32(old[3].raw(), new[3].raw())
}

/// The sum of an address, as pseudo headers have it. The 0xffff in front of a
/// mapped IPv4 address is the ones' complement's other zero.
#[inline(always)]
#[must_use]
pub const fn of_address(address: Addr) -> u64 {
    let words = address.0;
    words[0].raw() as u64 + words[1].raw() as u64 + words[2].raw() as u64 + words[3].raw() as u64
}

/// RFC 1624 equation 3: HC' = ~(~HC + ~m + m').
///
/// `delta` is a sum of [`replace_u16`] and [`replace_u32`], folded or not.
#[inline(always)]
#[must_use]
pub const fn apply(checksum: u16, delta: u64) -> u16 {
    !fold(!checksum as u64 + delta)
}

/// As [`apply`], for UDP over IPv4: 0 means that the sender computed none and
/// stays (RFC 768); a result of 0 is sent as all ones.
#[inline(always)]
#[must_use]
pub const fn apply_udp(checksum: u16, delta: u64) -> u16 {
    if checksum == 0 {
        return 0;
    }
    match apply(checksum, delta) {
        0 => 0xffff,
        sum => sum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071 by the book: big-endian words, carries folded at each step.
    fn reference(words: &[u16]) -> u16 {
        let mut sum = 0u32;
        for word in words {
            sum += u32::from(u16::from_be(*word));
            if sum > 0xffff {
                sum = (sum & 0xffff) + 1;
            }
        }
        (!(sum as u16)).to_be()
    }

    proptest! {
        #[test]
        fn an_update_equals_a_full_sum(
            mut words in prop::collection::vec(any::<u16>(), 3..40),
            new in any::<[u16; 3]>(),
        ) {
            // A header's sum is never over all zeroes: RFC 1624 section 3.
            words.push(0x4500);
            let before = reference(&words);
            let old32 = u32::from(words[0]) | u32::from(words[1]) << 16;
            let new32 = u32::from(new[0]) | u32::from(new[1]) << 16;
            let delta = replace_u32(old32, new32) + replace_u16(words[2], new[2]);
            words[..3].copy_from_slice(&new);
            prop_assert_eq!(apply(before, delta), reference(&words));
            prop_assert_eq!(apply(before, u64::from(fold(delta))), reference(&words));
        }
    }

    #[test]
    fn udp_without_a_checksum_stays_without() {
        assert_eq!(apply_udp(0, replace_u16(1, 2)), 0);
    }

    #[test]
    fn udp_never_turns_into_one_without() {
        // ~0x1234 + 0x1234 = 0xffff, whose complement is 0.
        assert_eq!(apply(0x1234, 0x1234), 0);
        assert_eq!(apply_udp(0x1234, 0x1234), 0xffff);
    }
}
