//! The attacker: a namespace with a wire of its own into the director.

use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::segment::{self, Segment};
use super::wire::{Wire, succeeded};
use crate::namespace::Namespace;
use crate::topology::{Host, PORT, Topology};
use crate::{link, scratch};

/// The director's interface at the attacker's wire, for lbd's configuration.
pub const ARM: &str = "eth2";

/// What is sent in a system call, and how soon the next one follows.
const TURN: Duration = Duration::from_millis(1);
const TURNS_A_SECOND: u32 = 1000;

/// The attacker.
#[derive(Debug)]
pub struct Attacker {
    /// The MAC address of the director's end of the wire.
    station: [u8; 6],
    namespace: Namespace,
    /// The number of the next sender: no flood has those of another.
    next: AtomicU32,
}

/// What he sends, and where to.
#[derive(Debug, Clone, Copy)]
pub struct Flood {
    /// What the segments are.
    pub segment: Segment,
    /// Where they go to.
    pub address: Ipv4Addr,
    /// How many a second, if the machine has the time.
    pub rate: u32,
}

/// How far a flood has got.
#[derive(Debug, Default)]
pub struct Progress {
    sent: AtomicU32,
    lost: AtomicU32,
}

impl Progress {
    /// Segments that are on the wire, each of another sender.
    pub fn sent(&self) -> u32 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Segments that the wire had no room for.
    pub fn lost(&self) -> u32 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Attacker {
    /// Connects an attacker to the director's new interface [`ARM`], and lets
    /// answers to what he sends end where they are routed.
    pub fn connect(network: &Topology) -> Result<Self> {
        let name = scratch::namespace_name(network.scratch().number(), "attacker");
        let namespace = Namespace::create(&name)?;
        link::wire(&network.director, ARM, &namespace, "eth0")?;
        for router in [&*network.director, &network.switch] {
            router.ip(&format!("route add blackhole {}\n", segment::NETWORK))?;
        }
        let station = link::station(&network.director, ARM)?;
        Ok(Self {
            station,
            namespace,
            next: AtomicU32::new(0),
        })
    }

    /// Does something during a flood, which ends with it.
    pub fn during<T>(&self, flood: &Flood, function: impl FnOnce(&Progress) -> T) -> Result<T> {
        let (progress, stop) = (Progress::default(), AtomicBool::new(false));
        thread::scope(|scope| {
            let flooding = scope.spawn(|| self.send(flood, &progress, &stop));
            // A panic here must not leave the flood running for ever.
            let outcome = catch_unwind(AssertUnwindSafe(|| function(&progress)));
            stop.store(true, Ordering::Relaxed);
            match flooding.join() {
                Ok(result) => result?,
                Err(panic) => resume_unwind(panic),
            }
            Ok(outcome.unwrap_or_else(|panic| resume_unwind(panic)))
        })
    }

    /// Sends until told to stop. What is late is made up for.
    fn send(&self, flood: &Flood, progress: &Progress, stop: &AtomicBool) -> Result<()> {
        self.namespace.enter(|| {
            do_not_wait_for_others()?;
            let wire = Wire::open("eth0")?;
            let each = flood.rate / TURNS_A_SECOND;
            let frame = flood.segment.frame(self.station, flood.address, PORT);
            let mut frames = vec![frame; each as usize];
            let mut next = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                let first = self.next.fetch_add(each, Ordering::Relaxed);
                for (number, frame) in (0..each).zip(&mut frames) {
                    segment::come_from(frame, first.wrapping_add(number));
                }
                let taken = wire.send(&frames)?;
                progress.sent.fetch_add(taken, Ordering::Relaxed);
                progress.lost.fetch_add(each - taken, Ordering::Relaxed);
                next += TURN;
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            Ok(())
        })?
    }
}

/// How many frames lbd's program has been run for that came by the attacker's wire.
pub fn arrived(director: &Host) -> Result<u64> {
    link::received(director, ARM)
}

/// An attacker's machine does not slow down because the director is busy: the
/// thread goes before all that is not real-time.
fn do_not_wait_for_others() -> Result<()> {
    let priority = libc::sched_param { sched_priority: 1 };
    // SAFETY: a system call about this thread, with a live parameter.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) };
    succeeded(i64::from(result)).context("becoming a real-time thread")?;
    Ok(())
}
