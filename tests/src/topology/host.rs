//! A member of a network: a client, the director, a real, the router.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;

use anyhow::Result;

use super::family::{Family, Pair};
use super::plan::{self, FRONT};
use crate::link;
use crate::namespace::Namespace;

/// A client, the director or a real. Dereferences to its namespace.
#[derive(Debug)]
pub struct Host {
    name: String,
    address: Pair,
    namespace: Namespace,
}

impl Host {
    /// Makes `namespace` a member `name` with eth0 at the switch's bridge `bridge`.
    pub(super) fn connect(
        name: &str,
        namespace: Namespace,
        address: Pair,
        switch: &Namespace,
        bridge: &str,
    ) -> Result<Self> {
        let host = Self {
            name: name.to_owned(),
            address,
            namespace,
        };
        link::connect(&host, "eth0", switch, bridge, name)?;
        host.assign("eth0", address)?;
        Ok(host)
    }

    /// The director, whose arms are connected later.
    pub(super) fn director(namespace: Namespace) -> Self {
        Self {
            name: "director".to_owned(),
            address: plan::address(FRONT, plan::DIRECTOR),
            namespace,
        }
    }

    /// `client1`, `director`, `real3`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its IPv4 address on eth0.
    pub fn address(&self) -> Ipv4Addr {
        self.address.v4
    }

    /// Its address on eth0 of either family.
    pub fn address_in(&self, family: Family) -> IpAddr {
        self.address.of(family)
    }

    /// Forgets what it has learned of path MTUs (ip-route(8): the cached routes).
    pub fn forget_path_mtus(&self) -> Result<()> {
        self.ip("route flush cache\n")?;
        self.run("ip", &["-6", "route", "flush", "cache"]).map(drop)
    }

    /// Gives `device` an address of each family, with the whole network on its link.
    pub(super) fn assign(&self, device: &str, address: Pair) -> Result<()> {
        assign(self, device, address)
    }

    /// The default routes of both families.
    pub(super) fn route_by_default(&self, gateway: Pair) -> Result<()> {
        self.ip(&format!(
            "route add default via {}\nroute add ::/0 via {}\n",
            gateway.v4, gateway.v6
        ))
    }

    /// Gives it the virtual address, without a word about it on the wire.
    ///
    /// For IPv4 that takes two settings (Documentation/networking/ip-sysctl.rst);
    /// for IPv6 nothing: neighbour discovery answers only for addresses of the
    /// interface that was asked (`ndisc_recv_ns` in net/ipv6/ndisc.c).
    pub(super) fn add_quiet_address(&self, vip: Pair) -> Result<()> {
        self.sysctls(&[
            ("net/ipv4/conf/all/arp_ignore", "1"),
            ("net/ipv4/conf/all/arp_announce", "2"),
        ])?;
        self.add_loopback_address(vip)
    }

    pub(super) fn add_loopback_address(&self, address: Pair) -> Result<()> {
        self.ip(&format!(
            "address add {}/32 dev lo\naddress add {}/128 dev lo nodad\n",
            address.v4, address.v6
        ))
    }

    /// Lets it forward packets of both families.
    pub(super) fn forward(&self) -> Result<()> {
        forward(self)
    }
}

/// As [`Host::assign`], for the switch too. Without duplicate address detection,
/// during which a second long an IPv6 address is of no use.
pub(super) fn assign(namespace: &Namespace, device: &str, address: Pair) -> Result<()> {
    namespace.ip(&format!(
        "address add {}/24 dev {device}\naddress add {}/64 dev {device} nodad\n",
        address.v4, address.v6
    ))
}

/// As [`Host::forward`], for the switch too.
pub(super) fn forward(namespace: &Namespace) -> Result<()> {
    namespace.sysctls(&[
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv6/conf/all/forwarding", "1"),
    ])
}

impl Deref for Host {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}
