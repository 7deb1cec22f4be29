//! Reads a frame down to the transport header: Ethernet, VLAN tags, a tunnel's
//! headers, IP and extension headers; all that a fragment has, too.

use std::net::IpAddr;

use etherparse::{
    Ethernet2Slice, IpNumber, Ipv4Header, Ipv4Slice, Ipv6HeaderSlice, SingleVlanSlice, UdpSlice,
};

use crate::{
    extension::{Chain, Extension},
    packet::{Encapsulation, Header, Mac, Outer, Tag},
    sender::Ends,
    sums,
};

/// What is around a transport segment or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub to_mac: Mac,
    pub from_mac: Mac,
    pub tags: [Option<Tag>; 2],
    pub outer: Option<Outer>,
    pub ip: Header,
    pub option_words: usize,
    pub extensions: Chain,
    pub padding: usize,
}

/// A datagram.
pub struct Layer<'a> {
    pub ip: Header,
    option_words: usize,
    extensions: Chain,
    /// In a fragment: where in the datagram the payload begins, and whether
    /// more of it follows.
    pub part: Option<(usize, bool)>,
    /// Of the payload.
    pub protocol: u8,
    pub payload: &'a [u8],
}

/// Reads a frame.
///
/// # Panics
/// Where a length, a checksum or padding is not as a correct sender has it.
pub fn read(frame: &[u8]) -> (Envelope, Layer<'_>) {
    let ethernet = Ethernet2Slice::from_slice_without_fcs(frame).unwrap();
    let mut ether_type = ethernet.ether_type().0;
    let mut bytes = ethernet.payload_slice();
    let mut tags = [None; 2];
    for tag in &mut tags {
        if ![0x8100, 0x88a8].contains(&ether_type) {
            break;
        }
        let slice = SingleVlanSlice::from_slice(bytes).unwrap();
        *tag = Some(Tag {
            protocol: ether_type,
            control: u16::from_be_bytes([bytes[0], bytes[1]]),
        });
        ether_type = slice.ether_type().0;
        bytes = slice.payload_slice();
    }
    let (outermost, padding) = datagram(ether_type, bytes);
    let (outer, layer) = match tunnel(&outermost) {
        None => (None, outermost),
        Some((encapsulation, ether_type, inner)) => {
            assert_eq!(outermost.option_words, 0, "options in the tunnel's header");
            assert_eq!(outermost.extensions, Chain::EMPTY, "the tunnel's");
            assert_eq!(outermost.part, None, "a fragment of a tunnel's");
            let (layer, rest) = datagram(ether_type, inner);
            assert_eq!(rest, 0, "the tunnelled datagram ends before the tunnel's");
            let outer = Outer {
                ip: outermost.ip,
                encapsulation,
            };
            (Some(outer), layer)
        }
    };
    let envelope = Envelope {
        to_mac: ethernet.destination(),
        from_mac: ethernet.source(),
        tags,
        outer,
        ip: layer.ip,
        option_words: layer.option_words,
        extensions: layer.extensions,
        padding,
    };
    (envelope, layer)
}

/// A datagram, and how many bytes there are after its end.
fn datagram(ether_type: u16, bytes: &[u8]) -> (Layer<'_>, usize) {
    match ether_type {
        0x0800 => ipv4(bytes),
        0x86dd => ipv6(bytes),
        other => panic!("EtherType {other:04x}"),
    }
}

fn ipv4(bytes: &[u8]) -> (Layer<'_>, usize) {
    let slice = Ipv4Slice::from_slice(bytes).unwrap();
    let header = slice.header().to_header();
    assert_eq!(
        header.header_checksum,
        header.calc_header_checksum(),
        "IPv4 checksum"
    );
    assert!(
        header.options.iter().all(|octet| *octet == 1),
        "options: {:02x?}",
        header.options
    );
    let reserved = bytes[6] & 0x80;
    assert_eq!(reserved, 0, "the reserved flag");
    let offset = usize::from(header.fragment_offset.value()) * 8;
    let total = usize::from(header.total_len);
    let layer = Layer {
        ip: brief(&header),
        option_words: header.options.len() / 4,
        extensions: Chain::EMPTY,
        part: (header.is_fragmenting_payload()).then_some((offset, header.more_fragments)),
        protocol: header.protocol.0,
        payload: &bytes[header.header_len()..total],
    };
    (layer, bytes.len() - total)
}

fn brief(header: &Ipv4Header) -> Header {
    Header {
        source: IpAddr::from(header.source),
        destination: IpAddr::from(header.destination),
        tos: header.dscp.value() << 2 | header.ecn.value(),
        id: u32::from(header.identification),
        df: header.dont_fragment,
        ttl: header.time_to_live,
        label: 0,
    }
}

fn ipv6(bytes: &[u8]) -> (Layer<'_>, usize) {
    let header = Ipv6HeaderSlice::from_slice(bytes).unwrap().to_header();
    let total = 40 + usize::from(header.payload_length);
    let mut payload = &bytes[40..total];
    let mut protocol = header.next_header;
    let mut chain = Vec::new();
    let mut part = None;
    let mut id = 0;
    loop {
        if protocol == IpNumber::IPV6_FRAGMENTATION_HEADER {
            assert_eq!(part, None, "two fragment headers");
            let (fragment, rest) = payload.split_first_chunk::<8>().expect("its header");
            let [next, reserved, high, low, identification @ ..] = *fragment;
            let word = u16::from_be_bytes([high, low]);
            assert_eq!((reserved, word & 6), (0, 0), "reserved bits");
            id = u32::from_be_bytes(identification);
            part = Some((usize::from(word & !7), word & 1 == 1));
            chain.push(Extension::Fragment);
            (protocol, payload) = (IpNumber(next), rest);
            // What is behind it belongs to the fragments' bytes.
            if part != Some((0, false)) {
                break;
            }
        } else if let Some((extension, next, rest)) = Extension::read(protocol.0, payload) {
            chain.push(extension);
            (protocol, payload) = (IpNumber(next), rest);
        } else {
            break;
        }
    }
    let layer = Layer {
        ip: Header {
            source: IpAddr::from(header.source),
            destination: IpAddr::from(header.destination),
            tos: header.traffic_class,
            id,
            df: false,
            ttl: header.hop_limit,
            label: header.flow_label.value(),
        },
        option_words: 0,
        extensions: Chain::of(&chain),
        part: part.filter(|part| *part != (0, false)),
        protocol: protocol.0,
        payload,
    };
    (layer, bytes.len() - total)
}

/// How a datagram carries another: by what, the other's EtherType, the other.
fn tunnel<'a>(layer: &Layer<'a>) -> Option<(Encapsulation, u16, &'a [u8])> {
    let payload = layer.payload;
    match layer.protocol {
        4 => Some((Encapsulation::Ip, 0x0800, payload)),
        41 => Some((Encapsulation::Ip, 0x86dd, payload)),
        47 => Some(gre(payload)),
        // No payload of a test begins with a zero, as GUE's header does.
        17 if layer.part.is_none() && payload.get(8) == Some(&0) => Some(gue(layer)),
        _ => None,
    }
}

/// RFC 2784 section 2.
fn gre(bytes: &[u8]) -> (Encapsulation, u16, &[u8]) {
    let checksum = bytes[0] == 0x80;
    let flags = if checksum { 0x80 } else { 0 };
    assert_eq!(bytes[..2], [flags, 0], "GRE's flags and version");
    let ether_type = u16::from_be_bytes([bytes[2], bytes[3]]);
    if checksum {
        assert_eq!(sums::internet(bytes), 0, "GRE's checksum");
        assert_eq!(bytes[6..8], [0; 2], "GRE's reserved field");
    }
    let header = if checksum { 8 } else { 4 };
    (
        Encapsulation::Gre { checksum },
        ether_type,
        &bytes[header..],
    )
}

fn gue<'a>(layer: &Layer<'a>) -> (Encapsulation, u16, &'a [u8]) {
    let checksum = is_summed(&layer.ip, layer.payload);
    let source_port = gue_source_port(layer.payload);
    assert!(source_port >= 49_152, "GUE's source port: {source_port}");
    let port = u16::from_be_bytes([layer.payload[2], layer.payload[3]]);
    let (header, inner) = layer.payload[8..].split_at(4);
    let ether_type = match header {
        [0, 4, 0, 0] => 0x0800,
        [0, 41, 0, 0] => 0x86dd,
        other => panic!("GUE's header: {other:02x?}"),
    };
    (Encapsulation::Gue { port, checksum }, ether_type, inner)
}

fn gue_source_port(udp: &[u8]) -> u16 {
    u16::from_be_bytes([udp[0], udp[1]])
}

/// The outer source port of a GUE frame.
pub fn outer_source_port(frame: &[u8]) -> u16 {
    let ethernet = Ethernet2Slice::from_slice_without_fcs(frame).unwrap();
    let (layer, _) = datagram(ethernet.ether_type().0, ethernet.payload_slice());
    assert_eq!(layer.protocol, 17);
    gue_source_port(layer.payload)
}

/// Whether a UDP datagram has a checksum.
///
/// # Panics
/// Where it has a wrong one, or a wrong length.
pub fn is_summed(ip: &Header, bytes: &[u8]) -> bool {
    let udp = UdpSlice::from_slice(bytes).unwrap();
    assert_eq!(usize::from(udp.length()), bytes.len(), "UDP length");
    if udp.checksum() == 0 {
        return false;
    }
    let header = udp.to_header();
    let expected = match ip.ends() {
        Ends::V4(from, to) => header.calc_checksum_ipv4_raw(from, to, udp.payload()),
        Ends::V6(from, to) => header.calc_checksum_ipv6_raw(from, to, udp.payload()),
    };
    assert_eq!(udp.checksum(), expected.unwrap(), "UDP checksum");
    true
}
