//! A frame that is being written, header by header, into one buffer: what it
//! says is true, and where it says it is remembered, for the liar who may come
//! next.

use std::net::IpAddr;

use crate::{
    checksum,
    run::MAX_FRAME,
    world::{Family, Mac, family},
};

pub mod number {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const IPIP: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const IPV6: u8 = 41;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const GRE: u8 = 47;
    pub const AUTHENTICATION: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const DESTINATION: u8 = 60;
    pub const SCTP: u8 = 132;
}

pub const IPV4: u16 = 0x0800;
pub const IPV6: u16 = 0x86dd;

/// What may vary in an IP header.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub ttl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// Flow label, IPv6.
    pub label: u32,
    pub df: bool,
    pub id: u32,
    pub fragment: Option<Fragment>,
    /// IPv4: a number of words of options; IPv6: the extension headers.
    pub extras: &'a [u8],
}

/// A piece of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Fragment {
    /// Offset in units of 8 bytes, below 2^13.
    pub units: u16,
    pub is_last: bool,
}

/// The frame.
#[derive(Default)]
pub struct Draft {
    pub bytes: Vec<u8>,
    /// Offsets of octets that state a length, a number or a type.
    pub claims: Vec<usize>,
    /// Where the IP header begins, if there is one.
    pub network: Option<usize>,
}

impl Draft {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.claims.clear();
        self.network = None;
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub fn put_u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    fn set_u16(&mut self, at: usize, value: u16) {
        self.bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
    }

    /// The two octets just written are a claim.
    fn claim(&mut self) {
        let end = self.len();
        self.claims.extend([end - 2, end - 1]);
    }

    pub fn ethernet(&mut self, to: Mac, from: Mac, tags: &[[u16; 2]], ether_type: u16) {
        self.put(&to);
        self.put(&from);
        for [protocol, control] in tags {
            self.put_u16(*protocol);
            self.claim();
            self.put_u16(*control);
        }
        self.put_u16(ether_type);
        self.claim();
        self.network = Some(self.len());
    }

    /// Opens an IP header; [`Self::close_ip`] with what this returns ends the
    /// packet.
    pub fn ip(&mut self, header: &Header<'_>) -> usize {
        let start = self.len();
        match (header.source, header.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let words = (header.extras.len() / 4).min(10);
                self.put(&[0x45 + words as u8, header.tos, 0, 0]);
                self.put_u16(header.id as u16);
                let (units, flags) = match header.fragment {
                    Some(Fragment { units, is_last }) => (units, u16::from(!is_last) << 13),
                    None => (0, u16::from(header.df) << 14),
                };
                self.put_u16(units | flags);
                self.put(&[header.ttl, header.protocol, 0, 0]);
                self.put(&source.octets());
                self.put(&destination.octets());
                self.put(&header.extras[..words * 4]);
                self.claims
                    .extend([0, 2, 3, 6, 7, 9].map(|offset| start + offset));
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let first = 6 << 28 | u32::from(header.tos) << 20 | header.label & 0xf_ffff;
                self.put(&first.to_be_bytes());
                self.put(&[0, 0, header.protocol, header.ttl]);
                self.put(&source.octets());
                self.put(&destination.octets());
                self.claims
                    .extend([0, 4, 5, 6].map(|offset| start + offset));
                self.extensions(start + 6, header);
            }
            _ => unreachable!("addresses of two families"),
        }
        start
    }

    /// Extension headers, whose numbers are `header.extras`, and where the
    /// packet is a fragment that header too, after them. `next` is where the
    /// header before them says what follows.
    fn extensions(&mut self, mut next: usize, header: &Header<'_>) {
        let fragment = header.fragment.map(|_| number::FRAGMENT);
        for number in header.extras.iter().copied().chain(fragment) {
            self.bytes[next] = number;
            next = self.len();
            self.claims.extend([next, next + 1]);
            match (number, header.fragment) {
                (number::FRAGMENT, Some(fragment)) => {
                    self.put(&[header.protocol, 0]);
                    self.put_u16(fragment.units << 3 | u16::from(!fragment.is_last));
                    self.claim();
                    self.put(&header.id.to_be_bytes());
                }
                // A whole datagram in one fragment (RFC 6946).
                (number::FRAGMENT, None) => {
                    self.put(&[header.protocol, 0, 0, 0]);
                    self.put(&header.id.to_be_bytes());
                }
                // Length in words of 4 octets, less 2 (RFC 4302 section 2.2).
                (number::AUTHENTICATION, _) => {
                    self.put(&[header.protocol, 4, 0, 0]);
                    self.put(&[0x5a; 20]);
                }
                // Length in units of 8 octets, less 1. PadN fills options.
                (number::ROUTING, _) => self.put(&[header.protocol, 0, 0x99, 0, 0, 0, 0, 0]),
                _ => {
                    let units = (header.label % 3) as u8;
                    self.put(&[header.protocol, units, 1, 4 + units * 8]);
                    self.bytes
                        .resize(self.len() + 4 + usize::from(units) * 8, 0);
                }
            }
        }
    }

    /// Writes the length of the packet that began at `start`, as it is now,
    /// and IPv4's checksum.
    pub fn close_ip(&mut self, start: usize) {
        let length = self.len() - start;
        if self.bytes[start] >> 4 == 6 {
            self.set_u16(start + 4, (length - 40) as u16);
        } else {
            self.set_u16(start + 2, length as u16);
            self.sum_ipv4(start);
        }
    }

    /// Makes the checksum of the IPv4 header at `start` right, as long as it
    /// says that it is.
    pub fn sum_ipv4(&mut self, start: usize) {
        let end = (start + usize::from(self.bytes[start] & 0xf) * 4).min(self.len());
        if end < start + 20 {
            return;
        }
        self.set_u16(start + 10, 0);
        let field = checksum::field(checksum::sum(&self.bytes[start..end]));
        self.set_u16(start + 10, field);
    }

    pub fn tcp(&mut self, ports: [u16; 2], flags: u8, option_words: u8) -> usize {
        let start = self.len();
        self.put_u16(ports[0]);
        self.put_u16(ports[1]);
        self.put(&[
            1,
            2,
            3,
            4,
            5,
            6,
            7,
            8,
            (5 + option_words) << 4,
            flags,
            2,
            0,
            0,
            0,
            0,
            0,
        ]);
        self.bytes
            .resize(self.len() + usize::from(option_words) * 4, 1);
        self.claims.extend([start + 12, start + 13]);
        start
    }

    pub fn udp(&mut self, ports: [u16; 2]) -> usize {
        let start = self.len();
        self.put_u16(ports[0]);
        self.put_u16(ports[1]);
        self.put(&[0; 4]);
        self.claims.extend([start + 4, start + 5]);
        start
    }

    /// SCTP with one chunk (RFC 9260), its CRC a number like any other.
    pub fn sctp(&mut self, ports: [u16; 2], chunk: u8) -> usize {
        let start = self.len();
        self.put_u16(ports[0]);
        self.put_u16(ports[1]);
        self.put(&[9, 9, 9, 9, 1, 2, 3, 4, chunk, 0, 0, 4]);
        self.claims.extend([start + 12, start + 14, start + 15]);
        start
    }

    /// An ICMP error's header, of either family.
    pub fn icmp(&mut self, kind: u8, code: u8, word: u32) -> usize {
        let start = self.len();
        self.put(&[kind, code, 0, 0]);
        self.put(&word.to_be_bytes());
        self.claims.extend([start, start + 1]);
        start
    }

    /// Payload, cut where frames must end.
    pub fn data(&mut self, bytes: usize, first: u8) {
        let room = MAX_FRAME.saturating_sub(self.len());
        let end = self.len() + bytes.min(room);
        let start = self.len();
        self.bytes.resize(end, first);
        // Each a little different from the next, at the price of a fill.
        for at in (start..end).step_by(7) {
            self.bytes[at] = (at - start) as u8 ^ first;
        }
    }

    /// Writes length and checksum of the transport header at `start`, whose
    /// payload ends here. `unsummed`: UDP whose sender computed none.
    pub fn close_transport(&mut self, start: usize, header: &Header<'_>, unsummed: bool) {
        let length = self.len() - start;
        let at = match header.protocol {
            number::TCP => start + 16,
            number::UDP => {
                self.set_u16(start + 4, length as u16);
                start + 6
            }
            number::ICMP | number::ICMPV6 => start + 2,
            _ => return,
        };
        if unsummed && header.protocol == number::UDP {
            return;
        }
        let mut sum = checksum::sum(&self.bytes[start..]);
        if header.protocol != number::ICMP || family(header.source) == Family::V6 {
            sum +=
                checksum::pseudo_header(header.source, header.destination, header.protocol, length);
        }
        let field = match checksum::field(sum) {
            0 if header.protocol == number::UDP => 0xffff,
            field => field,
        };
        self.set_u16(at, field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{FAMILIES, client, vip};

    /// What is written is what etherparse reads, and it finds all of it right.
    #[test]
    fn etherparse_reads_it() {
        for family in FAMILIES {
            for protocol in [number::TCP, number::UDP] {
                let mut draft = Draft::default();
                let header = Header {
                    source: client(family, 0),
                    destination: vip(family),
                    protocol,
                    ttl: 64,
                    tos: 0xb9,
                    label: 0x12345,
                    df: true,
                    id: 7,
                    fragment: None,
                    extras: if family == Family::V4 {
                        &[1; 8]
                    } else {
                        &[0, 43, 60]
                    },
                };
                draft.ethernet(
                    [2; 6],
                    [4; 6],
                    &[[0x88a8, 5], [0x8100, 6]],
                    if family == Family::V4 { IPV4 } else { IPV6 },
                );
                let ip = draft.ip(&header);
                let transport = if protocol == number::TCP {
                    draft.tcp([1, 2], 2, 3)
                } else {
                    draft.udp([1, 2])
                };
                draft.data(77, 9);
                draft.close_transport(transport, &header, false);
                draft.close_ip(ip);
                let parsed = etherparse::PacketHeaders::from_ethernet_slice(&draft.bytes).unwrap();
                let net = parsed.net.clone().unwrap();
                let transport = parsed.transport.clone().unwrap();
                let payload = parsed.payload.slice();
                assert_eq!(payload.len(), 77);
                let sum = match (&net, &transport) {
                    (
                        etherparse::NetHeaders::Ipv4(ip, _),
                        etherparse::TransportHeader::Tcp(tcp),
                    ) => {
                        assert_eq!(ip.header_checksum, ip.calc_header_checksum());
                        (tcp.checksum, tcp.calc_checksum_ipv4(ip, payload).unwrap())
                    }
                    (
                        etherparse::NetHeaders::Ipv4(ip, _),
                        etherparse::TransportHeader::Udp(udp),
                    ) => (udp.checksum, udp.calc_checksum_ipv4(ip, payload).unwrap()),
                    (
                        etherparse::NetHeaders::Ipv6(ip, _),
                        etherparse::TransportHeader::Tcp(tcp),
                    ) => (tcp.checksum, tcp.calc_checksum_ipv6(ip, payload).unwrap()),
                    (
                        etherparse::NetHeaders::Ipv6(ip, _),
                        etherparse::TransportHeader::Udp(udp),
                    ) => (udp.checksum, udp.calc_checksum_ipv6(ip, payload).unwrap()),
                    other => panic!("{other:?}"),
                };
                assert_eq!(sum.0, sum.1);
            }
        }
    }
}
