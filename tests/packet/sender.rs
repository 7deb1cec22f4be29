//! Makes the frame of a [`Packet`], with etherparse: every length and checksum
//! right.

use std::net::IpAddr;

use etherparse::{
    EtherType, Ethernet2Header, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpDscp, IpEcn,
    IpFragOffset, IpNumber, Ipv4Header, Ipv4Options, Ipv6FlowLabel, Ipv6Header, TcpHeader,
    UdpHeader,
};

use crate::{
    extension::Extension,
    packet::{ACK, Encapsulation, FIN, Header, INIT, Outer, Packet, RST, SYN, Transport, pattern},
    sums,
};

/// The verification tag of every SCTP packet but INIT.
pub const VERIFICATION_TAG: u32 = 0x0a0b_0c0d;
/// The source port of GUE; the data plane's varies by flow.
const GUE_SOURCE_PORT: u16 = 49_152;

impl Packet {
    pub fn frame(&self) -> Vec<u8> {
        self.frame_with(&pattern(self.payload))
    }

    /// The frame with other bytes after the transport header.
    pub fn frame_with(&self, data: &[u8]) -> Vec<u8> {
        let mut datagram = self.datagram(data);
        let mut innermost = ether_type(self.ip.is_ipv6());
        if let Some(outer) = &self.outer {
            datagram = outer.around(&datagram);
            innermost = ether_type(outer.ip.is_ipv6());
        }
        let mut types: Vec<_> = self.tags.iter().flatten().map(|tag| tag.protocol).collect();
        types.push(innermost);
        let ethernet = Ethernet2Header {
            source: self.from_mac,
            destination: self.to_mac,
            ether_type: EtherType(types[0]),
        };
        let mut frame = ethernet.to_bytes().to_vec();
        for (tag, next) in self.tags.iter().flatten().zip(&types[1..]) {
            frame.extend(tag.control.to_be_bytes());
            frame.extend(next.to_be_bytes());
        }
        frame.extend(datagram);
        frame.resize(frame.len() + self.padding, 0);
        frame
    }

    /// The datagram with these bytes after the transport header, without what
    /// a tunnel puts before it.
    pub fn datagram(&self, data: &[u8]) -> Vec<u8> {
        let is_ipv6 = self.ip.is_ipv6();
        let protocol = self.transport.number(is_ipv6);
        let segment = self.segment(data);
        if !is_ipv6 {
            assert!(self.extensions.list().is_empty(), "IPv6 has those");
            let part = self
                .part
                .map_or(0..segment.len(), |part| part.of(segment.len()));
            let fragment = (part.start, part.end < segment.len());
            return self
                .ip
                .before(self.option_words, fragment, protocol, &segment[part]);
        }
        assert_eq!(self.option_words, 0, "IPv4 has those");
        let mut chain = self.extensions.list();
        if self.part.is_some() && !chain.contains(&Extension::Fragment) {
            chain.push(Extension::Fragment);
        }
        // From the last to the first, each of which needs to know the next.
        let (mut next, mut bytes) = (protocol, segment);
        for extension in chain.into_iter().rev() {
            bytes = match extension {
                Extension::Fragment => self.fragment(next, &bytes),
                _ => [extension.bytes(next), bytes].concat(),
            };
            next = extension.number();
        }
        self.ip.before(0, (0, false), next, &bytes)
    }

    /// IPv6's fragment header and the part of `bytes` that follows it.
    fn fragment(&self, next: u8, bytes: &[u8]) -> Vec<u8> {
        let part = self
            .part
            .map_or(0..bytes.len(), |part| part.of(bytes.len()));
        assert_eq!(part.start % 8, 0);
        let offset = u16::try_from(part.start).unwrap();
        let more = u16::from(part.end < bytes.len());
        let mut fragment = vec![next, 0];
        fragment.extend((offset | more).to_be_bytes());
        fragment.extend(self.ip.id.to_be_bytes());
        fragment.extend(&bytes[part]);
        fragment
    }

    /// The whole transport header with what follows it.
    fn segment(&self, data: &[u8]) -> Vec<u8> {
        let mut bytes = match self.transport {
            Transport::Tcp(flags) => self.tcp(flags, data).to_bytes().to_vec(),
            Transport::Udp | Transport::UdpUnsummed => self.udp(data).to_bytes().to_vec(),
            Transport::Sctp(chunk) => return self.sctp(chunk, data),
            Transport::Icmp { kind, code, word } => self.icmp(kind, code, word, data),
        };
        bytes.extend(data);
        bytes
    }

    fn tcp(&self, flags: u8, data: &[u8]) -> TcpHeader {
        let mut header = TcpHeader::new(self.source_port, self.destination_port, 0x0102_0304, 512);
        header.fin = flags & FIN != 0;
        header.syn = flags & SYN != 0;
        header.rst = flags & RST != 0;
        header.ack = flags & ACK != 0;
        if header.ack {
            header.acknowledgment_number = 0x0506_0708;
        }
        header.checksum = match self.ip.ends() {
            Ends::V4(from, to) => header.calc_checksum_ipv4_raw(from, to, data),
            Ends::V6(from, to) => header.calc_checksum_ipv6_raw(from, to, data),
        }
        .unwrap();
        header
    }

    fn udp(&self, data: &[u8]) -> UdpHeader {
        let mut header = udp_header(&self.ip, self.source_port, self.destination_port, data);
        if self.transport == Transport::UdpUnsummed {
            header.checksum = 0;
        }
        header
    }

    fn sctp(&self, chunk: u8, value: &[u8]) -> Vec<u8> {
        let tag = if chunk == INIT { 0 } else { VERIFICATION_TAG };
        let mut bytes = Vec::new();
        bytes.extend(self.source_port.to_be_bytes());
        bytes.extend(self.destination_port.to_be_bytes());
        bytes.extend(tag.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend([chunk, 0]);
        bytes.extend(u16::try_from(4 + value.len()).unwrap().to_be_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let sum = sums::crc32c(&bytes);
        bytes[8..12].copy_from_slice(&sum);
        bytes
    }

    fn icmp(&self, kind: u8, code: u8, word: u32, data: &[u8]) -> Vec<u8> {
        let bytes5to8 = word.to_be_bytes();
        if let Ends::V6(from, to) = self.ip.ends() {
            let message = Icmpv6Type::Unknown {
                type_u8: kind,
                code_u8: code,
                bytes5to8,
            };
            let header = Icmpv6Header::with_checksum(message, from, to, data).unwrap();
            return header.to_bytes().to_vec();
        }
        let message = Icmpv4Type::Unknown {
            type_u8: kind,
            code_u8: code,
            bytes5to8,
        };
        let header = Icmpv4Header::with_checksum(message, data);
        header.to_bytes().to_vec()
    }
}

impl Outer {
    /// The datagram in the tunnel.
    fn around(&self, inner: &[u8]) -> Vec<u8> {
        let is_ipv6 = inner[0] >> 4 == 6;
        let protocol = if is_ipv6 { 41 } else { 4 };
        let (protocol, bytes) = match self.encapsulation {
            Encapsulation::Ip => (protocol, inner.to_vec()),
            Encapsulation::Gue { port, checksum } => {
                let data = [&[0, protocol, 0, 0], inner].concat();
                let mut udp = udp_header(&self.ip, GUE_SOURCE_PORT, port, &data);
                if !checksum {
                    udp.checksum = 0;
                }
                (17, [&udp.to_bytes()[..], &data].concat())
            }
            Encapsulation::Gre { checksum } => {
                let ether_type = ether_type(is_ipv6).to_be_bytes();
                let flags = if checksum { 0x80 } else { 0 };
                let mut bytes = vec![flags, 0];
                bytes.extend(ether_type);
                bytes.resize(if checksum { 8 } else { 4 }, 0);
                bytes.extend(inner);
                if checksum {
                    let sum = sums::internet(&bytes);
                    bytes[4..6].copy_from_slice(&sum.to_be_bytes());
                }
                (47, bytes)
            }
        };
        self.ip.before(0, (0, false), protocol, &bytes)
    }
}

/// Both addresses of a header.
pub enum Ends {
    V4([u8; 4], [u8; 4]),
    V6([u8; 16], [u8; 16]),
}

impl Header {
    /// # Panics
    /// Where they are not of one family.
    pub fn ends(&self) -> Ends {
        match (self.source, self.destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => Ends::V4(from.octets(), to.octets()),
            (IpAddr::V6(from), IpAddr::V6(to)) => Ends::V6(from.octets(), to.octets()),
            _ => panic!("two families in one header: {self:?}"),
        }
    }

    /// The header followed by its payload. A fragment's offset in bytes and
    /// whether more follow are IPv4's; IPv6 has a header for them.
    fn before(
        &self,
        option_words: usize,
        (offset, more): (usize, bool),
        protocol: u8,
        payload: &[u8],
    ) -> Vec<u8> {
        let (source, destination) = match self.ends() {
            Ends::V4(source, destination) => (source, destination),
            Ends::V6(source, destination) => {
                let header = Ipv6Header {
                    traffic_class: self.tos,
                    flow_label: Ipv6FlowLabel::try_new(self.label).unwrap(),
                    payload_length: u16::try_from(payload.len()).unwrap(),
                    next_header: IpNumber(protocol),
                    hop_limit: self.ttl,
                    source,
                    destination,
                };
                return [&header.to_bytes()[..], payload].concat();
            }
        };
        assert_eq!(offset % 8, 0);
        let length = Ipv4Header::MIN_LEN + option_words * 4 + payload.len();
        let mut header = Ipv4Header {
            dscp: IpDscp::try_new(self.tos >> 2).unwrap(),
            ecn: IpEcn::try_new(self.tos & 3).unwrap(),
            total_len: u16::try_from(length).unwrap(),
            identification: u16::try_from(self.id).unwrap(),
            dont_fragment: self.df,
            more_fragments: more,
            fragment_offset: IpFragOffset::try_new(u16::try_from(offset / 8).unwrap()).unwrap(),
            time_to_live: self.ttl,
            protocol: IpNumber(protocol),
            header_checksum: 0,
            source,
            destination,
            options: Ipv4Options::try_from([1; 40].split_at(option_words * 4).0).unwrap(),
        };
        header.header_checksum = header.calc_header_checksum();
        [&header.to_bytes()[..], payload].concat()
    }
}

/// A UDP header with its checksum.
fn udp_header(ip: &Header, source_port: u16, destination_port: u16, data: &[u8]) -> UdpHeader {
    let mut header = UdpHeader {
        source_port,
        destination_port,
        length: u16::try_from(UdpHeader::LEN + data.len()).unwrap(),
        checksum: 0,
    };
    header.checksum = match ip.ends() {
        Ends::V4(from, to) => header.calc_checksum_ipv4_raw(from, to, data),
        Ends::V6(from, to) => header.calc_checksum_ipv6_raw(from, to, data),
    }
    .unwrap();
    header
}

const fn ether_type(is_ipv6: bool) -> u16 {
    if is_ipv6 { 0x86dd } else { 0x0800 }
}
