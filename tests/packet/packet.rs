//! A packet as a plain value, so that a row of a table reads at a glance: what
//! goes in, and what is expected to come out.

use std::{net::IpAddr, ops::Range};

use crate::extension::{Chain, Extension};

pub type Mac = [u8; 6];
pub type Ip = IpAddr;

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const ACK: u8 = 0x10;

/// SCTP's chunk types (RFC 9260 section 3.2).
pub const DATA: u8 = 0;
pub const INIT: u8 = 1;
pub const INIT_ACK: u8 = 2;
pub const ABORT: u8 = 6;
pub const COOKIE_ECHO: u8 = 10;

/// IP with a transport in an Ethernet frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    pub to_mac: Mac,
    pub from_mac: Mac,
    /// VLAN tags, the outer one first.
    pub tags: [Option<Tag>; 2],
    /// The tunnel's headers, where there are any.
    pub outer: Option<Outer>,
    pub ip: Header,
    /// Four-byte words of options in the IPv4 header, all "no operation".
    pub option_words: usize,
    /// Extension headers of IPv6.
    pub extensions: Chain,
    /// Which bytes of what may be fragmented this is a fragment of; None: all
    /// of them. In IPv6 that is what comes after the place of the fragment
    /// header, which is the last of the extension headers unless said.
    pub part: Option<Part>,
    pub transport: Transport,
    /// 0 where the transport has no ports.
    pub source_port: u16,
    pub destination_port: u16,
    /// Bytes after the transport header: [`pattern`], or what an ICMP message
    /// quotes.
    pub payload: usize,
    /// Bytes in the frame after the datagram.
    pub padding: usize,
}

/// A VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// 0x8100 or 0x88a8.
    pub protocol: u16,
    /// Priority (3 bits), drop eligible (1), VLAN identifier (12).
    pub control: u16,
}

/// What may vary in an IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its family is the packet's.
    pub source: Ip,
    pub destination: Ip,
    /// DSCP and ECN; the traffic class of IPv6.
    pub tos: u8,
    /// In IPv6 the fragment header's; 0 without one.
    pub id: u32,
    /// False in IPv6.
    pub df: bool,
    /// The hop limit of IPv6.
    pub ttl: u8,
    /// The flow label of IPv6; 0 in IPv4.
    pub label: u32,
}

/// A tunnel's headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    pub ip: Header,
    pub encapsulation: Encapsulation,
}

/// What is between the outer IP header and the inner one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encapsulation {
    /// Nothing: protocol 4 or 41.
    Ip,
    /// UDP to a port, from one of 49152 to 65535, and GUE's four bytes.
    Gue { port: u16, checksum: bool },
    /// Four bytes, or eight with a checksum.
    Gre { checksum: bool },
}

/// Bytes of a datagram from here to there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// A multiple of 8.
    pub from: usize,
    /// Where this is the datagram's end, or beyond, the fragment is the last.
    pub to: usize,
}

/// Beyond every datagram's end.
pub const END: usize = usize::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Flags.
    Tcp(u8),
    Udp,
    /// UDP whose sender computed no checksum: 0 on the wire.
    UdpUnsummed,
    /// The type of the only chunk, whose value is the payload.
    Sctp(u8),
    /// ICMP or ICMPv6: type, code, and the second word of the header.
    Icmp {
        kind: u8,
        code: u8,
        word: u32,
    },
}

/// The payload of every packet: a shift of it is seen.
pub fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|index| (index * 7 + index / 256 + 3) as u8)
        .collect()
}

impl Transport {
    /// IP protocol number.
    pub const fn number(self, of_ipv6: bool) -> u8 {
        match self {
            Self::Tcp(_) => 6,
            Self::Udp | Self::UdpUnsummed => 17,
            Self::Sctp(_) => 132,
            Self::Icmp { .. } if of_ipv6 => 58,
            Self::Icmp { .. } => 1,
        }
    }
}

impl Header {
    pub const fn is_ipv6(&self) -> bool {
        self.source.is_ipv6()
    }

    pub const fn ttl(self, ttl: u8) -> Self {
        Self { ttl, ..self }
    }
}

impl Outer {
    pub const fn ttl(self, ttl: u8) -> Self {
        Self {
            ip: self.ip.ttl(ttl),
            ..self
        }
    }

    /// Bytes that it adds to a datagram.
    pub const fn bytes(&self) -> usize {
        let ip = if self.ip.is_ipv6() { 40 } else { 20 };
        let shim = match self.encapsulation {
            Encapsulation::Ip => 0,
            Encapsulation::Gue { .. } => 12,
            Encapsulation::Gre { checksum: true } => 8,
            Encapsulation::Gre { checksum: false } => 4,
        };
        ip + shim
    }
}

impl Part {
    /// The bytes that there are of so many.
    pub fn of(self, length: usize) -> Range<usize> {
        self.from..self.to.min(length)
    }
}

impl Packet {
    /// Bytes of the datagram, outer headers apart.
    pub fn length(&self) -> usize {
        self.datagram(&pattern(self.payload)).len()
    }

    /// The packet with these TCP flags.
    pub const fn with(self, flags: u8) -> Self {
        Self {
            transport: Transport::Tcp(flags),
            ..self
        }
    }

    /// The packet from another client port.
    pub const fn port(self, source_port: u16) -> Self {
        Self {
            source_port,
            ..self
        }
    }

    /// The packet with another TTL or hop limit.
    pub const fn ttl(self, ttl: u8) -> Self {
        Self {
            ip: self.ip.ttl(ttl),
            ..self
        }
    }

    /// The packet with another payload.
    pub const fn payload(self, payload: usize) -> Self {
        Self { payload, ..self }
    }

    /// The fragment that has these bytes.
    pub const fn part(self, from: usize, to: usize) -> Self {
        Self {
            part: Some(Part { from, to }),
            ..self
        }
    }

    /// The packet with a payload that makes the datagram so long.
    pub fn filling(self, length: usize) -> Self {
        self.payload(length - self.payload(0).length())
    }

    /// The packet with options that an IPv4 header has room for.
    pub const fn options(self, option_words: usize) -> Self {
        Self {
            option_words,
            ..self
        }
    }

    /// The packet with IPv6 extension headers.
    pub const fn extended(self, list: &[Extension]) -> Self {
        Self {
            extensions: Chain::of(list),
            ..self
        }
    }

    /// The packet with another ID, and without DF.
    pub const fn fragmentable(self, id: u32) -> Self {
        let ip = Header {
            id,
            df: false,
            ..self.ip
        };
        Self { ip, ..self }
    }

    /// The packet with a VLAN tag.
    pub const fn tagged(self, control: u16) -> Self {
        Self {
            tags: [
                Some(Tag {
                    protocol: 0x8100,
                    control,
                }),
                None,
            ],
            ..self
        }
    }

    /// The packet with two: a service provider's (IEEE 802.1ad) and a
    /// customer's.
    pub const fn tagged_twice(self, outer: u16, inner: u16) -> Self {
        let Self {
            tags: [customer, _],
            ..
        } = self.tagged(inner);
        Self {
            tags: [
                Some(Tag {
                    protocol: 0x88a8,
                    control: outer,
                }),
                customer,
            ],
            ..self
        }
    }
}
