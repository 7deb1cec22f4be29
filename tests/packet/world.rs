//! Who is who in the tests: addresses from the blocks for documentation (RFC
//! 5737, RFC 3849), and the first packets of a conversation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    extension::Chain,
    packet::{Header, INIT, Ip, Mac, Packet, SYN, Transport},
};

pub const CLIENT: Ip = v4(198, 51, 100, 7);
pub const VIP: Ip = v4(192, 0, 2, 10);
pub const REAL: Ip = v4(203, 0, 113, 11);
pub const OTHER_REAL: Ip = v4(203, 0, 113, 12);
pub const THIRD_REAL: Ip = v4(203, 0, 113, 13);
/// The director's address on the way to the reals: the outer source.
pub const LOCAL: Ip = v4(203, 0, 113, 1);
/// A router on the way to the client, or to a real.
pub const ROUTER: Ip = v4(198, 18, 0, 1);
/// What masquerade puts in the client's place.
pub const POOL: Ip = v4(203, 0, 113, 200);

/// The same in IPv6: clients have 2001:db8:c::/64, services 2001:db8:a::/64,
/// reals 2001:db8:f::/64.
pub const CLIENT_V6: Ip = v6([0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 7]);
pub const VIP_V6: Ip = v6([0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x10]);
pub const REAL_V6: Ip = v6([0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 0x11]);
pub const OTHER_REAL_V6: Ip = v6([0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 0x12]);
pub const LOCAL_V6: Ip = v6([0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 1]);
pub const ROUTER_V6: Ip = v6([0x2001, 0xdb8, 0xe, 0, 0, 0, 0, 1]);
pub const POOL_V6: Ip = v6([0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 0x200]);

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
    tags: [None; 2],
    outer: None,
    ip: Header {
        source: CLIENT,
        destination: VIP,
        tos: 0,
        id: 0x1234,
        df: true,
        ttl: 64,
        label: 0,
    },
    option_words: 0,
    extensions: Chain::EMPTY,
    part: None,
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

/// The beginning of an SCTP association; the chunk's value is of the least
/// length (RFC 9260 section 3.3.2).
pub const SCTP_INIT: Packet = Packet {
    transport: Transport::Sctp(INIT),
    payload: 16,
    ..TCP_SYN
};

pub const TCP_SYN_V6: Packet = Packet {
    ip: Header {
        source: CLIENT_V6,
        destination: VIP_V6,
        tos: 0,
        id: 0,
        df: false,
        ttl: 64,
        label: 0x1_2345,
    },
    ..TCP_SYN
};

pub const DATAGRAM_V6: Packet = Packet {
    ip: TCP_SYN_V6.ip,
    ..DATAGRAM
};

pub const SCTP_INIT_V6: Packet = Packet {
    ip: TCP_SYN_V6.ip,
    ..SCTP_INIT
};

/// The MAC address of whoever has an address behind the director.
pub const fn mac_of(address: Ip) -> Mac {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [2, 1, a, b, c, d]
        }
        IpAddr::V6(address) => {
            let octets = address.octets();
            [2, 6, octets[5], octets[13], octets[14], octets[15]]
        }
    }
}

pub const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ip {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

pub const fn v6(segments: [u16; 8]) -> Ip {
    let [a, b, c, d, e, f, g, h] = segments;
    IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h))
}
