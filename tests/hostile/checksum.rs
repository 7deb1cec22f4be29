//! The Internet checksum (RFC 1071), by the book and apart from lbd's own.

use std::net::IpAddr;

/// The sum of big-endian 16-bit words, an odd last octet padded with zero.
/// Sums add up as long as each part begins at an even offset.
pub fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(2);
    let odd = words
        .remainder()
        .first()
        .map_or(0, |last| u64::from(*last) << 8);
    let word = |pair: &[u8]| u64::from(u16::from_be_bytes([pair[0], pair[1]]));
    words.map(word).sum::<u64>() + odd
}

/// Folds the carries in.
pub const fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The checksum field that makes a sum right.
pub const fn field(sum: u64) -> u16 {
    !fold(sum)
}

/// Whether a sum with the checksum field in it is right.
pub const fn is_right(sum: u64) -> bool {
    fold(sum) == 0xffff
}

/// What a sum is worth: both zeros of ones' complement are one. A translation
/// must not change it, be it right or wrong.
pub const fn residue(sum: u64) -> u16 {
    (sum % 0xffff) as u16
}

/// The pseudo-header of RFC 9293, RFC 768 and RFC 8200 section 8.1.
pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, bytes: usize) -> u64 {
    addresses(source, destination)
        + u64::from(protocol)
        + (bytes as u64 & 0xffff)
        + (bytes as u64 >> 16)
}

/// The pseudo-header's part that a translation changes.
pub fn addresses(source: IpAddr, destination: IpAddr) -> u64 {
    address(source) + address(destination)
}

fn address(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => sum(&v4.octets()),
        IpAddr::V6(v6) => sum(&v6.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 1071 section 3.
    #[test]
    fn the_example_of_the_rfc() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&bytes)), 0xddf2);
        assert!(is_right(sum(&bytes) + u64::from(field(sum(&bytes)))));
        assert_eq!(sum(&[0xab]), 0xab00);
    }

    #[test]
    fn etherparse_agrees() {
        let header = etherparse::UdpHeader::with_ipv6_checksum(
            7,
            9,
            &etherparse::Ipv6Header {
                source: [3; 16],
                destination: [0xfe; 16],
                ..Default::default()
            },
            b"odd",
        )
        .unwrap();
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend(b"odd");
        let pseudo = pseudo_header([3; 16].into(), [0xfe; 16].into(), 17, bytes.len());
        assert!(is_right(sum(&bytes) + pseudo));
    }
}
