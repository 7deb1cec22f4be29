//! Reads what came out, with etherparse and without mercy: every length, every
//! checksum, every byte of the payload.

use etherparse::{TcpSlice, UdpSlice};

use crate::{
    layers::{self, Envelope, Layer},
    packet::{ACK, FIN, INIT, Packet, RST, SYN, Transport, pattern},
    sender::{Ends, VERIFICATION_TAG},
    sums,
};

/// The frame as a [`Packet`].
///
/// # Panics
/// Where anything in it is not as a correct sender would have it, and for
/// fragments, which are for [`fragment`].
pub fn packet(frame: &[u8]) -> Packet {
    let (packet, data) = whole(frame);
    assert_eq!(data, pattern(data.len()), "the payload changed");
    packet
}

/// An ICMP message that quotes a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its transport is ICMP, its payload the quotation's length.
    pub packet: Packet,
    pub quote: Vec<u8>,
}

impl Message {
    pub fn frame(&self) -> Vec<u8> {
        self.packet.frame_with(&self.quote)
    }
}

/// The frame as an ICMP message.
///
/// # Panics
/// As [`packet`], but whatever is quoted is right.
pub fn message(frame: &[u8]) -> Message {
    let (packet, quote) = whole(frame);
    assert!(
        matches!(packet.transport, Transport::Icmp { .. }),
        "no ICMP message: {packet:?}"
    );
    Message {
        packet,
        quote: quote.to_vec(),
    }
}

/// A fragment of a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    pub envelope: Envelope,
    /// Of the first byte in the datagram.
    pub offset: usize,
    /// Whether it is not the last.
    pub more: bool,
    /// Number of the header that the datagram begins with.
    pub protocol: u8,
    pub bytes: Vec<u8>,
}

/// The frame as a fragment, of whose transport header nothing is said.
///
/// # Panics
/// As [`packet`], and where it is none.
pub fn fragment(frame: &[u8]) -> Fragment {
    let (envelope, layer) = layers::read(frame);
    let (offset, more) = layer.part.expect("a fragment");
    Fragment {
        envelope,
        offset,
        more,
        protocol: layer.protocol,
        bytes: layer.payload.to_vec(),
    }
}

/// A packet that is whole, and what follows its transport header.
fn whole(frame: &[u8]) -> (Packet, &[u8]) {
    let (envelope, layer) = layers::read(frame);
    assert_eq!(layer.part, None, "a fragment");
    let segment = segment(&layer);
    let packet = Packet {
        to_mac: envelope.to_mac,
        from_mac: envelope.from_mac,
        tags: envelope.tags,
        outer: envelope.outer,
        ip: envelope.ip,
        option_words: envelope.option_words,
        extensions: envelope.extensions,
        part: None,
        transport: segment.transport,
        source_port: segment.ports.0,
        destination_port: segment.ports.1,
        payload: segment.data.len(),
        padding: envelope.padding,
    };
    (packet, segment.data)
}

/// What a transport header says.
struct Segment<'a> {
    transport: Transport,
    ports: (u16, u16),
    data: &'a [u8],
}

fn segment<'a>(layer: &Layer<'a>) -> Segment<'a> {
    match layer.protocol {
        6 => tcp(layer),
        17 => udp(layer),
        132 => sctp(layer),
        1 if !layer.ip.is_ipv6() => icmp(layer),
        58 if layer.ip.is_ipv6() => icmp(layer),
        other => panic!("protocol {other}"),
    }
}

fn tcp<'a>(layer: &Layer<'a>) -> Segment<'a> {
    let tcp = TcpSlice::from_slice(layer.payload).unwrap();
    assert_eq!(tcp.data_offset(), 5, "TCP data offset");
    let expected = match layer.ip.ends() {
        Ends::V4(from, to) => tcp.calc_checksum_ipv4(from, to).unwrap(),
        Ends::V6(from, to) => tcp.calc_checksum_ipv6(from, to).unwrap(),
    };
    assert_eq!(tcp.checksum(), expected, "TCP checksum");
    let flags = [
        (tcp.fin(), FIN),
        (tcp.syn(), SYN),
        (tcp.rst(), RST),
        (tcp.ack(), ACK),
    ];
    let flags = flags
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, bit)| bit)
        .sum();
    Segment {
        transport: Transport::Tcp(flags),
        ports: (tcp.source_port(), tcp.destination_port()),
        data: tcp.payload(),
    }
}

fn udp<'a>(layer: &Layer<'a>) -> Segment<'a> {
    let udp = UdpSlice::from_slice(layer.payload).unwrap();
    let transport = if layers::is_summed(&layer.ip, layer.payload) {
        Transport::Udp
    } else {
        Transport::UdpUnsummed
    };
    Segment {
        transport,
        ports: (udp.source_port(), udp.destination_port()),
        data: udp.payload(),
    }
}

/// SCTP with one chunk.
fn sctp<'a>(layer: &Layer<'a>) -> Segment<'a> {
    let bytes = layer.payload;
    let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let unsummed = [&bytes[..8], &[0; 4], &bytes[12..]].concat();
    assert_eq!(bytes[8..12], sums::crc32c(&unsummed), "SCTP's CRC32c");
    let (chunk, length) = (bytes[12], usize::from(word(14)));
    assert_eq!(
        bytes.len(),
        12 + length.next_multiple_of(4),
        "the chunk's length"
    );
    assert!(
        bytes[12 + length..].iter().all(|byte| *byte == 0),
        "the chunk's padding"
    );
    let tag = if chunk == INIT { 0 } else { VERIFICATION_TAG };
    assert_eq!(bytes[4..8], tag.to_be_bytes(), "SCTP's verification tag");
    assert_eq!(bytes[13], 0, "the chunk's flags");
    Segment {
        transport: Transport::Sctp(chunk),
        ports: (word(0), word(2)),
        data: &bytes[16..12 + length],
    }
}

fn icmp<'a>(layer: &Layer<'a>) -> Segment<'a> {
    let bytes = layer.payload;
    let is_right = match layer.ip.ends() {
        Ends::V4(..) => sums::internet(bytes) == 0,
        Ends::V6(from, to) => etherparse::Icmpv6Slice::from_slice(bytes)
            .unwrap()
            .is_checksum_valid(from, to),
    };
    assert!(is_right, "ICMP checksum");
    let [kind, code, _, _, word @ ..] = *bytes.first_chunk::<8>().expect("an ICMP header");
    Segment {
        transport: Transport::Icmp {
            kind,
            code,
            word: u32::from_be_bytes(word),
        },
        ports: (0, 0),
        data: &bytes[8..],
    }
}
