//! What a million connections cost while nothing happens: their memory, and the
//! sweep's walk over them.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::MapData;
use lb_common::abi::map;
use lb_daemon::{
    config::model::{IpFamily, Protocol},
    dataplane::sweep::{Sweeper, Walked},
};

use crate::{
    cases::{Case, Method, Path},
    fixture::Bench,
    measure,
};

const FLOWS: u32 = 1 << 20;
/// Walks that are measured, after two others.
const WALKS: u32 = 3;

pub(crate) struct Walk {
    pub entries: u64,
    /// CPU time of the sweep from the start of one walk to that of the next, user
    /// and system.
    pub cpu: Duration,
    pub period: Duration,
    pub longest_call: Duration,
    /// Of the table with room for so many, by the kernel's own account.
    pub table_bytes: u64,
    pub table_entries: u32,
}

/// The sweep over 2^20 connections by dr, and the memory of a table of so many
/// entries. The fixture's last measurement.
pub(crate) fn measure(bench: &mut Bench, table_entries: u32) -> Result<Walk> {
    let case = Case {
        method: Method::Dr,
        path: Path::Established,
        family: IpFamily::V4,
        protocol: Protocol::Tcp,
    };
    bench.serve_anew(&case.service())?;
    measure::connect(bench, &case, FLOWS)?;
    let table_bytes = table_bytes(bench.pins())?;
    of_tables(bench.take_walked()?, table_bytes, table_entries)
}

/// Lets the daemon's own thread walk over what is in the tables.
fn of_tables(walked: Walked, table_bytes: u64, table_entries: u32) -> Result<Walk> {
    let (sender, mut reports) = tokio::sync::mpsc::channel(1);
    let _sweeper = Sweeper::start(walked, sender)?;
    let mut next = || reports.blocking_recv().context("the sweep has ended");
    // The first one's cost says when the third one comes.
    next()?;
    next()?;
    let (before, began) = (thread_cpu("sweep")?, Instant::now());
    let mut longest_call = Duration::ZERO;
    let mut entries = 0;
    for _ in 0..WALKS {
        let report = next()?;
        longest_call = longest_call.max(report.longest_call);
        entries = report.entries_v4;
    }
    let cpu = (thread_cpu("sweep")? - before) / WALKS;
    Ok(Walk {
        entries,
        cpu,
        period: began.elapsed() / WALKS,
        longest_call,
        table_bytes,
        table_entries,
    })
}

/// CPU time of this process's thread of that name: the first field of its
/// `schedstat`, ns.
fn thread_cpu(name: &str) -> Result<Duration> {
    for task in fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        if fs::read_to_string(path.join("comm"))?.trim() == name {
            let text = fs::read_to_string(path.join("schedstat"))?;
            let ns = text.split(' ').next().context("schedstat is empty")?;
            return Ok(Duration::from_nanos(ns.parse()?));
        }
    }
    anyhow::bail!("no thread {name}")
}

/// Of all maps that make up IPv4's connection table.
fn table_bytes(pins: &std::path::Path) -> Result<u64> {
    let mut bytes = 0;
    for name in [map::CONNECTIONS_V4, map::INDEX_V4, map::FREE_V4] {
        let map = MapData::from_pin(pins.join(name)).with_context(|| format!("open {name}"))?;
        bytes += locked_bytes(map.fd().as_fd().as_raw_fd())?;
    }
    Ok(bytes)
}

/// `memlock` of a map's fdinfo.
fn locked_bytes(fd: i32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("memlock:"))
        .context("fdinfo has no memlock")?;
    let bytes = line.trim().parse()?;
    ensure!(
        bytes > 0,
        "the kernel does not account for the map's memory"
    );
    Ok(bytes)
}

impl Walk {
    pub(crate) fn print(&self) {
        println!("\na million connections (dr)");
        println!(
            "memory                 {:>9.0} bytes an entry, {} MB for {}",
            self.table_bytes as f64 / f64::from(self.table_entries),
            self.table_bytes / 1_000_000,
            self.table_entries
        );
        println!(
            "sweep                  {:>9.1} ms of CPU for {} entries, every {:.1} s: {:.2} % of one CPU",
            self.cpu.as_secs_f64() * 1e3,
            self.entries,
            self.period.as_secs_f64(),
            self.cpu.as_secs_f64() / self.period.as_secs_f64() * 100.0
        );
        println!(
            "longest call           {:>9.2} ms",
            self.longest_call.as_secs_f64() * 1e3
        );
    }
}
