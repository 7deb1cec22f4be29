//! A flood's segments: TCP without data over IPv4, each from another sender.

use std::net::Ipv4Addr;

/// The senders' network: [`SOURCES`] addresses, which no route leads to.
pub const NETWORK: &str = "10.128.0.0/9";
const FIRST_SOURCE: u32 = 0x0a80_0000;
/// How many senders there are, before the first one's turn comes again.
pub const SOURCES: u32 = 1 << 23;

const IP: usize = 14;
const TCP: usize = IP + 20;
pub(super) type Frame = [u8; TCP + 20];

/// A kind of segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// The beginning of a connection.
    Syn,
    /// The middle of a connection that there is not.
    Ack,
}

impl Segment {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Syn, Self::Ack];

    /// As RFC 9293 writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Syn => "SYN",
            Self::Ack => "ACK",
        }
    }

    /// A segment from nowhere ([`come_from`]) to this address and port, by way of the
    /// station with this MAC address.
    pub(super) fn frame(self, station: [u8; 6], address: Ipv4Addr, port: u16) -> Frame {
        let mut frame = [0; TCP + 20];
        let [length, segment_length] = [IP, TCP].map(|from| (frame.len() - from) as u8);
        frame[..6].copy_from_slice(&station);
        frame[6..14].copy_from_slice(&[2, 0, 0, 0, 0, 1, 8, 0]);
        frame[IP..IP + 4].copy_from_slice(&[0x45, 0, 0, length]);
        frame[IP + 8..IP + 10].copy_from_slice(&[64, 6]);
        frame[IP + 16..TCP].copy_from_slice(&address.octets());
        frame[TCP + 2..TCP + 4].copy_from_slice(&port.to_be_bytes());
        frame[TCP + 12] = 5 << 4;
        frame[TCP + 13] = match self {
            Self::Syn => 0x02,
            Self::Ack => 0x10,
        };
        let sum = checksum(&[&frame[IP..TCP]]);
        put(&mut frame, IP + 10, sum);
        let pseudo = [&frame[IP + 16..TCP], &[0, 6, 0, segment_length]].concat();
        let sum = checksum(&[&pseudo, &frame[TCP..]]);
        put(&mut frame, TCP + 16, sum);
        frame
    }
}

/// Gives a frame another sender. The checksums stay: what is put into one word
/// is taken from another, which nobody cares for.
pub(super) fn come_from(frame: &mut Frame, number: u32) {
    let address = FIRST_SOURCE + number % SOURCES;
    let (high, low) = ((address >> 16) as u16, address as u16);
    put(frame, IP + 12, high);
    put(frame, IP + 14, low);
    // RFC 791's identification: the words' sum, as RFC 1071 adds.
    let (sum, carry) = high.overflowing_add(low);
    put(frame, IP + 4, !(sum + u16::from(carry)));
    // RFC 9293's sequence number and window.
    put(frame, TCP + 4, !high);
    put(frame, TCP + 6, !low);
    let port = 0x8000 | low.rotate_left(3);
    put(frame, TCP, port);
    put(frame, TCP + 14, !port);
}

fn put(frame: &mut Frame, offset: usize, word: u16) {
    frame[offset..offset + 2].copy_from_slice(&word.to_be_bytes());
}

/// RFC 1071, of parts of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_hold_for_every_sender() {
        let mut frame = Segment::Syn.frame([2; 6], Ipv4Addr::new(192, 0, 2, 10), 80);
        for number in [0, 1, 0xffff, 0x1_0000, 0x12_3456, SOURCES - 1, SOURCES] {
            come_from(&mut frame, number);
            assert_eq!(checksum(&[&frame[IP..TCP]]), 0, "{number}: {frame:x?}");
            let pseudo = [&frame[IP + 12..TCP], &[0, 6, 0, 20]].concat();
            let sum = checksum(&[&pseudo, &frame[TCP..]]);
            assert_eq!(sum, 0, "{number}: {frame:x?}");
        }
    }
}
