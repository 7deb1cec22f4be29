//! A service in use, with an attacker's wire into its director.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use anyhow::{Context, Result};

use super::attacker::{ARM, Attacker};
use super::downloads::{self, Downloads};
use crate::daemon::{self, Binaries, Daemon};
use crate::topology::{Method, Spec, Topology};

/// The service, all that is around it, and its downloads, which are under way.
#[derive(Debug)]
pub struct Site<'a> {
    /// With two clients, the first of whom downloads, and two reals.
    pub network: &'a Topology,
    /// The attacker.
    pub attacker: Attacker,
    /// lbd, whose defences are the default's.
    pub daemon: &'a Daemon<'a>,
    /// lbd's process id.
    pub pid: u32,
    /// The downloads.
    pub downloads: &'a Downloads,
}

/// How the downloads go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As fast as can be, from the first byte on.
    Full,
    /// [Slowly](Downloads::slow_down), and with so little in buffers
    /// ([`Topology::keep_buffers_small`]) that they show soon when nothing comes.
    Slow,
}

/// Makes a site, lets `visit` look at it and takes it down; an error if one of the
/// downloads breaks.
pub fn run<T>(method: Method, pace: Pace, visit: impl FnOnce(&Site<'_>) -> Result<T>) -> Result<T> {
    let binaries = Binaries::locate()?;
    let mut network = Topology::create(&Spec {
        method,
        native: true,
        clients: 2,
        reals: 2,
        ..Spec::default()
    })?;
    network.start_decapsulators(&binaries)?;
    let attacker = Attacker::connect(&network)?;
    let servers = network.start_web_servers()?;
    Downloads::publish(&network, &servers)?;
    let downloads = Downloads::default();
    if pace == Pace::Slow {
        network.keep_buffers_small()?;
        downloads.slow_down();
    }
    let mut daemon = Daemon::start(&network, &binaries, &configuration(&network)?)?;
    let conversations: Vec<_> = (0..downloads::COUNT)
        .map(|_| Downloads::open(&network))
        .collect::<Result<_>>()?;
    let site = Site {
        network: &network,
        attacker,
        pid: daemon.process().pid(),
        daemon: &daemon,
        downloads: &downloads,
    };
    thread::scope(|scope| {
        let fetching: Vec<_> = (0..)
            .zip(conversations)
            .map(|(number, one)| scope.spawn(move || site.downloads.fetch(number, one)))
            .collect();
        // A panic here must not leave the downloads running for ever.
        let outcome = catch_unwind(AssertUnwindSafe(|| visit(&site)));
        downloads.end();
        for (number, one) in fetching.into_iter().enumerate() {
            let end = one.join().unwrap_or_else(|panic| resume_unwind(panic));
            end.with_context(|| format!("{}: download {number}", method.name()))?;
        }
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// With the attacker's wire, and half-open connections that soon are forgotten.
fn configuration(network: &Topology) -> Result<String> {
    let services = daemon::service(network, "rr", &[1, 1]);
    let standard = daemon::configuration(network, &services)?;
    let had = format!("interfaces = {:?}", network.interfaces());
    let has = format!("interfaces = {:?}", [network.interfaces(), &[ARM]].concat());
    Ok(format!(
        "{}\n[timeouts]\ntcp_syn_recv = \"3s\"\n",
        standard.replace(&had, &has)
    ))
}
