//! lbd on the director, on some of its interfaces; gone without a trace when dropped, so
//! that the next contender has the kernel alone.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use lb_tests::daemon::{Binaries, Daemon};
use lb_tests::service::Service;
use lb_tests::topology::{Method, Topology};

/// Entries of the table of connections: two for each of a client's ports, and room.
const CONNECTIONS: u32 = 262_144;

/// A running lbd.
pub(crate) struct Balancer<'a> {
    network: &'a Topology,
    binaries: &'a Binaries,
    daemon: Daemon<'a>,
}

impl<'a> Balancer<'a> {
    pub(crate) fn start(
        network: &'a Topology,
        binaries: &'a Binaries,
        interfaces: &[&str],
        services: &[Service],
    ) -> Result<Self> {
        let directory = network.directory().display();
        let pins = network.scratch().bpffs()?.join("lbd");
        let mut text = format!(
            "[director]\n\
             interfaces = {interfaces:?}\n\
             xdp_mode = \"native\"\n\
             pin_dir = \"{}\"\n\
             state_dir = \"{directory}/state\"\n\
             socket = \"{directory}/lbd.sock\"\n\
             \n\
             [capacity]\n\
             services = 64\n\
             reals = 1024\n\
             connections = {CONNECTIONS}\n\
             persistence = 4096\n\
             \n",
            pins.display(),
        );
        for service in services {
            text += &service.to_string();
        }
        Ok(Self {
            network,
            binaries,
            daemon: Daemon::start(network, binaries, &text)?,
        })
    }

    /// lbd's process id.
    pub(crate) fn pid(&mut self) -> u32 {
        self.daemon.process().pid()
    }

    /// What lbctl says of its counters, for an error.
    pub(crate) fn account(&self) -> String {
        self.daemon
            .lbctl(&["list", "--stats"])
            .unwrap_or_else(|error| format!("{error:#}"))
    }
}

impl Drop for Balancer<'_> {
    fn drop(&mut self) {
        let unload = || -> Result<()> {
            let config = self.daemon.config_path();
            self.daemon.stop()?;
            let lbd = self.binaries.lbd.to_string_lossy();
            let arguments = ["unload", "--config", &config.to_string_lossy()];
            let unloaded = self.network.director.run(&lbd, &arguments);
            unloaded.context("unloading the data plane").map(drop)
        };
        if let Err(error) = { unload }() {
            eprintln!("cannot take lbd away: {error:#}");
        }
    }
}

/// A service with all these reals, at the service's own port.
pub(crate) fn service(
    method: Method,
    protocol: &str,
    vip: Ipv4Addr,
    port: u16,
    reals: &[Ipv4Addr],
) -> Service {
    let service = Service::new(method.name(), protocol, vip.into(), port, method.name());
    let line = match method {
        Method::Nat => format!("port = {port}\n"),
        Method::Dr | Method::Tun => String::new(),
    };
    let add = |service: Service, real: &Ipv4Addr| service.real((*real).into(), &line);
    reals.iter().fold(service, add)
}
