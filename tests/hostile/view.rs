//! How the judge reads a packet: its own eyes, slow to trust a length.

use std::net::IpAddr;

use crate::{
    checksum,
    draft::{IPV4, IPV6, number},
    world::Mac,
};

/// Extension headers that a director walks past.
const MAX_EXTENSIONS: usize = 8;

/// An Ethernet frame.
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    pub to: Mac,
    pub from: Mac,
    /// The tags as they stand, four octets each, none, one or two.
    pub tags: &'a [u8],
    pub ether_type: u16,
    /// All that follows.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut end = 14;
        while end < 22 && matches!(word(bytes, end - 2)?, 0x8100 | 0x88a8) {
            end += 4;
        }
        Some(Self {
            to: bytes[..6].try_into().ok()?,
            from: bytes[6..12].try_into().ok()?,
            ether_type: word(bytes, end - 2)?,
            tags: &bytes[12..end - 2],
            payload: &bytes[end..],
        })
    }

    /// The IP packet, and the bytes after its end.
    pub fn packet(&self) -> Option<(Packet<'a>, &'a [u8])> {
        let packet = Packet::read(self.payload)?;
        let expected = if packet.is_v6() { IPV6 } else { IPV4 };
        (self.ether_type == expected).then(|| (packet, &self.payload[packet.bytes.len()..]))
    }
}

/// What part of a datagram a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    Whole,
    First,
    Later,
}

/// An IP packet. Every offset lies in `bytes`.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// From the IP header to the end that it states, or in a quotation to that
    /// of the quotation.
    pub bytes: &'a [u8],
    /// Bytes up to the transport header.
    pub header: usize,
    /// Of the transport header.
    pub protocol: u8,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub piece: Piece,
}

impl<'a> Packet<'a> {
    /// A packet that is all there.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let length = match bytes.first()? >> 4 {
            4 => usize::from(word(bytes, 2)?),
            6 => 40 + usize::from(word(bytes, 4)?),
            _ => return None,
        };
        Self::quoted(bytes.get(..length)?)
    }

    /// A packet's first bytes.
    pub fn quoted(bytes: &'a [u8]) -> Option<Self> {
        match bytes.first()? >> 4 {
            4 => Self::v4(bytes),
            6 => Self::v6(bytes),
            _ => None,
        }
    }

    fn v4(bytes: &'a [u8]) -> Option<Self> {
        let header = usize::from(bytes[0] & 0xf) * 4;
        if header < 20 || bytes.len() < header {
            return None;
        }
        let address = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&bytes[at..at + 4]).unwrap());
        let fragment = word(bytes, 6)?;
        Some(Self {
            bytes,
            header,
            protocol: bytes[9],
            source: address(12),
            destination: address(16),
            piece: piece(fragment & 0x1fff, fragment & 0x2000 != 0),
        })
    }

    fn v6(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() < 40 {
            return None;
        }
        let address = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&bytes[at..at + 16]).unwrap());
        let mut packet = Self {
            bytes,
            header: 40,
            protocol: bytes[6],
            source: address(8),
            destination: address(24),
            piece: Piece::Whole,
        };
        for _ in 0..=MAX_EXTENSIONS {
            let unit = match packet.protocol {
                number::HOP_BY_HOP | number::ROUTING | number::DESTINATION => 8,
                number::AUTHENTICATION => 4,
                number::FRAGMENT => 0,
                _ => return Some(packet),
            };
            let [next, length, fragment @ ..] = bytes.get(packet.header..packet.header + 8)? else {
                return None;
            };
            if unit == 0 {
                let fragment = word(fragment, 0)?;
                packet.piece = piece(fragment >> 3, fragment & 1 != 0);
            }
            packet.protocol = *next;
            packet.header += 8 + usize::from(*length) * unit;
            if packet.header > bytes.len() {
                return None;
            }
            if packet.piece == Piece::Later {
                return Some(packet);
            }
        }
        None
    }

    pub const fn is_v6(&self) -> bool {
        self.source.is_ipv6()
    }

    pub const fn ttl(&self) -> u8 {
        self.bytes[if self.is_v6() { 7 } else { 8 }]
    }

    /// DSCP and ECN.
    pub const fn tos(&self) -> u8 {
        if self.is_v6() {
            self.bytes[0] << 4 | self.bytes[1] >> 4
        } else {
            self.bytes[1]
        }
    }

    /// From the transport header on.
    pub fn transport(&self) -> &'a [u8] {
        &self.bytes[self.header..]
    }

    /// Source and destination port, where they are.
    pub fn ports(&self) -> Option<[u16; 2]> {
        let has_ports = matches!(self.protocol, number::TCP | number::UDP | number::SCTP);
        if self.piece == Piece::Later || !has_ports {
            return None;
        }
        Some([word(self.transport(), 0)?, word(self.transport(), 2)?])
    }

    /// Where the checksum is in the packet: that of TCP, UDP, ICMP, ICMPv6.
    pub fn checksum_at(&self) -> Option<usize> {
        let at = self.header
            + match self.protocol {
                number::TCP => 16,
                number::UDP => 6,
                number::ICMP | number::ICMPV6 => 2,
                _ => return None,
            };
        (self.piece != Piece::Later && at + 2 <= self.bytes.len()).then_some(at)
    }

    /// The sum over transport header and payload, as far as they are there,
    /// with the pseudo-header where there is one.
    pub fn transport_sum(&self) -> u64 {
        let transport = self.transport();
        let sum = checksum::sum(transport);
        if self.protocol == number::ICMP {
            return sum;
        }
        sum + checksum::pseudo_header(
            self.source,
            self.destination,
            self.protocol,
            transport.len(),
        )
    }

    /// Whether the IPv4 header's checksum is right. IPv6 has none.
    pub fn is_header_right(&self) -> bool {
        self.is_v6() || checksum::is_right(checksum::sum(&self.bytes[..self.header]))
    }

    /// An error message: not a query, not a reply.
    pub fn is_icmp_error(&self) -> bool {
        if self.piece == Piece::Later {
            return false;
        }
        match (self.protocol, self.transport().first()) {
            (number::ICMP, Some(kind)) => matches!(kind, 3 | 4 | 5 | 11 | 12),
            (number::ICMPV6, Some(kind)) => *kind < 128,
            _ => false,
        }
    }

    /// Why a director must not have forwarded it, if there is a reason in the
    /// packet itself.
    pub fn defect(&self) -> Option<&'static str> {
        if !self.is_header_right() {
            return Some("a wrong IPv4 header checksum");
        }
        let transport = self.transport();
        if self.piece == Piece::Later {
            return None;
        }
        let is_sound = match self.protocol {
            number::TCP => {
                let header = transport
                    .get(12)
                    .map_or(0, |octet| usize::from(octet >> 4) * 4);
                header >= 20 && header <= transport.len()
            }
            number::UDP => {
                let length = usize::from(word(transport, 4).unwrap_or(0));
                length >= 8 && (self.piece == Piece::First || length <= transport.len())
            }
            number::SCTP => transport.len() >= 16,
            // Redirects and parameter problems of IPv4 lead to no connection.
            number::ICMP => matches!(transport.first(), Some(3 | 4 | 11)),
            number::ICMPV6 => self.is_icmp_error(),
            _ => return Some("another protocol"),
        };
        (!is_sound).then_some("a transport header that is wrong")
    }
}

const fn piece(units: u16, has_more: bool) -> Piece {
    match (units, has_more) {
        (0, false) => Piece::Whole,
        (0, true) => Piece::First,
        _ => Piece::Later,
    }
}

/// The big-endian word at an offset.
pub fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// An address that one host may have: RFC 1122 section 3.2.1.3; RFC 4291, which
/// keeps mapped IPv4 addresses off the wire too.
pub fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !matches!(v4.octets()[0], 0 | 127 | 224..),
        IpAddr::V6(v6) => {
            !v6.is_multicast()
                && !v6.is_unspecified()
                && !v6.is_loopback()
                && v6.to_ipv4_mapped().is_none()
        }
    }
}
