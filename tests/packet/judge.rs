//! Reads what came out, with etherparse and without mercy: every length, every
//! checksum, every byte of the payload.

use etherparse::{
    Ethernet2Slice, Icmpv4Slice, IpNumber, Ipv4Header, Ipv4Slice, TcpSlice, UdpSlice, ether_type,
};

use crate::packet::{ACK, FIN, Header, Mac, Packet, RST, SYN, Transport, pattern};

/// The frame as a [`Packet`].
///
/// # Panics
/// Where anything in it is not as a correct sender would have it.
pub fn packet(frame: &[u8]) -> Packet {
    let ethernet = ethernet(frame);
    let (header, payload, padding) = ipv4(ethernet.payload_slice());
    let (outer, header, payload) = if header.protocol == IpNumber::IPV4 {
        assert_eq!(header.header_len(), 20, "the tunnel's header has options");
        let (inner, inner_payload, rest) = ipv4(payload);
        assert_eq!(rest, 0, "the tunnelled datagram ends before the tunnel's");
        (Some(brief(&header)), inner, inner_payload)
    } else {
        (None, header, payload)
    };
    assert!(
        header.options.iter().all(|octet| *octet == 1),
        "options: {:02x?}",
        header.options
    );
    let (transport, source_port, destination_port, data) = transport(&header, payload);
    assert_eq!(data, pattern(data.len()), "the payload changed");
    Packet {
        to_mac: ethernet.destination(),
        from_mac: ethernet.source(),
        outer,
        ip: brief(&header),
        option_words: header.options.len() / 4,
        transport,
        source_port,
        destination_port,
        payload: data.len(),
        padding,
    }
}

/// An ICMP error message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub to_mac: Mac,
    pub from_mac: Mac,
    pub ip: Header,
    pub kind: u8,
    pub code: u8,
    /// The second word of the header: 0, or the MTU in its lower half.
    pub word: u32,
    pub quote: Vec<u8>,
}

/// The frame as an ICMP message.
///
/// # Panics
/// As [`packet`].
pub fn message(frame: &[u8]) -> Message {
    let ethernet = ethernet(frame);
    let (header, payload, padding) = ipv4(ethernet.payload_slice());
    assert_eq!(
        (header.header_len(), padding),
        (20, 0),
        "header length, padding"
    );
    assert_eq!(header.protocol, IpNumber::ICMP);
    let icmp = Icmpv4Slice::from_slice(payload).unwrap();
    let expected = icmp.icmp_type().calc_checksum(icmp.payload());
    assert_eq!(icmp.checksum(), expected, "ICMP checksum");
    Message {
        to_mac: ethernet.destination(),
        from_mac: ethernet.source(),
        ip: brief(&header),
        kind: icmp.type_u8(),
        code: icmp.code_u8(),
        word: u32::from_be_bytes(icmp.bytes5to8()),
        quote: icmp.payload().to_vec(),
    }
}

fn ethernet(frame: &[u8]) -> Ethernet2Slice<'_> {
    let ethernet = Ethernet2Slice::from_slice_without_fcs(frame).unwrap();
    assert_eq!(ethernet.ether_type(), ether_type::IPV4);
    ethernet
}

/// Header and payload of a datagram, and the bytes after its end.
fn ipv4(bytes: &[u8]) -> (Ipv4Header, &[u8], usize) {
    let slice = Ipv4Slice::from_slice(bytes).unwrap();
    let header = slice.header().to_header();
    assert_eq!(
        header.header_checksum,
        header.calc_header_checksum(),
        "IPv4 checksum"
    );
    assert!(!header.is_fragmenting_payload(), "a fragment");
    let padding = bytes.len() - usize::from(header.total_len);
    (header, slice.payload().payload, padding)
}

const fn brief(header: &Ipv4Header) -> Header {
    Header {
        source: header.source,
        destination: header.destination,
        tos: header.dscp.value() << 2 | header.ecn.value(),
        id: header.identification,
        df: header.dont_fragment,
        ttl: header.time_to_live,
    }
}

/// Transport, ports and data.
fn transport<'a>(ip: &Ipv4Header, payload: &'a [u8]) -> (Transport, u16, u16, &'a [u8]) {
    if ip.protocol == IpNumber::UDP {
        let udp = UdpSlice::from_slice(payload).unwrap();
        assert_eq!(usize::from(udp.length()), payload.len(), "UDP length");
        let kind = if udp.checksum() == 0 {
            Transport::UdpUnsummed
        } else {
            let expected = udp
                .to_header()
                .calc_checksum_ipv4(ip, udp.payload())
                .unwrap();
            assert_eq!(udp.checksum(), expected, "UDP checksum");
            Transport::Udp
        };
        return (
            kind,
            udp.source_port(),
            udp.destination_port(),
            udp.payload(),
        );
    }
    assert_eq!(ip.protocol, IpNumber::TCP);
    let tcp = TcpSlice::from_slice(payload).unwrap();
    let expected = tcp.calc_checksum_ipv4(ip.source, ip.destination).unwrap();
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
    (
        Transport::Tcp(flags),
        tcp.source_port(),
        tcp.destination_port(),
        tcp.payload(),
    )
}
