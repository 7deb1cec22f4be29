//! Which addresses the members of a network have; the picture is in `topology`.
//!
//! IPv4 network 10.0.n.0/24 is 2001:db8:n::/64, and what is .11 in the one is
//! ::11 in the other, by its digits. Clients' addresses in a network begin at
//! .11, reals' too, or at .101 where both share one; its routers are .1 (the
//! director), .253 and .254.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Wiring;
use super::family::Pair;

/// The network of the clients and of the director's eth0.
pub(super) const FRONT: u8 = 1;
/// The network of the director's eth1.
pub(super) const BACK: u8 = 2;
/// The network behind the router.
pub(super) const FAR: u8 = 3;

/// The director's host number in each of its networks.
pub(super) const DIRECTOR: u8 = 1;
/// The router's, in the director's network and in the reals'.
pub(super) const ROUTER: u8 = 253;
/// The switch's.
pub(super) const SWITCH: u8 = 254;

/// The addresses of a wiring.
pub(super) struct Plan {
    /// The switch's bridges, in the order of their networks' numbers.
    pub(super) bridges: &'static [&'static str],
    pub(super) vip: Pair,
    /// The director's own address on the way to the reals.
    pub(super) director_towards_reals: Pair,
    reals_network: u8,
    before_first_real: u8,
}

impl Plan {
    pub(super) fn new(wiring: Wiring) -> Self {
        match wiring {
            Wiring::TwoArmed => Self::behind_the_director(&["front", "back"], BACK),
            Wiring::Routed => Self::behind_the_director(&["front", "back", "far"], FAR),
            Wiring::OneArmed => Self {
                bridges: &["lan"],
                vip: address(FRONT, 10),
                director_towards_reals: address(FRONT, DIRECTOR),
                reals_network: FRONT,
                before_first_real: 100,
            },
        }
    }

    fn behind_the_director(bridges: &'static [&'static str], reals_network: u8) -> Self {
        Self {
            bridges,
            vip: Pair {
                v4: Ipv4Addr::new(192, 0, 2, 10),
                v6: Ipv6Addr::new(0x2001, 0xdb8, 0x99, 0, 0, 0, 0, 0x10),
            },
            director_towards_reals: address(BACK, DIRECTOR),
            reals_network,
            before_first_real: 10,
        }
    }

    pub(super) fn client(&self, number: u8) -> Pair {
        address(FRONT, 10 + number)
    }

    pub(super) fn real(&self, number: u8) -> Pair {
        address(self.reals_network, self.before_first_real + number)
    }

    /// The bridge that the reals are on.
    pub(super) fn reals_bridge(&self) -> &'static str {
        self.bridges[self.bridges.len() - 1]
    }
}

/// Host `host` of network `network`.
pub(super) fn address(network: u8, host: u8) -> Pair {
    // 2001:db8:2::101 is host 101: the decimal digits, read as hexadecimal ones.
    let host = u16::from(host);
    let digits = host / 100 * 0x100 + host / 10 % 10 * 0x10 + host % 10;
    let network16 = u16::from(network);
    Pair {
        v4: Ipv4Addr::new(10, 0, network, host.to_be_bytes()[1]),
        v6: Ipv6Addr::new(0x2001, 0xdb8, network16, 0, 0, 0, 0, digits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_have_the_same_digits() {
        let pair = address(BACK, 254);
        assert_eq!(pair.v4.to_string(), "10.0.2.254");
        assert_eq!(pair.v6.to_string(), "2001:db8:2::254");
        let real = Plan::new(Wiring::OneArmed).real(1);
        assert_eq!(real.v6.to_string(), "2001:db8:1::101");
    }
}
