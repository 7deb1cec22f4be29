//! Whose packets are looked up at all: a bit for each address that is a service's
//! or, under nat, a real's. What has neither of them at its right end belongs to
//! no connection, and is the kernel's at once.
//!
//! Bits are set before the first connection of an address, and stay: connections
//! may outlive their service. Addresses that share a bit cost a look-up.

use crate::addr::Addr;

/// Values of `FILTER`, an array of 64 bits each.
pub const WORDS: u32 = 1024;

/// Where an address has its bit: the index of the word, and the bit in it.
#[inline(always)]
#[must_use]
pub const fn place(address: Addr) -> (u32, u64) {
    let [a, b, c, d] = address.0;
    let folded = a.raw() ^ b.raw().rotate_left(9) ^ c.raw().rotate_left(18) ^ d.raw();
    let hash = folded.wrapping_mul(0x9e37_79b1) >> 16;
    (hash >> 6, 1 << (hash & 63))
}

const _: () = assert!(WORDS == 1 << (16 - 6));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Be32;

    /// A thousand addresses side by side, and networks.
    #[test]
    fn addresses_have_bits_of_their_own() {
        for step in [1, 256, 65_536] {
            let mut words = vec![0u64; WORDS as usize];
            for number in 0..1000 {
                let (word, bit) = place(Addr::from_v4(Be32::new(0xc000_0201 + number * step)));
                words[word as usize] |= bit;
            }
            let bits: u32 = words.iter().map(|word| word.count_ones()).sum();
            assert!(bits > 950, "{step}: {bits}");
        }
    }
}
