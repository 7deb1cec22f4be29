//! CPU time by the scheduler's accounts: to the nanosecond, and of whom we ask for alone,
//! whatever else the machine does. A softirq is on the account of the thread that it runs
//! on: mostly of whose packet it is, on wires between namespaces.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

/// Programs that run, children that have ended, and all of the kernel's softirq threads.
pub(crate) struct Accounts {
    programs: Vec<PathBuf>,
    softirqs: Vec<PathBuf>,
}

impl Accounts {
    pub(crate) fn open(programs: &[u32]) -> Result<Self> {
        let count = std::thread::available_parallelism().context("counting processors")?;
        Ok(Self {
            programs: programs
                .iter()
                .map(|pid| Path::new("/proc").join(pid.to_string()).join("task"))
                .collect(),
            softirqs: (0..count.get()).map(ksoftirqd).collect::<Result<_>>()?,
        })
    }

    /// What all of them have had.
    pub(crate) fn spent(&self) -> Result<Duration> {
        let children = getrusage(UsageWho::RUSAGE_CHILDREN).context("children's CPU time")?;
        let children = children.user_time() + children.system_time();
        let mut spent = Duration::from_micros(children.num_microseconds().try_into()?);
        for thread in &self.softirqs {
            spent += of_thread(thread)?;
        }
        for threads in &self.programs {
            let entries = fs::read_dir(threads);
            for thread in entries.with_context(|| threads.display().to_string())? {
                spent += of_thread(&thread?.path())?;
            }
        }
        Ok(spent)
    }
}

/// A thread's, by its directory in /proc. Documentation/scheduler/sched-stats.rst: the
/// first field of its schedstat is the time spent on the processor, in nanoseconds.
pub(crate) fn of_thread(directory: &Path) -> Result<Duration> {
    let path = directory.join("schedstat");
    let account = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let spent = account
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .parse();
    let spent = spent.with_context(|| format!("{}: {account}", path.display()))?;
    Ok(Duration::from_nanos(spent))
}

/// The directory of a processor's softirq thread.
pub(crate) fn ksoftirqd(processor: usize) -> Result<PathBuf> {
    let name = format!("ksoftirqd/{processor}\n");
    for entry in fs::read_dir("/proc").context("reading /proc")? {
        let path = entry?.path();
        // Others' processes may end at any time.
        if fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm == name) {
            return Ok(path);
        }
    }
    anyhow::bail!("no thread {}", name.trim_end())
}
