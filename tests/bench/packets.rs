//! The measured packets, and what the wrapper is told of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::bench::{Checksum, MOST_PACKET_BYTES, Template};
use lb_daemon::config::model::{IpFamily, Protocol};

use crate::{
    frames::{ETHERNET, Headers, Macs, Ports, Transport, ether_type, frame, ip_bytes},
    wrapper::Flows,
};

/// The virtual service's port, and the reals' by nat.
pub(crate) const PORT: u16 = 80;
pub(crate) const NAT_PORT: u16 = 8080;
const CLIENT_PORT: u16 = 40_000;

/// The director's, on the only interface that packets come in by, and that of
/// whoever sends them.
pub(crate) const DIRECTOR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const SENDER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// TTL and flow label of what comes in.
pub(crate) const TTL: u8 = 64;
const LABEL: u32 = 0x1_2345;

/// The last word of the first client's address, in either family: as an IPv4
/// address 100.64.0.0, and the clients after it up to 2^23.
const FIRST_CLIENT: u32 = 0x6440_0000;
/// The same of the clients that may not connect: 172.16.0.0, and up to 2^20.
pub(crate) const FIRST_DENIED: u32 = 0xac10_0000;
/// And the prefix's length of all of these.
pub(crate) const DENIED_BITS: u8 = 12;

/// What kind of packet a case sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A SYN, or UDP's first datagram.
    Beginning,
    Established,
    /// From the real by nat to the client.
    Back,
    /// To an address of no service.
    NotOurs,
    /// An echo request to the VIP.
    Echo,
    /// A router's "time exceeded" about what the real sent to the client.
    Error,
    /// A SYN of a client that may not connect.
    Denied,
}

/// A packet of any client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub kind: Kind,
    pub family: IpFamily,
    pub protocol: Protocol,
}

/// An address in each family.
const fn either(family: IpFamily, v4: Ipv4Addr, v6: Ipv6Addr) -> IpAddr {
    match family {
        IpFamily::V4 => IpAddr::V4(v4),
        IpFamily::V6 => IpAddr::V6(v6),
    }
}

const fn documentation(network: u16, last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, network, 0, 0, 0, 0, last)
}

pub(crate) const fn vip(family: IpFamily) -> IpAddr {
    either(
        family,
        Ipv4Addr::new(192, 0, 2, 10),
        documentation(0xa, 0x10),
    )
}

pub(crate) const fn real(family: IpFamily) -> IpAddr {
    either(family, Ipv4Addr::new(10, 0, 2, 2), documentation(0xf, 2))
}

/// The director's address on the way to the reals: the tunnels' outer source.
pub(crate) const fn local(family: IpFamily) -> IpAddr {
    either(family, Ipv4Addr::new(10, 0, 2, 1), documentation(0xf, 1))
}

const fn foreign(family: IpFamily) -> IpAddr {
    either(
        family,
        Ipv4Addr::new(198, 51, 100, 9),
        documentation(0xb, 9),
    )
}

const fn router(family: IpFamily) -> IpAddr {
    either(
        family,
        Ipv4Addr::new(198, 51, 100, 1),
        documentation(0xb, 1),
    )
}

/// An address with this last word.
pub(crate) const fn client_at(family: IpFamily, last: u32) -> IpAddr {
    let (high, low) = ((last >> 16) as u16, last as u16);
    either(
        family,
        Ipv4Addr::from_bits(last),
        Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, high, low),
    )
}

/// The client of a flow.
pub(crate) const fn client(family: IpFamily, flow: u32) -> IpAddr {
    client_at(family, FIRST_CLIENT + flow)
}

/// Ports as a client has them.
pub(crate) const PORTS: Ports = Ports {
    source: CLIENT_PORT,
    destination: PORT,
};

/// Those of an answer from a port.
pub(crate) const fn answer_from(port: u16) -> Ports {
    Ports {
        source: port,
        destination: CLIENT_PORT,
    }
}

impl Packet {
    pub(crate) const fn new(kind: Kind, family: IpFamily, protocol: Protocol) -> Self {
        Self {
            kind,
            family,
            protocol,
        }
    }

    /// The same client's packet of another kind.
    pub(crate) const fn of_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// Bytes of the frame.
    pub(crate) const fn bytes(&self) -> usize {
        match (self.family, self.kind) {
            (IpFamily::V4, Kind::Error) => 80,
            (IpFamily::V4, _) => 64,
            (IpFamily::V6, Kind::Error) => 112,
            (IpFamily::V6, _) => 80,
        }
    }

    /// The headers of a flow's packet.
    pub(crate) fn headers(&self, flow: u32) -> Headers {
        let family = self.family;
        let (client, vip) = (client(family, flow), vip(family));
        let tcp = |ports, is_syn| match self.protocol {
            Protocol::Udp => Transport::Udp(ports),
            _ => Transport::Tcp { ports, is_syn },
        };
        let (source, destination, transport) = match self.kind {
            Kind::Beginning => (client, vip, tcp(PORTS, true)),
            Kind::Established => (client, vip, tcp(PORTS, false)),
            Kind::Back => (real(family), client, tcp(answer_from(NAT_PORT), false)),
            Kind::NotOurs => (client, foreign(family), tcp(PORTS, false)),
            Kind::Echo => (client, vip, Transport::Echo),
            Kind::Error => (router(family), vip, Transport::TimeExceeded),
            Kind::Denied => (
                client_at(family, FIRST_DENIED + flow),
                vip,
                tcp(PORTS, true),
            ),
        };
        Headers {
            macs: Macs {
                destination: DIRECTOR_MAC,
                source: SENDER_MAC,
            },
            source,
            destination,
            ttl: TTL,
            label: LABEL,
            transport,
        }
    }

    /// What follows the transport header in a flow's packet.
    pub(crate) fn data(&self, flow: u32) -> Vec<u8> {
        let headers = self.headers(flow);
        let before = ip_bytes(headers.source) + headers.transport.header_bytes();
        if self.kind != Kind::Error {
            let room = self.bytes() - ETHERNET - before;
            return (0..room).map(|index| (index * 7 + 3) as u8).collect();
        }
        // As little as there may be (RFC 792).
        let quoted = Headers {
            source: vip(self.family),
            destination: client(self.family, flow),
            ttl: 1,
            transport: Transport::Tcp {
                ports: answer_from(PORT),
                is_syn: false,
            },
            ..headers
        };
        let mut quotation = quoted.datagram(&[]);
        quotation.truncate(ip_bytes(quoted.source) + 8);
        quotation
    }

    /// A flow's packet as it comes in.
    pub(crate) fn frame(&self, flow: u32) -> Vec<u8> {
        let headers = self.headers(flow);
        let datagram = headers.datagram(&self.data(flow));
        let ether_type = ether_type(headers.source);
        frame(headers.macs, ether_type, &datagram, self.bytes())
    }

    /// What the wrapper restores: the first flow's packet, and whose turn is when.
    pub(crate) fn template(&self, flows: Flows) -> Template {
        let bytes = self.frame(0);
        let mut packet = [0; MOST_PACKET_BYTES / 8];
        for (word, chunk) in packet.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_ne_bytes(chunk.try_into().expect("eight bytes"));
        }
        let places = self.places();
        let checksum = |place: Option<usize>| {
            place.map_or_else(Checksum::default, |at| Checksum {
                at: at as u32,
                value: u16::from_ne_bytes([bytes[at], bytes[at + 1]]),
                is_udp: u16::from(self.protocol == Protocol::Udp),
            })
        };
        Template {
            packet,
            checksums: places.checksums.map(checksum),
            first_client: match self.kind {
                Kind::Denied => FIRST_DENIED,
                _ => FIRST_CLIENT,
            },
            client_at: places.client as u32,
            turn: flows.first,
            stride: flows.stride,
            flow_mask: flows.number - 1,
            pad: 0,
        }
    }

    /// Where the frame has what the client's address changes.
    fn places(&self) -> Places {
        let (ip, source, destination, checksum) = match self.family {
            IpFamily::V4 => (20, 12, 16, Some(10)),
            IpFamily::V6 => (40, 8 + 12, 24 + 12, None),
        };
        let checksum_of_ip = |header: usize| checksum.map(|at| header + at);
        let transport = ETHERNET + ip;
        let checksum_behind = |at: usize| Some(transport + at);
        // ICMP's does not cover the addresses, and a quoted IPv4 header adds
        // nothing to it, whatever its addresses: its own checksum sees to that.
        let checksum_of_icmp = match self.family {
            IpFamily::V4 => None,
            IpFamily::V6 => checksum_behind(2),
        };
        let in_segment = match self.protocol {
            Protocol::Udp => checksum_behind(6),
            _ => checksum_behind(16),
        };
        let quoted = transport + 8;
        let (client, checksums) = match self.kind {
            Kind::Back => (
                ETHERNET + destination,
                [checksum_of_ip(ETHERNET), in_segment],
            ),
            Kind::Echo => (
                ETHERNET + source,
                [checksum_of_ip(ETHERNET), checksum_of_icmp],
            ),
            Kind::Error => (
                quoted + destination,
                [checksum_of_ip(quoted), checksum_of_icmp],
            ),
            _ => (ETHERNET + source, [checksum_of_ip(ETHERNET), in_segment]),
        };
        Places { client, checksums }
    }
}

/// Offsets in a frame.
struct Places {
    /// The last word of the client's address.
    client: usize,
    checksums: [Option<usize>; 2],
}
