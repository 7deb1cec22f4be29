//! What varies from packet to packet of the same kind.

use std::net::IpAddr;

use fastrand::Rng;

use crate::{
    draft::{Draft, Header, IPV4, IPV6, number},
    world::{DIRECTOR_MAC, Family, ROUTER_MAC, client, family, vip},
};

/// Longest options of IPv4; more extension headers than a director walks past.
const MAX_EXTRAS: usize = 40;

/// The parts of an IP header that are nobody's in particular.
pub struct Shape {
    extras: [u8; MAX_EXTRAS],
    extras_length: usize,
    ttl: u8,
    tos: u8,
    label: u32,
    df: bool,
    id: u32,
}

impl Shape {
    pub fn plain() -> Self {
        Self {
            extras: [1; MAX_EXTRAS],
            extras_length: 0,
            ttl: 64,
            tos: 0,
            label: 0,
            df: true,
            id: 0,
        }
    }

    pub fn any(rng: &mut Rng, family: Family) -> Self {
        let mut shape = Self {
            ttl: match rng.u8(..64) {
                0 => 0,
                1 => 1,
                2 => 2,
                _ => 64,
            },
            tos: if rng.bool() { 0 } else { rng.u8(..) },
            label: rng.u32(..1 << 20),
            df: rng.u8(..4) > 0,
            id: rng.u32(..),
            ..Self::plain()
        };
        match family {
            Family::V4 if rng.u8(..8) == 0 => shape.extras_length = rng.usize(1..=10) * 4,
            Family::V6 if rng.u8(..5) == 0 => {
                const EXTENSIONS: [u8; 5] = [
                    number::HOP_BY_HOP,
                    number::ROUTING,
                    number::FRAGMENT,
                    number::AUTHENTICATION,
                    number::DESTINATION,
                ];
                let most = if rng.u8(..8) == 0 { 12 } else { 4 };
                shape.extras_length = rng.usize(1..=most);
                for extra in &mut shape.extras[..shape.extras_length] {
                    *extra = EXTENSIONS[rng.usize(..EXTENSIONS.len())];
                }
            }
            _ => {}
        }
        shape
    }

    pub fn header(&self, source: IpAddr, destination: IpAddr, protocol: u8) -> Header<'_> {
        Header {
            source,
            destination,
            protocol,
            ttl: self.ttl,
            tos: self.tos,
            label: self.label,
            df: self.df,
            id: self.id,
            fragment: None,
            extras: &self.extras[..self.extras_length],
        }
    }
}

/// The Ethernet header of a packet to the director, with tags now and then.
pub fn ethernet(draft: &mut Draft, rng: &mut Rng, of: Family) {
    let mut tags = [[0x8100, 0]; 3];
    for tag in &mut tags {
        tag[1] = rng.u16(..);
    }
    let number = match rng.u8(..32) {
        0..4 => 1,
        4..6 => {
            tags[0][0] = 0x88a8;
            2
        }
        6 => 2,
        7 => 3,
        _ => 0,
    };
    let to = match rng.u8(..128) {
        0 => [0xff; 6],
        1 => [0x33, 0x33, 0, 0, 0, 1],
        _ => DIRECTOR_MAC,
    };
    draft.ethernet(to, ROUTER_MAC, &tags[..number], ether_type(of));
}

pub const fn ether_type(of: Family) -> u16 {
    match of {
        Family::V4 => IPV4,
        Family::V6 => IPV6,
    }
}

/// Bytes of payload: mostly few, some about an MTU, few a jumbo frame's.
pub fn payload(rng: &mut Rng) -> usize {
    match rng.u8(..64) {
        0 => rng.usize(..9100),
        1 => rng.usize(1500..4100),
        2..5 => rng.usize(1300..1500),
        5..12 => rng.usize(..1400),
        12..24 => 0,
        _ => rng.usize(..100),
    }
}

pub fn payload_of(draft: &mut Draft, rng: &mut Rng) {
    let bytes = payload(rng);
    let first = rng.u8(..);
    draft.data(bytes, first);
}

/// What pads a short frame, and now and then a long one.
pub fn padding(draft: &mut Draft, rng: &mut Rng) {
    let extra = match rng.u8(..16) {
        0 => rng.usize(..64),
        1..8 => 60usize.saturating_sub(draft.len()),
        _ => 0,
    };
    draft.data(extra, 0);
}

/// An address that is nobody's, or should not be seen on a wire.
pub fn special(rng: &mut Rng, of: Family) -> IpAddr {
    match of {
        Family::V4 => {
            const SPECIAL: [[u8; 4]; 8] = [
                [0, 0, 0, 0],
                [0, 1, 2, 3],
                [127, 0, 0, 1],
                [224, 0, 0, 1],
                [239, 255, 255, 250],
                [240, 0, 0, 1],
                [255, 255, 255, 255],
                [169, 254, 1, 1],
            ];
            SPECIAL[rng.usize(..SPECIAL.len())].into()
        }
        // Mapped IPv4 (RFC 4291 section 2.5.5.2): the VIP's, a client's.
        Family::V6 if rng.u8(..3) == 0 => {
            let address = if rng.bool() {
                vip(Family::V4)
            } else {
                client(Family::V4, 0)
            };
            match address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
                IpAddr::V6(_) => address,
            }
        }
        Family::V6 => {
            const SPECIAL: [[u8; 2]; 4] = [[0, 0], [0xff, 0x02], [0xfe, 0x80], [0xff, 0x0e]];
            let [first, second] = SPECIAL[rng.usize(..SPECIAL.len())];
            let mut octets = [0; 16];
            octets[0] = first;
            octets[1] = second;
            octets[15] = rng.u8(..2);
            octets.into()
        }
    }
}

/// Any address at all.
pub fn address(rng: &mut Rng, of: Family) -> IpAddr {
    match of {
        Family::V4 => rng.u32(..).to_be_bytes().into(),
        Family::V6 => rng.u128(..).to_be_bytes().into(),
    }
}

/// The family of an IP header's addresses.
pub const fn of(header: &Header<'_>) -> Family {
    family(header.source)
}
