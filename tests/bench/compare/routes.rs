//! Part 2's addresses and routes, beside what the network has anyway.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use anyhow::Result;
use lb_tests::namespace::Namespace;
use lb_tests::topology::{Method, Topology};
use lb_tests::xdp_pass::XdpPass;

/// The reals' routers, as `lb_tests::topology` draws them: the director, which answers
/// must pass where addresses were rewritten, and the switch, which leads straight to the
/// clients.
pub(crate) const BY_DIRECTOR: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 1);
pub(crate) const BY_SWITCH: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 254);

/// The switch's ends of the director's wires, which take XDP programs where lbd is to
/// transmit by them (`lb_tests::xdp_pass`).
pub(crate) const FAR_ENDS: [&str; 2] = ["director0", "director1"];

/// Gives lbd's methods and the contenders' connections their addresses, and the client
/// enough ports.
pub(crate) fn prepare(network: &Topology, sources: impl Iterator<Item = Ipv4Addr>) -> Result<()> {
    let client = &network.clients[0];
    client.sysctl("net/ipv4/ip_local_port_range", "1024 65535")?;
    for source in sources {
        client.ip(&format!("address add {source}/24 dev eth0\n"))?;
    }
    for real in &network.reals {
        real.sysctls(&[
            ("net/ipv4/conf/all/arp_ignore", "1"),
            ("net/ipv4/conf/all/arp_announce", "2"),
        ])?;
    }
    for method in [Method::Dr, Method::Tun] {
        let vip = vip(network, method);
        let address = format!("address add {vip}/32 dev lo\n");
        network.director.ip(&address)?;
        for real in &network.reals {
            real.ip(&address)?;
        }
    }
    Ok(())
}

/// Routes the client's connections to `addresses` by the director, and lets them come
/// from `source`, an address that only one contender's come from.
///
/// The reals keep what they have closed for a minute (TIME_WAIT) and take a new SYN of the
/// same address and port for an old one unless its sequence number or time stamp is
/// later. Those start by the address that the client knows (`secure_tcp_seq_and_ts_off`
/// in net/core/secure_seq.c): the VIP of the one, the real's own of the other. One
/// contender's connections must not meet another's remains.
pub(crate) fn come_from(
    network: &Topology,
    source: Ipv4Addr,
    addresses: &[Ipv4Addr],
) -> Result<()> {
    let director = network.director.address();
    let mut routes = String::new();
    for address in addresses {
        writeln!(
            routes,
            "route replace {address} via {director} src {source}"
        )?;
    }
    network.clients[0].ip(&routes)
}

/// nat has the network's own; the others follow.
pub(crate) fn vip(network: &Topology, method: Method) -> Ipv4Addr {
    let place = match method {
        Method::Nat => 0,
        Method::Dr => 1,
        Method::Tun => 2,
    };
    Ipv4Addr::from_bits(network.vip().to_bits() + place)
}

/// Puts a program on each device that passes all packets.
pub(crate) fn pass(namespace: &Namespace, devices: &[&str]) -> Result<Vec<XdpPass>> {
    let attach = |device: &&str| XdpPass::attach(namespace, device);
    devices.iter().map(attach).collect()
}

/// Lets the reals answer by this router.
pub(crate) fn route_answers(network: &Topology, router: Ipv4Addr) -> Result<()> {
    for real in &network.reals {
        real.ip(&format!("route replace default via {router}\n"))?;
    }
    Ok(())
}
