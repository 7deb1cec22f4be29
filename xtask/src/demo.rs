//! `cargo xtask demo`: a director, three reals and a client, each in a network
//! namespace of its own, and what lbd does there by each forwarding method.
//!
//! Networks, servers and clients are those of the end-to-end tests (lb-tests).
//! Ctrl-C and SIGTERM end it between two steps, and everything it made goes.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use lb_tests::daemon::{self, Binaries, Daemon};
use lb_tests::http::{self, Tally};
use lb_tests::topology::{Host, Method, PORT, Spec, Topology};
use lb_tests::webserver::WebServer;
use lb_tests::{interrupt, privilege, wait};

use crate::cargo;
use crate::setup::{self, Purpose};
use crate::test;

/// The reals' weights: of six new connections real1 gets one, real2 two, real3 three.
const WEIGHTS: [u32; 3] = [1, 2, 3];

/// Requests a round: four turns of the weights.
const REQUESTS: usize = 24;

/// What lbd asks the reals.
const CHECK: &str =
    "health = { type = \"http\", interval = \"500ms\", timeout = \"300ms\", fall = 2 }";

/// The real that gets into trouble.
const VICTIM: usize = 1;

const INTRODUCTION: &str = "
A client wants web pages from a service at the virtual address 192.0.2.10 (the VIP).
Behind it stand three real servers, each with nginx, whose page is just its name.
Between them stands the director: lbd has put a program on its network interfaces,
which gives every new connection to one of the reals and the connection's later
packets to the same one, before the kernel's network stack sees them.

All of them are network namespaces on this machine, made for this demo only:

  client1  10.0.1.11        real1  10.0.2.11   weight 1
  director 10.0.1.1         real2  10.0.2.12   weight 2
           10.0.2.1         real3  10.0.2.13   weight 3

The scheduler is wrr, weighted round robin: of every six connections real1 gets one,
real2 two and real3 three. How packets get to a real is another matter, and there
are three ways.
";

/// Runs it, after setting up and building what is missing.
pub(crate) fn run() -> Result<()> {
    setup::ensure(&[Purpose::Build, Purpose::Run])?;
    privilege::check_network().context("the demo makes network namespaces and loads XDP")?;
    // The same as for the tests: an optimised build takes three times as long, and the XDP
    // programs are optimised in either.
    test::build_binaries()?;
    let binaries = Binaries::inside(&cargo::programs_of("debug")?)?;

    interrupt::install()?;
    let result = show(&binaries);
    if interrupt::requested() {
        println!("\nInterrupted. Everything that was made has been removed.");
        std::process::exit(130);
    }
    result
}

fn show(binaries: &Binaries) -> Result<()> {
    println!("{INTRODUCTION}");
    for (number, method) in (1..).zip(Method::ALL) {
        let network = network(method, binaries)?;
        let servers = network.start_web_servers()?;
        let configuration =
            daemon::configuration(&network, &daemon::service(&network, "wrr", &WEIGHTS))?;
        let daemon = Daemon::start(&network, binaries, &configuration)?;

        heading(&format!("{number}. {}", title(method)));
        println!("{}", picture(method).trim_start_matches('\n'));
        balance(&network, &servers, &daemon)?;
        if number == Method::ALL.len() {
            heading("4. A real server stops");
            let watched = format!("{CHECK}\nscheduler");
            daemon.write_config(&configuration.replacen("scheduler", &watched, 1))?;
            lose_a_real(&network, servers, &daemon)?;
        }
    }
    heading("The end");
    println!("Namespaces, servers and XDP programs are gone again.");
    Ok(())
}

fn network(method: Method, binaries: &Binaries) -> Result<Topology> {
    let mut network = Topology::create(&Spec {
        method,
        native: true,
        ..Spec::default()
    })?;
    network.start_decapsulators(binaries)?;
    Ok(network)
}

/// A round of requests, and what the two ends and the director say about it.
fn balance(network: &Topology, servers: &[WebServer], daemon: &Daemon) -> Result<()> {
    let tally = ask(network)?;
    let expected: Vec<usize> = WEIGHTS
        .iter()
        .map(|weight| REQUESTS / 6 * *weight as usize)
        .collect();
    ensure!(
        tally.by_real(WEIGHTS.len()) == expected,
        "{expected:?} answers were due, not {tally}; lbd's log:\n{}",
        daemon.log()
    );
    let seen: BTreeSet<String> = servers
        .iter()
        .flat_map(WebServer::requests)
        .filter_map(|request| Some(request.split_whitespace().next()?.to_owned()))
        .collect();
    let seen: Vec<String> = seen.into_iter().collect();
    println!("The reals' logs name {} as the client.\n", seen.join(", "));
    lbctl(daemon, &["list", "-n"])?;
    lbctl(daemon, &["list", "-n", "--stats"])
}

/// One nginx is stopped; lbd takes its real out, and back in later.
fn lose_a_real(network: &Topology, mut servers: Vec<WebServer>, daemon: &Daemon) -> Result<()> {
    let victim = &network.reals[VICTIM];
    println!(
        "Still the same network. The service gets a line in lbd's configuration:\n\n    {CHECK}\n"
    );
    lbctl(daemon, &["reload"])?;
    println!("From now on lbd asks each real for its page, twice a second:\n");
    lbctl(daemon, &["health"])?;
    println!("Now nginx on {} stops:\n", victim.name());
    servers[VICTIM].process().stop()?;
    await_listed(daemon, victim, false)?;
    lbctl(daemon, &["health"])?;
    println!("The list is what it would be without this real, and no client notices any more:\n");
    lbctl(daemon, &["list", "-n"])?;
    let tally = ask(network)?;
    ensure!(tally.failures == 0, "requests still fail: {tally}");

    println!(
        "nginx on {} starts again, and has its part as soon as it has answered twice:\n",
        victim.name()
    );
    let directory = network.directory().join("second-life");
    servers[VICTIM] = WebServer::start(victim, victim.name(), PORT, &directory)?;
    await_listed(daemon, victim, true)?;
    let tally = ask(network)?;
    ensure!(tally.failures == 0, "requests still fail: {tally}");
    lbctl(daemon, &["health", "--history"])
}

/// Waits until lbd has a real in its list, or has it there no longer.
fn await_listed(daemon: &Daemon, real: &Host, is_wanted: bool) -> Result<()> {
    let address = real.address().to_string();
    wait::try_until("the check to find out", wait::START_LIMIT, || {
        interrupt::check()?;
        Ok(daemon.lbctl(&["list", "-n"])?.contains(&address) == is_wanted)
    })
}

/// The client asks; who answered is printed as a table with bars.
fn ask(network: &Topology) -> Result<Tally> {
    interrupt::check()?;
    let url = network.url("");
    println!("  client1 $ curl {url}     ({REQUESTS} times, each a new connection)");
    let tally = http::get_many(&network.clients[0], &url, REQUESTS)?;
    for real in &network.reals {
        let count = tally.of(real.name());
        let bar = "#".repeat(count);
        let row = format!(
            "{:<9} {:<10} {count:>3}  {bar}",
            real.name(),
            real.address()
        );
        println!("    {}", row.trim_end());
    }
    if tally.failures > 0 {
        let bar = "x".repeat(tally.failures);
        println!("    {:<20} {:>3}  {bar}", "no answer", tally.failures);
    }
    println!();
    Ok(tally)
}

/// Runs lbctl and shows command and output.
fn lbctl(daemon: &Daemon, arguments: &[&str]) -> Result<()> {
    interrupt::check()?;
    println!("  director $ lbctl {}", arguments.join(" "));
    for line in daemon.lbctl(arguments)?.lines() {
        println!("    {}", line.trim_end());
    }
    println!();
    Ok(())
}

fn heading(text: &str) {
    println!("{text}\n{}\n", "=".repeat(text.len()));
}

fn title(method: Method) -> &'static str {
    match method {
        Method::Dr => "dr: direct routing",
        Method::Nat => "nat: network address translation",
        Method::Tun => "tun: IP in IP",
    }
}

/// The packets' way, for people.
fn picture(method: Method) -> &'static str {
    match method {
        Method::Dr => {
            "
  client1 ----- to VIP -----> director ---- to VIP, real's MAC ----> real
     ^                                                                |
     +------------------------- from VIP -----------------------------+

The director changes nothing but the MAC address. The real has the VIP on its own
loopback device (and answers no ARP for it), so it answers the client directly: the
answers, which are most of the traffic, never pass the director.
"
        }
        Method::Nat => {
            "
  client1 ----- to VIP -----> director ------- to real's address ---> real
     ^                         |    ^                                  |
     +------- from VIP --------+    +-------- from real's address -----+

The director writes the real's address into the packets, and the VIP back into the
answers. The reals need not know of the VIP, but their way to the client must lead
through the director: see OutPkts and OutBytes below, which elsewhere are 0.
"
        }
        Method::Tun => {
            "
  client1 ----- to VIP -----> director -- [to real [to VIP]] --------> real
     ^                                                                 |
     +------------------------- from VIP ------------------------------+

The director puts the whole packet into another one, addressed to the real, which may
stand anywhere an IP packet can go. The real unpacks it (here `lbd decap` does) and
answers the client directly, as by dr.
"
        }
    }
}
