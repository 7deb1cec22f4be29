//! Addresses under a prefix.

use crate::addr::Be32;

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
}
