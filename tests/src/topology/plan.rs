//! Which addresses the members of a network have; the picture is in `topology`.

use std::net::Ipv4Addr;

use super::Wiring;

/// The addresses of a wiring.
pub(super) struct Plan {
    pub(super) bridges: &'static [&'static str],
    pub(super) vip: Ipv4Addr,
    pub(super) director_towards_reals: Ipv4Addr,
    first_real: [u8; 4],
}

impl Plan {
    pub(super) fn new(wiring: Wiring) -> Self {
        match wiring {
            Wiring::TwoArmed => Self {
                bridges: &["front", "back"],
                vip: Ipv4Addr::new(192, 0, 2, 10),
                director_towards_reals: Ipv4Addr::new(10, 0, 2, 1),
                first_real: [10, 0, 2, 11],
            },
            Wiring::OneArmed => Self {
                bridges: &["lan"],
                vip: Ipv4Addr::new(10, 0, 1, 10),
                director_towards_reals: Ipv4Addr::new(10, 0, 1, 1),
                first_real: [10, 0, 1, 101],
            },
        }
    }

    pub(super) fn client(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 1, 10 + number)
    }

    pub(super) fn real(&self, number: u8) -> Ipv4Addr {
        let [a, b, c, first] = self.first_real;
        Ipv4Addr::new(a, b, c, first + number - 1)
    }
}
