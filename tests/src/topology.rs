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
//! ```
//!
//! The switch is one namespace with the bridges. With two arms it is the reals'
//! router too: by dr and tun their answers go straight to the clients, past the
//! director; by nat their default route is the director, which alone forwards.

mod plan;
mod spec;

use std::net::Ipv4Addr;
use std::ops::Deref;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::daemon::Binaries;
use crate::namespace::Namespace;
use crate::process::Process;
use crate::scratch::{self, Scratch};
use crate::webserver::WebServer;
use crate::xdp_pass::XdpPass;
use crate::{link, wait};
use plan::Plan;
pub use spec::{Method, Spec, Wiring};

/// The port of the virtual service and of the reals' web servers.
pub const PORT: u16 = 80;

/// A client, the director or a real. Dereferences to its namespace.
#[derive(Debug)]
pub struct Host {
    name: String,
    address: Ipv4Addr,
    namespace: Namespace,
}

impl Host {
    /// `client1`, `director`, `real3`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address on eth0.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }
}

impl Deref for Host {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

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
    /// The switch: bridges `front` and `back`, or `lan`. A member's port has its name, the
    /// director's are `director0` and `director1`.
    pub switch: Namespace,
    scratch: Scratch,
}

impl Topology {
    /// Makes the network: every link up, every address and route in place, the
    /// VIP where the method wants it. No program runs in it yet.
    pub fn create(spec: &Spec) -> Result<Self> {
        ensure!(
            spec.wiring == Wiring::TwoArmed || spec.method != Method::Nat,
            "nat needs the director between clients and reals"
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
            director: director(spec, &plan, &scratch, &switch)?,
            clients: Vec::new(),
            reals: Vec::new(),
            spec: spec.clone(),
            decapsulators: Vec::new(),
            passes: Vec::new(),
            switch,
            scratch,
        };
        if spec.wiring == Wiring::TwoArmed {
            network.route_in_switch()?;
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

    /// The virtual address.
    pub fn vip(&self) -> Ipv4Addr {
        Plan::new(self.spec.wiring).vip
    }

    /// `http://VIP/path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.vip())
    }

    /// The director's interfaces that lbd is to run on.
    pub fn interfaces(&self) -> &'static [&'static str] {
        match self.spec.wiring {
            Wiring::TwoArmed => &["eth0", "eth1"],
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

    /// For tun: starts `lbd decap` on every real, which runs until the network is
    /// dropped. For the other methods there is nothing to do.
    pub fn start_decapsulators(&mut self, binaries: &Binaries) -> Result<()> {
        if self.spec.method != Method::Tun {
            return Ok(());
        }
        for real in &self.reals {
            let log = self
                .scratch
                .path()
                .join(format!("{}-decap.log", real.name()));
            let source = Plan::new(self.spec.wiring).director_towards_reals;
            let mut command = real.command(&binaries.lbd);
            command.args(["decap", "--interface", "eth0", "--from"]);
            command.arg(format!("{source}/32"));
            let name = format!("lbd decap on {}", real.name());
            let mut process = Process::spawn(&name, &mut command, &log)?;
            wait::try_until(&format!("{name} to attach"), wait::START_LIMIT, || {
                process.check_running()?;
                Ok(real.run("ip", &["link", "show", "eth0"])?.contains("xdp"))
            })?;
            self.decapsulators.push(process);
        }
        Ok(())
    }

    fn route_in_switch(&self) -> Result<()> {
        self.switch.ip("address add 10.0.1.254/24 dev front\n\
             address add 10.0.2.254/24 dev back\n")?;
        self.switch.sysctl("net/ipv4/ip_forward", "1")
    }

    fn add_client(&mut self, plan: &Plan, number: u8) -> Result<()> {
        let client = self.add_host("client", number, plan.bridges[0], plan.client(number))?;
        if self.spec.wiring == Wiring::TwoArmed {
            client.ip(&format!(
                "route add {} via 10.0.1.1\n\
                 route add default via 10.0.1.254\n",
                plan.vip
            ))?;
        }
        self.clients.push(client);
        Ok(())
    }

    fn add_real(&mut self, plan: &Plan, number: u8) -> Result<()> {
        let bridge = plan.bridges[plan.bridges.len() - 1];
        let real = self.add_host("real", number, bridge, plan.real(number))?;
        if self.spec.wiring == Wiring::TwoArmed {
            let gateway = match self.spec.method {
                Method::Nat => "10.0.2.1",
                Method::Dr | Method::Tun => "10.0.2.254",
            };
            real.ip(&format!("route add default via {gateway}\n"))?;
        }
        if self.spec.method != Method::Nat {
            // The real takes packets for the VIP as its own but never says on the
            // wire that it has it (Documentation/networking/ip-sysctl.rst).
            real.sysctls(&[
                ("net/ipv4/conf/all/arp_ignore", "1"),
                ("net/ipv4/conf/all/arp_announce", "2"),
            ])?;
            real.ip(&format!("address add {}/32 dev lo\n", plan.vip))?;
        }
        self.reals.push(real);
        Ok(())
    }

    fn add_host(&self, role: &str, number: u8, bridge: &str, address: Ipv4Addr) -> Result<Host> {
        let name = format!("{role}{number}");
        let namespace = make(&self.scratch, &name)?;
        link::connect(&namespace, "eth0", &self.switch, bridge, &name)?;
        namespace.ip(&format!("address add {address}/24 dev eth0\n"))?;
        Ok(Host {
            name,
            address,
            namespace,
        })
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

fn director(spec: &Spec, plan: &Plan, scratch: &Scratch, switch: &Namespace) -> Result<Host> {
    let namespace = make(scratch, "director")?;
    let address = Ipv4Addr::new(10, 0, 1, 1);
    link::connect(&namespace, "eth0", switch, plan.bridges[0], "director0")?;
    namespace.ip(&format!(
        "address add {address}/24 dev eth0\n\
         address add {}/32 dev lo\n",
        plan.vip
    ))?;
    if spec.wiring == Wiring::TwoArmed {
        link::connect(&namespace, "eth1", switch, "back", "director1")?;
        namespace.ip("address add 10.0.2.1/24 dev eth1\n")?;
    }
    if spec.method == Method::Nat {
        namespace.sysctl("net/ipv4/ip_forward", "1")?;
    }
    Ok(Host {
        name: "director".to_owned(),
        address,
        namespace,
    })
}

fn make(scratch: &Scratch, role: &str) -> Result<Namespace> {
    Namespace::create(&scratch::namespace_name(scratch.number(), role))
}
