//! A network namespace with two wires, for what the data plane asks the kernel:
//! routes and neighbours on nat's way back. Nothing is ever sent.

use lb_tests::{namespace::Namespace, scratch::Scratch};
use nix::net::if_::if_nametoindex;

use crate::packet::Mac;

/// The client's router, as the neighbour table has it.
pub const CLIENT_MAC: Mac = [2, 0, 0, 0, 0, 0x77];
/// The director's address on the side of the clients.
pub const OUTSIDE_MAC: Mac = [2, 0, 0, 0, 0, 0x51];

/// Interface indices in the namespace.
#[derive(Clone, Copy)]
pub struct Wires {
    /// Towards the clients: 198.51.100.1/24, 2001:db8:c::1/64, MTU 1400.
    pub outside: u32,
    /// Towards the reals: 203.0.113.1/24, 2001:db8:f::1/64.
    pub inside: u32,
}

/// Runs a test in a director's namespace: forwarding on, the clients 198.51.100.7
/// and 2001:db8:c::7 known neighbours, those with 8 instead unknown ones, and no
/// default route.
pub fn with_wires(test: impl FnOnce(&Namespace, Wires) + Send) {
    let scratch = Scratch::create().unwrap();
    let name = format!("lbd-{}-{}-packet", std::process::id(), scratch.number());
    let namespace = Namespace::create(&name).unwrap();
    namespace
        .ip(
            "link add outside address 02:00:00:00:00:51 type veth peer name outside1\n\
             link add inside type veth peer name inside1\n\
             link set outside mtu 1400 up\n\
             link set outside1 up\n\
             link set inside up\n\
             link set inside1 up\n\
             address add 198.51.100.1/24 dev outside\n\
             address add 203.0.113.1/24 dev inside\n\
             address add 2001:db8:c::1/64 dev outside nodad\n\
             address add 2001:db8:f::1/64 dev inside nodad\n\
             neighbour add 198.51.100.7 lladdr 02:00:00:00:00:77 nud permanent dev outside\n\
             neighbour add 2001:db8:c::7 lladdr 02:00:00:00:00:77 nud permanent dev outside\n",
        )
        .unwrap();
    namespace.sysctl("net/ipv4/ip_forward", "1").unwrap();
    namespace
        .sysctl("net/ipv6/conf/all/forwarding", "1")
        .unwrap();
    namespace
        .enter(|| {
            let index = |name| if_nametoindex(name).unwrap();
            test(
                &namespace,
                Wires {
                    outside: index("outside"),
                    inside: index("inside"),
                },
            );
        })
        .unwrap();
}
