//! The walk over the connection table: a thread that reads it in batches,
//! hands idle entries to the sweep program, and reports which reals are still
//! referred to. No call holds up packets: a batch locks one bucket at a time,
//! a run of the sweep program takes microseconds.
//!
//! An entry of a preallocated table may be seen twice or not at all while
//! packets change it; the sweep program decides on what it finds itself, and
//! a real's slot is freed only after a whole walk without a sight of it.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    sync::mpsc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use lb_common::{
    connection::{Connection, direction, is_idle},
    flow::FlowKeyV4,
    limits::SWEEP_BATCH,
    sweep::mode,
};
use nix::time::{ClockId, clock_gettime};

use super::syscall::{lookup_batch, test_run};

/// From the start of one walk to the start of the next: an expired entry may
/// count for 5 s.
const PERIOD: Duration = Duration::from_secs(4);
/// Entries read by one call.
const BATCH: usize = 4096;
/// Rest after each batch: the walk is spread out, not a burst.
const REST: Duration = Duration::from_millis(1);

/// What a whole walk found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Entries in the table, both halves of nat connections.
    pub entries: u64,
    /// Real slots that an entry refers to.
    pub referenced: SlotSet,
    /// When the walk began.
    pub began: Option<Instant>,
}

/// A set of real slots.
#[derive(Clone, Debug, Default)]
pub struct SlotSet(Vec<u64>);

impl SlotSet {
    pub fn insert(&mut self, slot: u32) {
        let word = slot as usize / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (slot % 64);
    }

    #[must_use]
    pub fn contains(&self, slot: u32) -> bool {
        self.0
            .get(slot as usize / 64)
            .is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }
}

#[derive(Debug)]
enum Command {
    Timeouts([u32; 16]),
    Cut(Vec<u32>),
    Stop,
}

/// The thread's handle. Dropping it stops the thread.
#[derive(Debug)]
pub struct Sweeper {
    commands: mpsc::Sender<Command>,
    thread: Option<JoinHandle<()>>,
}

impl Sweeper {
    /// Starts walking `connections`; `program` is the sweep program. A report
    /// comes after each walk.
    pub fn start(
        connections: OwnedFd,
        program: OwnedFd,
        timeouts: [u32; 16],
        reports: tokio::sync::mpsc::Sender<Report>,
    ) -> io::Result<Self> {
        let (commands, inbox) = mpsc::channel();
        let mut walker = Walker {
            connections,
            program,
            timeouts,
            idle: Vec::new(),
        };
        let thread = std::thread::Builder::new()
            .name("sweep".into())
            .spawn(move || walker.run(&inbox, &reports))?;
        Ok(Self {
            commands,
            thread: Some(thread),
        })
    }

    /// Seconds by connection state, from now on.
    pub fn set_timeouts(&self, timeouts: [u32; 16]) {
        let _ = self.commands.send(Command::Timeouts(timeouts));
    }

    /// Ends every connection of these real slots, at once.
    pub fn cut(&self, reals: Vec<u32>) {
        let _ = self.commands.send(Command::Cut(reals));
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Walker {
    connections: OwnedFd,
    program: OwnedFd,
    timeouts: [u32; 16],
    /// Keys for the next run of the sweep program.
    idle: Vec<FlowKeyV4>,
}

impl Walker {
    fn run(
        &mut self,
        inbox: &mpsc::Receiver<Command>,
        reports: &tokio::sync::mpsc::Sender<Report>,
    ) {
        loop {
            let began = Instant::now();
            match self.walk(None) {
                Ok(mut report) => {
                    report.began = Some(began);
                    // A full queue means that nobody needs one more.
                    if let Err(tokio::sync::mpsc::error::TrySendError::Closed(_)) =
                        reports.try_send(report)
                    {
                        return;
                    }
                }
                Err(error) => tracing::error!(%error, "walking the connection table failed"),
            }
            let next = began + PERIOD;
            while let Some(left) = next.checked_duration_since(Instant::now()) {
                match inbox.recv_timeout(left) {
                    Ok(Command::Timeouts(timeouts)) => self.timeouts = timeouts,
                    Ok(Command::Cut(reals)) => {
                        if let Err(error) = self.walk(Some(&reals)) {
                            tracing::error!(%error, "cutting connections failed");
                        }
                    }
                    Ok(Command::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
                    Err(mpsc::RecvTimeoutError::Timeout) => break,
                }
            }
        }
    }

    /// One walk: ends what is idle, or with `cut` what belongs to these reals.
    fn walk(&mut self, cut: Option<&[u32]>) -> io::Result<Report> {
        let mut keys = vec![MaybeUninit::<FlowKeyV4>::uninit(); BATCH];
        let mut values = vec![MaybeUninit::<Connection>::uninit(); BATCH];
        let mut report = Report::default();
        let mut position = None;
        let how = if cut.is_some() { mode::ALL } else { mode::IDLE };
        loop {
            let (count, next) =
                lookup_batch(self.connections.as_fd(), position, &mut keys, &mut values)?;
            let now = now_ns();
            for (key, value) in keys[..count].iter().zip(&values[..count]) {
                // SAFETY: the call filled the first `count` of both.
                let (key, connection) =
                    unsafe { (key.assume_init_read(), value.assume_init_ref()) };
                report.entries += 1;
                report.referenced.insert(connection.real);
                let is_chosen = match cut {
                    Some(reals) => reals.contains(&connection.real),
                    None => self.looks_idle(connection, now),
                };
                if is_chosen {
                    self.idle.push(key);
                    if self.idle.len() == SWEEP_BATCH {
                        self.flush(how)?;
                    }
                }
            }
            self.flush(how)?;
            if next.is_none() {
                return Ok(report);
            }
            position = next;
            std::thread::sleep(REST);
        }
    }

    /// A reverse entry too: the program ends it when its forward entry is gone.
    fn looks_idle(&self, connection: &Connection, now: u64) -> bool {
        let timeout = self.timeouts[(connection.state & 0xf) as usize];
        debug_assert!(connection.direction <= direction::REVERSE);
        is_idle(now, connection.last_seen_ns, timeout)
    }

    /// Hands the collected keys to the sweep program.
    fn flush(&mut self, how: u8) -> io::Result<()> {
        if self.idle.is_empty() {
            return Ok(());
        }
        let mut data = Vec::with_capacity(16 + self.idle.len() * size_of::<FlowKeyV4>());
        data.extend([self.idle.len() as u8, how]);
        data.resize(16, 0);
        for key in self.idle.drain(..) {
            // SAFETY: repr(C) without implicit padding.
            let bytes: [u8; 16] = unsafe { std::mem::transmute(key) };
            data.extend(bytes);
        }
        test_run(self.program.as_fd(), &data).map(drop)
    }
}

/// The clock that the programs stamp entries with.
fn now_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(0, |time| {
        time.tv_sec().unsigned_abs() * 1_000_000_000 + time.tv_nsec().unsigned_abs()
    })
}
