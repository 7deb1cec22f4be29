//! The control plane with 10,000 services of 10 reals each: how long lbd takes to start,
//! to reload a line and to edit a real, how long `lbctl list -n` takes, and lbd's memory.
//!
//! Each time is that of a whole process, as an operator has it: lbd from its exec until it
//! says that it is ready, lbctl from its exec to its end. The 100,000 reals have as many
//! addresses, on the director's own network, and none of them answers: the worst that next
//! hops can be.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lb_tests::daemon::{Binaries, Daemon};
use lb_tests::process;
use lb_tests::topology::{Spec, Topology, Wiring};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::report::Figures;

const SERVICES: u32 = 10_000;
const REALS: u32 = 10;
/// Services and reals begin here.
const VIPS: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 1);
const RIPS: Ipv4Addr = Ipv4Addr::new(10, 128, 0, 2);
/// The director's address in the reals' network.
const DIRECTOR: &str = "10.128.0.1/9";

/// Starts from nothing, and as many that adopt.
const STARTS: u32 = 3;
const RELOADS: u32 = 6;
const EDITS: u32 = 20;
const LISTS: u32 = 5;

/// A line of the table.
struct Line {
    what: &'static str,
    unit: &'static str,
    figures: Figures,
    /// CPU time of lbd and lbctl, ms, whatever else the machine does; none of memory.
    cpu: Option<Figures>,
    /// The median is below it.
    target: f64,
}

/// Prints the table; an error if a target is missed.
pub(crate) fn run() -> Result<()> {
    let binaries = Binaries::locate()?;
    let network = Topology::create(&Spec {
        wiring: Wiring::OneArmed,
        clients: 0,
        reals: 0,
        ..Spec::default()
    })?;
    let address = format!("address add {DIRECTOR} dev eth0\n");
    network.director.ip(&address)?;
    let configuration = configuration(&network)?;
    println!(
        "scale: {SERVICES} services with {REALS} reals each, {} reals that do not answer; each time\n\
         that of a whole process; CPU is lbd's and lbctl's, the median\n",
        SERVICES * REALS
    );
    let lines = measure(&network, &binaries, &configuration)?;
    println!("| | wanted | median | least | greatest | CPU, ms |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let mut misses = String::new();
    for line in &lines {
        line.print();
        line.judge(&mut misses);
    }
    ensure!(misses.is_empty(), "scale:{misses}");
    println!("\nall as wanted");
    Ok(())
}

fn measure(network: &Topology, binaries: &Binaries, configuration: &str) -> Result<Vec<Line>> {
    let mut starts = Vec::new();
    let mut restarts = Vec::new();
    let mut fresh = Vec::new();
    let mut used = Vec::new();
    let mut reloads = Vec::new();
    let mut edits = Vec::new();
    let mut lists = Vec::new();
    for start in 0..STARTS {
        let began = Instant::now();
        let mut daemon = Daemon::start(network, binaries, configuration)?;
        starts.push((ms_since(began), cpu_ms(&daemon)?));
        fresh.push(anonymous_mb(&daemon)?);
        if start == 0 {
            edits = (0..EDITS)
                .map(|edit| time_edit(&daemon, edit))
                .collect::<Result<_>>()?;
            reloads = (0..RELOADS)
                .map(|reload| time_reload(&daemon, configuration, reload))
                .collect::<Result<_>>()?;
            lists = (0..LISTS)
                .map(|_| time_list(&daemon))
                .collect::<Result<_>>()?;
            used.push(anonymous_mb(&daemon)?);
        }
        daemon.stop()?;
        let began = Instant::now();
        daemon.restart()?;
        restarts.push((ms_since(began), cpu_ms(&daemon)?));
        daemon.stop()?;
        unload(network, &daemon, binaries)?;
    }
    Ok(vec![
        Line::of_time("start", starts, 3000.0),
        Line::of_time("start that adopts", restarts, 3000.0),
        Line::of_time("reload of a changed line", reloads, 600.0),
        Line::of_time("`lbctl real edit`", edits, 20.0),
        Line::of_time("`lbctl list -n`", lists, 1000.0),
        Line::of_memory("memory after the start", fresh),
        Line::of_memory("memory after all of it", used),
    ])
}

/// What something took, ms: by the clock, and of CPU time.
type Took = (f64, f64);

/// A new weight for a real, each time of another service.
fn time_edit(daemon: &Daemon<'_>, edit: u32) -> Result<Took> {
    let of = edit * (SERVICES / EDITS);
    let service = format!("tcp:{}:80", nth(VIPS, of));
    let real = nth(RIPS, of * REALS).to_string();
    let weight = (edit + 20).to_string();
    let edit = ["real", "edit", &service, &real, "-w", &weight];
    Ok(time_lbctl(daemon, &edit)?.0)
}

/// One line of the file is another one.
fn time_reload(daemon: &Daemon<'_>, configuration: &str, reload: u32) -> Result<Took> {
    let weight = format!("weight = {}\n", 30 + reload);
    daemon.write_config(&configuration.replacen("weight = 3\n", &weight, 1))?;
    Ok(time_lbctl(daemon, &["reload"])?.0)
}

/// The list is what it has to be.
fn time_list(daemon: &Daemon<'_>) -> Result<Took> {
    let (took, list) = time_lbctl(daemon, &["list", "-n"])?;
    let rows = list.lines().count() as u32;
    let all = 3 + SERVICES * (REALS + 1);
    ensure!(rows == all, "{rows} lines listed, not {all}");
    Ok(took)
}

fn time_lbctl(daemon: &Daemon<'_>, arguments: &[&str]) -> Result<(Took, String)> {
    let (cpu, began) = (cpu_ms(daemon)? + children_ms()?, Instant::now());
    let mut command = daemon.lbctl_command();
    let output = command.args(arguments).stdin(Stdio::null()).output()?;
    let took = ms_since(began);
    let cpu = cpu_ms(daemon)? + children_ms()? - cpu;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "lbctl {arguments:?}: {said}");
    Ok((
        (took, cpu),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    ))
}

/// CPU time of lbd since its start, ms.
fn cpu_ms(daemon: &Daemon<'_>) -> Result<f64> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(i32::try_from(daemon.pid())?))?;
    Ok(Duration::from(clock_gettime(clock)?).as_secs_f64() * 1e3)
}

/// CPU time of all that has been run to its end, ms.
fn children_ms() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let us = (usage.user_time() + usage.system_time()).num_microseconds();
    Ok(us as f64 / 1e3)
}

fn unload(network: &Topology, daemon: &Daemon<'_>, binaries: &Binaries) -> Result<()> {
    let mut command = network.director.command(&binaries.lbd);
    command
        .args(["unload", "--config"])
        .arg(daemon.config_path());
    process::output(&mut command)?;
    fs::remove_dir_all(network.directory().join("state")).context("removing the state")
}

/// What lbd has of its own: what the kernel's maps take is elsewhere.
pub(crate) fn anonymous_mb(daemon: &Daemon<'_>) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid()))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|text| text.trim().strip_suffix(" kB"));
    let kib: f64 = kib.context("no RssAnon")?.parse()?;
    Ok(kib * 1024.0 / 1e6)
}

fn ms_since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}

fn configuration(network: &Topology) -> Result<String> {
    let directory = network.directory().display();
    let pins = network.scratch().bpffs()?.join("lbd");
    let mut text = format!(
        "[director]\n\
         interfaces = [\"eth0\"]\n\
         xdp_mode = \"generic\"\n\
         pin_dir = \"{}\"\n\
         state_dir = \"{directory}/state\"\n\
         socket = \"{directory}/lbd.sock\"\n\
         \n\
         [capacity]\n\
         services = 16384\n\
         reals = 131072\n\
         connections = 65536\n\
         persistence = 4096\n",
        pins.display()
    );
    for service in 0..SERVICES {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n[[service]]\nprotocol = \"tcp\"\naddress = \"{}\"\nport = 80\nscheduler = \"wlc\"\nforward = \"dr\"\n",
            nth(VIPS, service)
        );
        for real in 0..REALS {
            let address = nth(RIPS, service * REALS + real);
            let weight = real + 1;
            let _ = write!(
                text,
                "\n[[service.real]]\naddress = \"{address}\"\nweight = {weight}\n"
            );
        }
    }
    Ok(text)
}

fn nth(first: Ipv4Addr, n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(first.to_bits() + n)
}

impl Line {
    fn of_time(what: &'static str, took: Vec<Took>, target: f64) -> Self {
        let (wall, cpu) = took.into_iter().unzip();
        Self {
            what,
            unit: "ms",
            figures: Figures::of(wall),
            cpu: Some(Figures::of(cpu)),
            target,
        }
    }

    fn of_memory(what: &'static str, megabytes: Vec<f64>) -> Self {
        Self {
            what,
            unit: "MB",
            figures: Figures::of(megabytes),
            cpu: None,
            target: 200.0,
        }
    }

    fn print(&self) {
        let Self {
            what, unit, target, ..
        } = self;
        let Figures {
            least,
            median,
            greatest,
        } = self.figures;
        let cpu = self
            .cpu
            .map_or_else(String::new, |cpu| format!("{:.0}", cpu.median));
        println!(
            "| {what} | {target:.0} {unit} | {median:.0} | {least:.0} | {greatest:.0} | {cpu} |"
        );
    }

    /// Adds what is wrong with it.
    fn judge(&self, misses: &mut String) {
        let Self {
            what, unit, target, ..
        } = self;
        let median = self.figures.median;
        if median >= *target {
            // Writing to a String cannot fail.
            let _ = write!(
                misses,
                "\n{what}: {median:.0} {unit}, wanted less than {target:.0} {unit}"
            );
        }
    }
}
