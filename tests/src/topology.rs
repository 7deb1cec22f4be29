//! A network with clients, a director, reals and the switch between them.
//!
//! ```text
//! TwoArmed                                    OneArmed
//!   client1 client2 …                           client1 client2 …   real1 real2 …
//!      └───┬───┘  10.0.1.11, .12 …                 └──────┬────────────┘
//!   [front]┤ 10.0.1.254 ┐                             [lan]  10.0.1.11 …, 10.0.1.101 …
//!          │            │ switch (routes)                │
//!     eth0 │ 10.0.1.1   │                           eth0 │ 10.0.1.1
//!      director         │                             director
//!     eth1 │ 10.0.2.1   │                          VIP 10.0.1.10, on everybody's wire: only
//!   [back] ┤ 10.0.2.254 ┘                          the director may answer ARP for it
//!      ┌───┴───┐  10.0.2.11, .12 …
//!   real1   real2 …        VIP 192.0.2.10, which the clients reach by way of 10.0.1.1
//!
//! Routed: as TwoArmed, but below [back]
//!     eth0 │ 10.0.2.253
//!       router
//!     eth1 │ 10.0.3.253, MTU 1400
//!   [far]  ┴ real1 real2 …  10.0.3.11, .12 …
//! ```
//!
//! Each has an IPv6 address beside its IPv4 one, of the same digits: 10.0.2.254 is
//! 2001:db8:2::254, and the VIP is 2001:db8:99::10, or 2001:db8:1::10 on one wire.
//!
//! The switch is one namespace with the bridges. With two arms it is the reals'
//! router too: by dr and tun their answers go straight to the clients, past the
//! director; by nat their default route is the director, which alone forwards.

mod decapsulators;
mod family;
mod host;
mod plan;
mod spec;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Result, ensure};

use crate::link;
use crate::namespace::Namespace;
use crate::process::Process;
use crate::scratch::{self, Scratch};
use crate::webserver::WebServer;
use crate::xdp_pass::XdpPass;
pub use family::Family;
use family::Pair;
pub use host::Host;
use plan::{BACK, DIRECTOR, FAR, FRONT, Plan, ROUTER, SWITCH};
pub use spec::{FAR_MTU, Method, Spec, Wiring};

/// The port of the virtual service and of the reals' web servers.
pub const PORT: u16 = 80;

/// The ports at which the reals' decapsulators take GUE: lbd's default and another.
pub const GUE_PORTS: [u16; 2] = [6080, 6081];

/// Whom they let in besides the director's own address: senders that a test may have
/// it use (`tunnel_sources`).
pub const TUNNEL_SOURCES: [&str; 2] = ["100.64.0.0/16", "2001:db8:f::/64"];

/// The network. Fields are dropped in order: programs before namespaces.
#[derive(Debug)]
pub struct Topology {
    spec: Spec,
    decapsulators: Vec<Process>,
    passes: Vec<XdpPass>,
    /// The clients, `client1` first.
    pub clients: Vec<Host>,
    /// The director: eth0 towards the clients, eth1 (two arms) towards the reals.
    pub director: Host,
    /// The reals, `real1` first.
    pub reals: Vec<Host>,
    /// The router of [`Wiring::Routed`].
    router: Option<Host>,
    /// The switch: bridges `front` and `back`, and `far` behind the router; or `lan`. A
    /// member's port has its name, the director's are `director0` and `director1`, the
    /// router's `router` and `router1`.
    pub switch: Namespace,
    scratch: Scratch,
}

impl Topology {
    /// Makes the network: every link up, every address and route in place, the
    /// VIP where the method wants it. No program runs in it yet.
    pub fn create(spec: &Spec) -> Result<Self> {
        ensure!(
            spec.wiring != Wiring::Routed || spec.method == Method::Tun,
            "only tun reaches reals behind a router"
        );
        ensure!(
            spec.clients <= 80 && spec.reals <= 80,
            "at most 80 clients and 80 reals"
        );
        let scratch = Scratch::create()?;
        let plan = Plan::new(spec.wiring);
        let switch = make(&scratch, "switch")?;
        for bridge in plan.bridges {
            link::bridge(&switch, bridge)?;
        }
        let mut network = Self {
            director: director(spec, &plan, &scratch)?,
            router: None,
            clients: Vec::new(),
            reals: Vec::new(),
            spec: spec.clone(),
            decapsulators: Vec::new(),
            passes: Vec::new(),
            switch,
            scratch,
        };
        for arm in 0..network.interfaces().len() {
            network.connect_director(arm)?;
        }
        if spec.wiring != Wiring::OneArmed {
            network.route_in_switch()?;
        }
        if spec.wiring == Wiring::Routed {
            network.add_router()?;
        }
        for number in 1..=spec.clients {
            network.add_client(&plan, number)?;
        }
        for number in 1..=spec.reals {
            network.add_real(&plan, number)?;
        }
        if spec.native {
            network.prepare_native()?;
        }
        Ok(network)
    }

    /// What was asked for.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The virtual address of IPv4.
    pub fn vip(&self) -> Ipv4Addr {
        Plan::new(self.spec.wiring).vip.v4
    }

    /// The virtual address of either family.
    pub fn vip_in(&self, family: Family) -> IpAddr {
        Plan::new(self.spec.wiring).vip.of(family)
    }

    /// `http://VIP/path`, by IPv4.
    pub fn url(&self, path: &str) -> String {
        self.url_in(Family::V4, path)
    }

    /// `http://VIP/path`, by either family.
    pub fn url_in(&self, family: Family, path: &str) -> String {
        let authority = SocketAddr::from((self.vip_in(family), PORT));
        format!("http://{authority}/{path}")
    }

    /// The director's interfaces that lbd is to run on.
    pub fn interfaces(&self) -> &'static [&'static str] {
        match self.spec.wiring {
            Wiring::TwoArmed | Wiring::Routed => &["eth0", "eth1"],
            Wiring::OneArmed => &["eth0"],
        }
    }

    /// The network's files.
    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// The network's scratch space, with its bpffs.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Starts a web server on every real.
    pub fn start_web_servers(&self) -> Result<Vec<WebServer>> {
        self.reals
            .iter()
            .map(|real| WebServer::start(real, real.name(), PORT, self.directory()))
            .collect()
    }

    /// Connects one of the director's arms to the switch and gives it its addresses:
    /// at the beginning, and again after a test has deleted the interface. Routes by it
    /// and, in native mode, what the far end needs are then the test's business.
    pub fn connect_director(&self, arm: usize) -> Result<()> {
        let (device, port) = (self.interfaces()[arm], format!("director{arm}"));
        let bridge = Plan::new(self.spec.wiring).bridges[arm];
        link::connect(&self.director, device, &self.switch, bridge, &port)?;
        let network = [FRONT, BACK][arm];
        self.director
            .assign(device, plan::address(network, DIRECTOR))?;
        if self.spec.wiring == Wiring::OneArmed {
            // Clients on the VIP's own network ask for it by neighbour discovery, which
            // answers only for addresses of the interface that was asked: not for lo's.
            let vip = self.vip_in(Family::V6);
            let command = format!("address add {vip}/128 dev {device} nodad\n");
            self.director.ip(&command)?;
        }
        Ok(())
    }

    /// Keeps the socket buffers of clients and reals below what a test sends slowly,
    /// so that such a transfer goes on while it is looked at (tcp(7)).
    pub fn keep_buffers_small(&self) -> Result<()> {
        for host in self.clients.iter().chain(&self.reals) {
            host.sysctls(&[
                ("net/ipv4/tcp_rmem", "4096 65536 131072"),
                ("net/ipv4/tcp_wmem", "4096 16384 131072"),
            ])?;
        }
        Ok(())
    }

    /// Lets all that a client sends to the VIP come from another network than the
    /// clients': 10.0.`network`.0/24 and 2001:db8:`network`::/64. Not on one wire.
    pub fn move_client(&self, client: &Host, network: u8) -> Result<()> {
        let plan = Plan::new(self.spec.wiring);
        let number = client.address().octets()[3];
        let own = plan::address(FRONT, number);
        let (moved, director) = (
            plan::address(network, number),
            plan::address(FRONT, DIRECTOR),
        );
        client.add_loopback_address(moved)?;
        client.ip(&format!(
            "route replace {} via {} src {}\nroute replace {} via {} src {}\n",
            plan.vip.v4, director.v4, moved.v4, plan.vip.v6, director.v6, moved.v6
        ))?;
        for router in [&self.director, &self.switch] as [&Namespace; 2] {
            router.ip(&format!(
                "route add {}/32 via {}\nroute add {}/128 via {}\n",
                moved.v4, own.v4, moved.v6, own.v6
            ))?;
            // The client's questions for MAC addresses no longer come from its own.
            for gateway in [own.v4.to_string(), own.v6.to_string()] {
                router.run("ping", &["-c", "1", "-W", "2", &gateway])?;
            }
        }
        Ok(())
    }

    fn route_in_switch(&self) -> Result<()> {
        host::assign(&self.switch, "front", plan::address(FRONT, SWITCH))?;
        host::assign(&self.switch, "back", plan::address(BACK, SWITCH))?;
        host::forward(&self.switch)
    }

    fn add_client(&mut self, plan: &Plan, number: u8) -> Result<()> {
        let client = self.add_host("client", number, plan.bridges[0], plan.client(number))?;
        if self.spec.wiring != Wiring::OneArmed {
            let director = plan::address(FRONT, DIRECTOR);
            client.ip(&format!(
                "route add {} via {}\nroute add {} via {}\n",
                plan.vip.v4, director.v4, plan.vip.v6, director.v6
            ))?;
            client.route_by_default(plan::address(FRONT, SWITCH))?;
        }
        self.clients.push(client);
        Ok(())
    }

    fn add_real(&mut self, plan: &Plan, number: u8) -> Result<()> {
        let real = self.add_host("real", number, plan.reals_bridge(), plan.real(number))?;
        match (self.spec.wiring, self.spec.method) {
            (Wiring::OneArmed, _) => {}
            (Wiring::TwoArmed, Method::Nat) => {
                real.route_by_default(plan::address(BACK, DIRECTOR))?;
            }
            (Wiring::TwoArmed, Method::Dr | Method::Tun) => {
                real.route_by_default(plan::address(BACK, SWITCH))?;
            }
            (Wiring::Routed, _) => {
                real.ip(&format!("link set eth0 mtu {FAR_MTU}\n"))?;
                real.route_by_default(plan::address(FAR, ROUTER))?;
            }
        }
        if self.spec.method != Method::Nat {
            real.add_quiet_address(plan.vip)?;
        }
        self.reals.push(real);
        Ok(())
    }

    /// The router, from whose far side on packets may have only [`FAR_MTU`] bytes.
    fn add_router(&mut self) -> Result<()> {
        let (near, far) = (plan::address(BACK, ROUTER), plan::address(FAR, ROUTER));
        let namespace = make(&self.scratch, "router")?;
        let router = Host::connect("router", namespace, near, &self.switch, "back")?;
        link::connect(&router, "eth1", &self.switch, "far", "router1")?;
        router.assign("eth1", far)?;
        router.ip(&format!("link set eth1 mtu {FAR_MTU}\n"))?;
        router.forward()?;
        router.route_by_default(plan::address(BACK, SWITCH))?;
        for to in [&self.director, &self.switch] as [&Namespace; 2] {
            to.ip(&format!(
                "route add 10.0.{FAR}.0/24 via {}\nroute add 2001:db8:{FAR}::/64 via {}\n",
                near.v4, near.v6
            ))?;
        }
        self.router = Some(router);
        Ok(())
    }

    fn add_host(&self, role: &str, number: u8, bridge: &str, address: Pair) -> Result<Host> {
        let name = format!("{role}{number}");
        let namespace = make(&self.scratch, &name)?;
        Host::connect(&name, namespace, address, &self.switch, bridge)
    }

    /// Native XDP on a veth transmits only if the far end runs XDP too.
    fn prepare_native(&mut self) -> Result<()> {
        for arm in 0..self.interfaces().len() {
            let port = format!("director{arm}");
            self.passes.push(XdpPass::attach(&self.switch, &port)?);
        }
        Ok(())
    }
}

/// The director, whose arms are connected later.
fn director(spec: &Spec, plan: &Plan, scratch: &Scratch) -> Result<Host> {
    let director = Host::director(make(scratch, "director")?);
    director.add_loopback_address(plan.vip)?;
    if spec.method == Method::Nat {
        director.forward()?;
    }
    Ok(director)
}

fn make(scratch: &Scratch, role: &str) -> Result<Namespace> {
    Namespace::create(&scratch::namespace_name(scratch.number(), role))
}
