//! ICMP and ICMPv6 errors as values: what they quote, and what must become of
//! them on a connection's way.

use crate::{
    judge::Message,
    packet::{Header, Ip, Packet, Transport, pattern},
    ways::{Method, Way},
    world::{CLIENT_PORT, PORT, ROUTER, ROUTER_V6, TCP_SYN},
};

/// Type, code and second word.
pub type Kind = (u8, u8, u32);

/// An error about `quoted`, of which as many bytes are quoted.
pub fn about(quoted: &Packet, kind: Kind, to: Ip, bytes: usize) -> Message {
    let mut quote = quoted.datagram(&pattern(quoted.payload));
    quote.truncate(bytes);
    quoting(quote, kind, to)
}

/// An error from a router, with any quotation.
pub fn quoting(quote: Vec<u8>, (kind, code, word): Kind, to: Ip) -> Message {
    let is_ipv6 = to.is_ipv6();
    Message {
        packet: Packet {
            ip: Header {
                source: if is_ipv6 { ROUTER_V6 } else { ROUTER },
                destination: to,
                tos: 0xc0,
                id: if is_ipv6 { 0 } else { 0x4321 },
                df: false,
                ttl: 60,
                label: 0,
            },
            transport: Transport::Icmp { kind, code, word },
            source_port: 0,
            destination_port: 0,
            payload: quote.len(),
            ..TCP_SYN
        },
        quote,
    }
}

/// What a server sends to the client, as a router far from here sees it.
pub fn answer(way: &Way) -> Packet {
    let packet = way.established().payload(1000).ttl(3);
    Packet {
        ip: Header {
            source: way.vip(),
            destination: way.client(),
            ..packet.ip
        },
        source_port: PORT,
        destination_port: CLIENT_PORT,
        ..packet
    }
}

/// The quotation with another's addresses and ports. The transport's checksum
/// is left: most quotations do not have what it covers.
fn requoted(quoted: &Packet, translated: &Packet, bytes: usize) -> Vec<u8> {
    let original = quoted.datagram(&pattern(quoted.payload));
    let mut quote = translated.datagram(&pattern(translated.payload));
    let (header, sum) = match quoted.transport {
        Transport::Tcp(_) => (20, 16),
        Transport::Udp | Transport::UdpUnsummed => (8, 6),
        _ => (0, 0),
    };
    if header > 0 {
        let segment = header + quoted.payload;
        let at = quote.len() - quoted.part.map_or(segment, |part| part.of(segment).len()) + sum;
        quote[at..at + 2].copy_from_slice(&original[at..at + 2]);
    }
    quote.truncate(bytes);
    quote
}

impl Way {
    /// An error about a packet of the VIP, as the real gets it.
    pub fn error_there(&self, message: &Message, quoted: &Packet) -> Message {
        let mut packet = self.there(message.packet);
        // An error has no ports to translate.
        (packet.source_port, packet.destination_port) = (0, 0);
        packet.ip.source = message.packet.ip.source;
        let mut real_sent = *quoted;
        if matches!(self.method, Method::Nat | Method::Masquerade) {
            real_sent.ip.source = self.real();
            real_sent.source_port = self.real_port();
        }
        if self.method == Method::Masquerade {
            real_sent.ip.destination = self.pool();
            real_sent.destination_port = self.masquerade_port;
        }
        Message {
            packet,
            quote: requoted(quoted, &real_sent, message.quote.len()),
        }
    }

    /// An error about a packet to the real, as the client gets it.
    pub fn error_back(&self, message: &Message, quoted: &Packet) -> Message {
        let mut packet = self.back(message.packet);
        (packet.source_port, packet.destination_port) = (0, 0);
        let client_sent = Packet {
            ip: Header {
                source: self.client(),
                destination: self.vip(),
                ..quoted.ip
            },
            source_port: CLIENT_PORT,
            destination_port: PORT,
            ..*quoted
        };
        Message {
            packet,
            quote: requoted(quoted, &client_sent, message.quote.len()),
        }
    }
}
