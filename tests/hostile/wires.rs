//! A network namespace for what the data plane asks the kernel on nat's way
//! back: routes and neighbours. Nothing is ever sent.

use lb_tests::{namespace::Namespace, scratch::Scratch};
use nix::net::if_::if_nametoindex;

use crate::{
    generate::Side,
    world::{CLIENTS, FAMILIES, Mac, REACHABLE_CLIENTS, client, mac_of},
};

/// Interface indices in the namespace.
#[derive(Clone, Copy, Debug)]
pub struct Wires {
    /// Towards the clients. Its MTU is smaller than the reals'.
    pub outside: u32,
    /// Towards the reals.
    pub inside: u32,
}

impl Wires {
    pub const fn index(&self, side: Side) -> u32 {
        match side {
            Side::Clients => self.outside,
            Side::Reals => self.inside,
        }
    }
}

/// MTU of [`Wires::outside`].
pub const OUTSIDE_MTU: u16 = 1400;

/// Runs a test in a director's namespace: forwarding on, all clients but two
/// known neighbours, no default route.
pub fn with_wires(test: impl FnOnce(Wires) + Send) {
    let scratch = Scratch::create().unwrap();
    let name = format!("lbd-{}-{}-hostile", std::process::id(), scratch.number());
    let namespace = Namespace::create(&name).unwrap();
    let mut batch = format!(
        "link add outside address 02:00:00:00:00:51 type veth peer name outside1\n\
         link add inside type veth peer name inside1\n\
         link set outside mtu {OUTSIDE_MTU} up\n\
         link set outside1 up\n\
         link set inside up\n\
         link set inside1 up\n\
         address add 198.51.100.1/24 dev outside\n\
         address add 2001:db8:c::1/64 dev outside nodad\n\
         address add 203.0.113.1/24 dev inside\n\
         address add 2001:db8:a::1/64 dev inside nodad\n"
    );
    for family in FAMILIES {
        for index in 0..REACHABLE_CLIENTS {
            let address = client(family, index);
            let mac = text(mac_of(address));
            batch += &format!("neighbour add {address} lladdr {mac} nud permanent dev outside\n");
        }
    }
    assert_eq!(CLIENTS, REACHABLE_CLIENTS + 2);
    namespace.ip(&batch).unwrap();
    let forwarding = [
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv6/conf/all/forwarding", "1"),
    ];
    namespace.sysctls(&forwarding).unwrap();
    let index = |name| if_nametoindex(name).unwrap();
    namespace
        .enter(|| {
            test(Wires {
                outside: index("outside"),
                inside: index("inside"),
            });
        })
        .unwrap();
}

fn text(mac: Mac) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}
