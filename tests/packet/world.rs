//! Who is who in the tests: addresses from the blocks for documentation (RFC
//! 5737), and the first packets of a conversation.

use crate::packet::{Header, Ip, Mac, Packet, SYN, Transport};

pub const CLIENT: Ip = [198, 51, 100, 7];
pub const VIP: Ip = [192, 0, 2, 10];
pub const REAL: Ip = [203, 0, 113, 11];
pub const OTHER_REAL: Ip = [203, 0, 113, 12];
pub const THIRD_REAL: Ip = [203, 0, 113, 13];
/// The director's address on the way to the reals: the outer source.
pub const LOCAL: Ip = [203, 0, 113, 1];

/// The router that the client's frames come from.
pub const ROUTER_MAC: Mac = [2, 0, 0, 0, 0, 1];
pub const DIRECTOR_MAC: Mac = [2, 0, 0, 0, 0, 2];
/// The director's, on the interface of the reals.
pub const EGRESS_MAC: Mac = [2, 0, 0, 0, 0, 3];
pub const REAL_MAC: Mac = mac_of(REAL);

pub const CLIENT_PORT: u16 = 40_000;
pub const PORT: u16 = 80;
/// What nat translates the port to.
pub const REAL_PORT: u16 = 8080;

/// A SYN of the client to the virtual service.
pub const TCP_SYN: Packet = Packet {
    to_mac: DIRECTOR_MAC,
    from_mac: ROUTER_MAC,
    outer: None,
    ip: Header {
        source: CLIENT,
        destination: VIP,
        tos: 0,
        id: 0x1234,
        df: true,
        ttl: 64,
    },
    option_words: 0,
    transport: Transport::Tcp(SYN),
    source_port: CLIENT_PORT,
    destination_port: PORT,
    payload: 0,
    padding: 0,
};

/// A datagram of the client to the virtual service.
pub const DATAGRAM: Packet = Packet {
    transport: Transport::Udp,
    payload: 32,
    ..TCP_SYN
};

/// The MAC address of whoever has an address behind the director.
pub const fn mac_of(address: Ip) -> Mac {
    let [a, b, c, d] = address;
    [2, 1, a, b, c, d]
}

impl Packet {
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

    /// The packet with another TTL.
    pub const fn ttl(self, ttl: u8) -> Self {
        Self {
            ip: Header { ttl, ..self.ip },
            ..self
        }
    }
}
