//! What the packets' way costs: the CPU time of the processor that they are sent by.
//!
//! A veth hands frames over on the processor that sends them, so that all of a packet's
//! way, from the generator to the sink, is on the generator's processor: in softirqs on
//! the generator's thread (`local_bh_enable` after each batch), or, where these are too
//! long, in that processor's ksoftirqd. Both threads' CPU time is the scheduler's, to the
//! nanosecond. The whole machine's (/proc/stat) is not asked: it goes by ticks here, and
//! is everybody's who runs on the machine meanwhile.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use super::accounts;

/// The processor, with its ksoftirqd's directory.
pub(crate) struct Processor {
    number: usize,
    softirqs: PathBuf,
}

impl Processor {
    /// The last one: interrupts of the machine's own devices mostly go to the first.
    pub(crate) fn last() -> Result<Self> {
        let count = std::thread::available_parallelism().context("counting processors")?;
        let number = count.get() - 1;
        let softirqs = accounts::ksoftirqd(number)?;
        Ok(Self { number, softirqs })
    }

    /// Keeps the calling thread on it.
    pub(crate) fn bind(&self) -> Result<()> {
        let mut only = CpuSet::new();
        only.set(self.number)?;
        sched_setaffinity(Pid::from_raw(0), &only)
            .with_context(|| format!("staying on processor {}", self.number))
    }

    /// CPU time that the calling thread and ksoftirqd have had.
    pub(crate) fn spent(&self) -> Result<Duration> {
        let own = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("own CPU time")?;
        Ok(Duration::from(own) + accounts::of_thread(&self.softirqs)?)
    }
}
