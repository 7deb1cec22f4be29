//! Who is who: few enough that packets drawn at random meet each other again
//! and again. Addresses are of the blocks for documentation (RFC 5737, 3849).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub type Mac = [u8; 6];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

use Family::{V4, V6};

pub const FAMILIES: [Family; 2] = [V4, V6];

/// Clients with an entry in the neighbour table, then one without, and one
/// that no route leads to.
pub const CLIENTS: usize = 10;
pub const REACHABLE_CLIENTS: usize = 8;
pub const CLIENT_PORTS: usize = 24;
pub const FIRST_CLIENT_PORT: u16 = 40_000;

/// Every service has them all.
pub const REALS: usize = 3;
/// The VLAN of some reals.
pub const VLAN: u16 = 0x123;

/// The VLAN that frames for the real at a place of its service get the tag of.
pub const fn vlan(index: usize) -> Option<u16> {
    match index {
        1 => Some(VLAN),
        _ => None,
    }
}

/// Masquerading addresses of a family.
pub const POOL: usize = 2;

/// The service's port, and what nat makes of it.
pub const PORT: u16 = 80;
pub const REAL_PORT: u16 = 8080;
/// A TCP service whose only real has the weight 0.
pub const QUIESCED_PORT: u16 = 81;
/// A TCP service that shares its reals, and under nat their port, with the
/// one on [`PORT`]: the second connection of a client port is a collision.
pub const RIVAL_PORT: u16 = 82;

/// The router that the clients' frames come from.
pub const ROUTER_MAC: Mac = [2, 0, 0, 0, 0, 1];
pub const DIRECTOR_MAC: Mac = [2, 0, 0, 0, 0, 2];
/// The director's, on the interface of the reals.
pub const EGRESS_MAC: Mac = [2, 0, 0, 0, 0, 3];
/// The director's, on the interface of the clients.
pub const OUTSIDE_MAC: Mac = [2, 0, 0, 0, 0, 0x51];

pub const fn client(family: Family, index: usize) -> IpAddr {
    let is_unroutable = index == CLIENTS - 1;
    match (family, is_unroutable) {
        (V4, false) => v4(198, 51, 100, 16 + index as u8),
        (V4, true) => v4(192, 0, 2, 209),
        (V6, false) => v6(0xc, 0x10 + index as u16),
        (V6, true) => v6(0xd, 0x10),
    }
}

pub const fn vip(family: Family) -> IpAddr {
    match family {
        V4 => v4(192, 0, 2, 10),
        V6 => v6(0xf, 0x10),
    }
}

/// Addresses that differ by two bits at least.
pub const fn real(family: Family, index: usize) -> IpAddr {
    match family {
        V4 => v4(203, 0, 113, 8 | 1 << index),
        V6 => v6(0xa, 0x10 | 1 << index),
    }
}

pub const fn pool(family: Family, index: usize) -> IpAddr {
    match family {
        V4 => v4(203, 0, 113, 201 + index as u8),
        V6 => v6(0xa, 0x201 + index as u16),
    }
}

/// The director's address on the way to the reals: the outer source.
pub const fn local(family: Family) -> IpAddr {
    match family {
        V4 => v4(203, 0, 113, 1),
        V6 => v6(0xa, 1),
    }
}

/// The prefix of outer sources where they are spread by flow, and its length.
pub const fn tunnel_sources(family: Family) -> (IpAddr, u8) {
    match family {
        V4 => (v4(100, 64, 0, 0), 16),
        V6 => (v6(0xe, 0), 64),
    }
}

pub fn is_tunnel_source(address: IpAddr) -> bool {
    match (address, tunnel_sources(family(address)).0) {
        (IpAddr::V4(v4), IpAddr::V4(prefix)) => v4.octets()[..2] == prefix.octets()[..2],
        (IpAddr::V6(v6), IpAddr::V6(prefix)) => v6.octets()[..8] == prefix.octets()[..8],
        _ => false,
    }
}

/// Somebody on the way: the source of ICMP errors.
pub const fn router(family: Family) -> IpAddr {
    match family {
        V4 => v4(198, 51, 100, 254),
        V6 => v6(0xc, 0xfe),
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn v6(net: u16, host: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, host))
}

pub const fn family(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => V4,
        IpAddr::V6(_) => V6,
    }
}

/// The link-layer address of whoever has an address.
pub const fn mac_of(address: IpAddr) -> Mac {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            [2, a, b, c, d, 4]
        }
        IpAddr::V6(v6) => {
            let [.., y, z] = v6.octets();
            [2, v6.octets()[5], 0, y, z, 6]
        }
    }
}

pub fn is_client(address: IpAddr) -> bool {
    (0..CLIENTS).any(|index| client(family(address), index) == address)
}

/// The real with this address, by its place in the service.
pub fn real_index(address: IpAddr) -> Option<usize> {
    (0..REALS).find(|index| real(family(address), *index) == address)
}

pub fn is_of_pool(address: IpAddr) -> bool {
    (0..POOL).any(|index| pool(family(address), index) == address)
}
