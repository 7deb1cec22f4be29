//! A way for generated frames: a wire from the client into the director, and one from
//! there to the reals.
//!
//! ```text
//! client1 ── gen2 ═ eth2 ── director ── eth3 ═ sink2 ── real1: four addresses, and a sink
//!         ── gen4 ═ eth4 ──    ╵     ── eth5 ═ sink4 ──   ╵
//!         ── gen6 ═ eth6: a sink
//! ```
//!
//! One is lbd's and one the kernel's, so that neither has to be taken away for the
//! other's turn: an XDP program is by interface. Both are made in the same way.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use lb_tests::link;
use lb_tests::namespace::Namespace;
use lb_tests::topology::Topology;

use super::generator::{Aim, Generator};

/// Reals, all of them addresses of one.
pub(crate) const REALS: u8 = 4;

/// A lane.
pub(crate) struct Lane {
    /// The director's interfaces, towards the client and towards the reals.
    pub front: String,
    pub back: String,
    pub reals: Vec<Ipv4Addr>,
    /// The client's interface, its address, and the station at the wire's far end.
    egress: u32,
    source: Ipv4Addr,
    station: [u8; 6],
    /// The reals' interface.
    sink: String,
}

impl Lane {
    /// By the director's interfaces `eth{number}` and the next.
    pub(crate) fn lay(network: &Topology, generator: &mut Generator, number: u8) -> Result<Self> {
        let (client, real) = (&network.clients[0], &network.reals[0]);
        let (front, back) = (format!("eth{number}"), format!("eth{}", number + 1));
        let sink = format!("sink{number}");
        let (egress, station) = into_director(network, number)?;
        link::wire(&network.director, &back, real, &sink)?;
        let source = Ipv4Addr::new(10, 0, 20 + number, 11);
        client.ip(&format!("address add {source}/24 dev gen{number}\n"))?;
        let reals: Vec<_> = (0..REALS)
            .map(|real| Ipv4Addr::new(10, 0, 40 + number, 11 + real))
            .collect();
        for address in &reals {
            real.ip(&format!("address add {address}/24 dev {sink}\n"))?;
        }
        network.director.ip(&format!(
            "address add 10.0.{}.1/24 dev {front}\naddress add 10.0.{}.1/24 dev {back}\n",
            20 + number,
            40 + number
        ))?;
        generator.end_at(real, &sink)?;
        Ok(Self {
            front,
            back,
            reals,
            egress,
            source,
            station,
            sink,
        })
    }

    /// Lets the kernel of the director take what comes in, as from a card's driver: a
    /// veth takes frames from XDP only if it polls, which takes GRO where there is no XDP
    /// program (`veth_xdp_xmit` in drivers/net/veth.c).
    pub(crate) fn poll_without_xdp(&self, network: &Topology) -> Result<()> {
        let arguments = ["-K", &self.front, "gro", "on"];
        network.director.run("ethtool", &arguments).map(drop)
    }

    pub(crate) fn aim(&self, destination: Ipv4Addr, port: u16) -> Aim {
        Aim {
            egress: self.egress,
            station: self.station,
            source: self.source,
            destination,
            port,
        }
    }

    /// Frames that have arrived at the reals.
    pub(crate) fn arrived(&self, network: &Topology) -> Result<u64> {
        link::received(&network.reals[0], &self.sink)
    }
}

/// A wire that ends in a sink at the director's driver.
pub(crate) struct Stub {
    device: String,
    pub aim: Aim,
}

impl Stub {
    pub(crate) fn lay(network: &Topology, generator: &mut Generator, number: u8) -> Result<Self> {
        let (egress, station) = into_director(network, number)?;
        let device = format!("eth{number}");
        generator.end_at(&network.director, &device)?;
        let aim = Aim {
            egress,
            station,
            source: Ipv4Addr::new(10, 0, 20 + number, 11),
            destination: network.vip(),
            port: 9,
        };
        Ok(Self { device, aim })
    }

    /// Frames that have come to its end.
    pub(crate) fn arrived(&self, network: &Topology) -> Result<u64> {
        link::received(&network.director, &self.device)
    }
}

/// The wire from the client's `gen{number}` to the director's `eth{number}`: the client's
/// interface index, and the director's MAC address.
fn into_director(network: &Topology, number: u8) -> Result<(u32, [u8; 6])> {
    let client: &Namespace = &network.clients[0];
    let (near, far) = (format!("gen{number}"), format!("eth{number}"));
    link::wire(client, &near, &network.director, &far)?;
    let index = client.enter(|| nix::net::if_::if_nametoindex(near.as_str()))?;
    let index = index.with_context(|| format!("looking for {near}"))?;
    Ok((index, link::station(&network.director, &far)?))
}
