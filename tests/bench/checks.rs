//! What 10,000 health checks cost lbd: checks by tcp of 10,000 reals, one a second each.
//!
//! The processor's time is lbd's own, as the kernel counts it, with what packets its system
//! calls send and receive on the way; whoever answers is another process.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lb_tests::daemon::{self, Binaries, Daemon};
use lb_tests::topology::{Spec, Topology};
use lb_tests::wait;

use crate::scale::anonymous_mb;

const SERVICES: u32 = 1000;
/// Of each service, and as many addresses of the one host that answers for all.
const REALS: u8 = 10;
const CHECKS: u32 = SERVICES * REALS as u32;
const PORT: u16 = 80;

const WINDOW: Duration = Duration::from_secs(20);
/// Clock ticks a second (`sysconf(_SC_CLK_TCK)`), on every architecture that has XDP.
const TICKS: f64 = 100.0;

const MOST_CORES: f64 = 0.5;
const MOST_MB: f64 = 300.0;
/// Intervals are shortened by up to 5 %.
const RATES: std::ops::RangeInclusive<f64> = 0.97..=1.08;

/// Prints the table; an error if a target is missed.
pub(crate) fn run() -> Result<()> {
    let binaries = Binaries::locate()?;
    let network = Topology::create(&Spec {
        clients: 0,
        reals: 1,
        ..Spec::default()
    })?;
    for number in 0..REALS {
        let address = format!("address add {}/24 dev eth0\n", rip(number));
        network.reals[0].ip(&address)?;
    }
    answer(&network)?;
    let configuration = daemon::configuration(&network, &services())?
        .replace("services = 64", "services = 1024")
        .replace("reals = 1024", "reals = 16384");
    let daemon = Daemon::start(&network, &binaries, &configuration)?;
    wait::until("the first answers", Duration::from_secs(30), || {
        probes(&network).is_ok_and(|probes| probes > 2 * u64::from(CHECKS))
    })?;

    let (began, asked, used) = (Instant::now(), probes(&network)?, cpu_s(&daemon)?);
    thread::sleep(WINDOW);
    let seconds = began.elapsed().as_secs_f64();
    let cores = (cpu_s(&daemon)? - used) / seconds;
    let rate = (probes(&network)? - asked) as f64 / seconds;
    let memory = anonymous_mb(&daemon)?;
    let health = daemon.lbctl(&["health", "--json"])?;
    let health: serde_json::Value = serde_json::from_str(&health)?;
    let checks = health.as_array().context("checks")?;
    let up = checks
        .iter()
        .filter(|check| check["health"] == "up")
        .count();

    println!(
        "checks: {CHECKS} by tcp, interval 1 s, over {} s\n",
        WINDOW.as_secs()
    );
    println!("| | wanted | measured |\n| --- | --- | --- |");
    println!("| lbd's use of a core | {MOST_CORES} | {cores:.2} |");
    println!("| memory, MB | {MOST_MB} | {memory:.0} |");
    println!("| probes a second | {CHECKS} | {rate:.0} |");
    println!("| reals up | {CHECKS} | {up} |");
    ensure!(up == CHECKS as usize, "checks: {up} reals are up");
    ensure!(
        RATES.contains(&(rate / f64::from(CHECKS))),
        "checks: {rate:.0} probes a second"
    );
    ensure!(cores < MOST_CORES, "checks: {cores:.2} of a core");
    ensure!(memory < MOST_MB, "checks: {memory:.0} MB");
    Ok(())
}

fn rip(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 2, 100 + number)
}

fn services() -> String {
    let mut text = String::new();
    for service in 0..SERVICES {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n[[service]]\nprotocol = \"tcp\"\naddress = \"10.9.0.1\"\nport = {}\nforward = \"nat\"\n\
             health = {{ type = \"tcp\", interval = \"1s\", timeout = \"900ms\" }}\n",
            1000 + service
        );
        for real in 0..REALS {
            let _ = write!(
                text,
                "[[service.real]]\naddress = \"{}\"\nport = {PORT}\n",
                rip(real)
            );
        }
    }
    text
}

/// Listens at the real, and takes what comes about in spite of the reset: of probes that
/// lbd was too late for. The thread ends with the process.
fn answer(network: &Topology) -> Result<()> {
    let listener =
        network.reals[0].enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)))??;
    thread::spawn(move || {
        loop {
            drop(listener.accept());
        }
    });
    Ok(())
}

/// Probes that have come to the real: a SYN and an RST each (`Tcp: InSegs`, RFC 4022).
fn probes(network: &Topology) -> Result<u64> {
    let snmp = network.reals[0].run("cat", &["/proc/net/snmp"])?;
    let mut tcp = snmp.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (tcp.next().context("Tcp:")?, tcp.next().context("Tcp:")?);
    let column = names.split(' ').position(|name| name == "InSegs");
    let value = values.split(' ').nth(column.context("InSegs")?);
    Ok(value.context("InSegs")?.parse::<u64>()? / 2)
}

/// In user and kernel mode (`proc_pid_stat(5)`, fields 14 and 15).
fn cpu_s(daemon: &Daemon<'_>) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid()))?;
    let (_, fields) = stat.rsplit_once(") ").context("/proc/PID/stat")?;
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks: Result<Vec<f64>, _> = ticks.map(str::parse).collect();
    Ok(ticks?.iter().sum::<f64>() / TICKS)
}
