//! Part 2: web servers behind each contender: new connections a second, and the latency
//! of requests over connections that stay.
//!
//! Unlike part 1's frames these are sockets' traffic, by the network's own wires and
//! switch, and lbd is taken away for the others' turns, as are the XDP programs at its
//! wires' far ends.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lb_tests::daemon::Binaries;
use lb_tests::process::Process;
use lb_tests::topology::{Host, Method, PORT, Topology};
use lb_tests::xdp_pass::XdpPass;

use super::accounts::Accounts;
use super::balancer::{Balancer, service};
use super::figures::{Figures, PLAIN};
use super::nftables::{Pick, Rules};
use super::routes::{self, BY_DIRECTOR, BY_SWITCH, FAR_ENDS, pass, route_answers, vip};
use super::wrk::{self, Load, Outcome};
use super::{haproxy, web_table};

pub(crate) const ROUNDS: u32 = 7;

/// Whoever stands between.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    /// The kernel's forwarding, to the reals' own addresses: each of wrk's threads asks
    /// one of them.
    Plain,
    /// The same with a program that only passes all packets (`XDP_PASS`) at both ends of
    /// the director's wires: what native XDP itself costs sockets' traffic on veth.
    PlainXdp,
    Nftables(Pick),
    Haproxy,
    Lbd(Method),
}

/// Those without lbd.
const KERNEL: [Contender; 5] = [
    Contender::Plain,
    Contender::PlainXdp,
    Contender::Nftables(Pick::Numgen),
    Contender::Nftables(Pick::Jhash),
    Contender::Haproxy,
];
const LBD: [Method; 3] = [Method::Nat, Method::Dr, Method::Tun];

impl Contender {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        KERNEL.into_iter().chain(LBD.map(Self::Lbd))
    }

    pub(crate) fn name(self) -> String {
        match self {
            Self::Plain => PLAIN.to_owned(),
            Self::PlainXdp => "plain, XDP_PASS".to_owned(),
            Self::Nftables(pick) => pick.name(),
            Self::Haproxy => "HAProxy tcp".to_owned(),
            Self::Lbd(method) => format!("lbd {}", method.name()),
        }
    }

    /// The client's address for it, in the client's own network.
    fn client(self) -> Ipv4Addr {
        let place = Self::all().position(|other| other == self);
        Ipv4Addr::new(10, 0, 1, 101 + place.unwrap_or_default() as u8)
    }
}

/// What stands on the director or the reals for one contender's turn.
enum Standing<'a> {
    Nothing,
    Rules(#[expect(dead_code, reason = "taken away when dropped")] Rules<'a>),
    Processes(Vec<Process>),
    Passes(#[expect(dead_code, reason = "taken off when dropped")] Vec<XdpPass>),
}

impl Standing<'_> {
    fn pids(&self) -> Vec<u32> {
        match self {
            Self::Processes(processes) => processes.iter().map(Process::pid).collect(),
            Self::Nothing | Self::Rules(_) | Self::Passes(_) => Vec::new(),
        }
    }
}

/// The network, and its web servers' process ids.
struct Site<'a> {
    network: &'a Topology,
    binaries: &'a Binaries,
    servers: Vec<u32>,
}

pub(crate) fn measure(
    network: &Topology,
    binaries: &Binaries,
    figures: &mut Figures,
) -> Result<()> {
    routes::prepare(network, Contender::all().map(Contender::client))?;
    let mut servers = network.start_web_servers()?;
    let site = Site {
        network,
        binaries,
        servers: servers
            .iter_mut()
            .map(|server| server.process().pid())
            .collect(),
    };
    for round in 0..ROUNDS {
        let (mut kernel, mut lbd) = (KERNEL, LBD);
        if round.is_multiple_of(2) {
            measure_kernel(&site, &kernel, figures)?;
            measure_lbd(&site, &lbd, figures)?;
        } else {
            kernel.reverse();
            lbd.reverse();
            measure_lbd(&site, &lbd, figures)?;
            measure_kernel(&site, &kernel, figures)?;
        }
    }
    Ok(())
}

fn measure_kernel(site: &Site<'_>, contenders: &[Contender], figures: &mut Figures) -> Result<()> {
    let network = site.network;
    let reals: Vec<_> = network.reals.iter().map(Host::address).collect();
    for contender in contenders {
        route_answers(network, BY_DIRECTOR)?;
        let mut addresses = vec![network.vip()];
        let standing = match *contender {
            Contender::Nftables(pick) => {
                Standing::Rules(Rules::put(network, pick, "tcp", PORT, &reals)?)
            }
            Contender::Haproxy => Standing::Processes(vec![haproxy::start(network)?]),
            Contender::Plain | Contender::Lbd(_) => {
                addresses.clone_from(&reals);
                Standing::Nothing
            }
            Contender::PlainXdp => {
                addresses.clone_from(&reals);
                let near = pass(&network.director, network.interfaces())?;
                let far = pass(&network.switch, &FAR_ENDS)?;
                Standing::Passes(near.into_iter().chain(far).collect())
            }
        };
        site.ask(*contender, &addresses, &standing.pids(), figures)?;
    }
    Ok(())
}

/// One lbd serves all methods, each by an address of its own.
fn measure_lbd(site: &Site<'_>, methods: &[Method], figures: &mut Figures) -> Result<()> {
    let (network, binaries) = (site.network, site.binaries);
    let reals: Vec<_> = network.reals.iter().map(Host::address).collect();
    let services =
        Method::ALL.map(|method| service(method, "tcp", vip(network, method), PORT, &reals));
    let _passes = pass(&network.switch, &FAR_ENDS)?;
    let mut balancer = Balancer::start(network, binaries, network.interfaces(), &services)?;
    for method in methods.iter().copied() {
        let contender = Contender::Lbd(method);
        let (router, standing) = match method {
            Method::Nat => (BY_DIRECTOR, Standing::Nothing),
            Method::Dr => (BY_SWITCH, Standing::Nothing),
            Method::Tun => {
                let decapsulators = network.decapsulators(binaries)?;
                (BY_SWITCH, Standing::Processes(decapsulators))
            }
        };
        route_answers(network, router)?;
        let programs = [standing.pids(), vec![balancer.pid()]].concat();
        let vip = vip(network, method);
        let errors = site
            .ask(contender, &[vip], &programs, figures)
            .with_context(|| balancer.account())?;
        ensure!(
            errors == 0,
            "{}: {errors} requests failed\n{}",
            contender.name(),
            balancer.account()
        );
    }
    Ok(())
}

impl Site<'_> {
    /// Both loads; how many requests failed. `programs`: what runs for this contender,
    /// besides wrk and the web servers.
    fn ask(
        &self,
        contender: Contender,
        addresses: &[Ipv4Addr],
        programs: &[u32],
        figures: &mut Figures,
    ) -> Result<u64> {
        let name = contender.name();
        routes::come_from(self.network, contender.client(), addresses)?;
        let accounts = Accounts::open(&[&self.servers, programs].concat())?;
        let mut failed = 0;
        for load in Load::ALL {
            let before = accounts.spent()?;
            let outcome = wrk::run(self.network, load, addresses).with_context(|| name.clone())?;
            let spent = accounts.spent()? - before;
            record(&name, load, &outcome, spent, figures);
            failed += outcome.errors;
        }
        Ok(failed)
    }
}

fn record(name: &str, load: Load, outcome: &Outcome, spent: Duration, figures: &mut Figures) {
    let cpu_us = spent.as_secs_f64() * 1e6 / outcome.requests;
    let cases = web_table::cases(load);
    figures.add(cases.rate, "requests/s", name, outcome.requests_per_s);
    figures.add(cases.cpu, "us/request", name, cpu_us);
    figures.add(cases.p50, "ms", name, outcome.p50_ms);
    figures.add(cases.p99, "ms", name, outcome.p99_ms);
    figures.add(cases.errors, "errors", name, outcome.errors as f64);
}
