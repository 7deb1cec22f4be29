//! The walk over the connection tables and the persistence templates: a thread
//! that reads the tables as memory, and of the templates what an iterator program
//! finds, hands what is to end to the sweep programs, and reports which reals are
//! still referred to. No call holds up packets: nothing is locked, and a run of a
//! sweep program takes microseconds.
//!
//! An entry may be seen twice, not at all, or half as it was before, while
//! packets change it; the sweep program decides on what it finds itself, and
//! a real's slot is freed only after a whole walk without a sight of it.

mod connections;
mod due;
mod ender;
mod localities;
mod period;
mod recount;
mod templates;
mod walker;

use std::{
    io,
    net::IpAddr,
    os::fd::{BorrowedFd, OwnedFd},
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use aya::{
    Pod,
    maps::{MapData, RingBuf},
};
use lb_common::{
    flow::{FlowKeyV4, FlowKeyV6},
    limits::SWEEP_BATCH,
    sweep::{Header, Repair, mode},
};
use nix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;

use super::{connection_table::ConnectionTable, localities::Localities, syscall::test_run};
use walker::Walker;

/// What a whole walk found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Entries in IPv4's table and in IPv6's, both halves of nat connections,
    /// and persistence templates.
    pub entries_v4: u64,
    pub entries_v6: u64,
    pub templates: u64,
    /// Real slots that an entry or a template refers to.
    pub referenced: SlotSet,
    /// When the walk began.
    pub began: Option<Instant>,
    /// From then to the start of the next one, unless there is a reason to hurry.
    pub period: Duration,
    /// The longest that one call into the kernel took.
    pub longest_call: Duration,
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

impl FromIterator<u32> for SlotSet {
    fn from_iter<T: IntoIterator<Item = u32>>(slots: T) -> Self {
        let mut set = Self::default();
        for slot in slots {
            set.insert(slot);
        }
        set
    }
}

/// Whose connections are to end.
#[derive(Debug)]
pub enum Whose {
    /// Those of real slots.
    Reals(Vec<u32>),
    /// Those of clients who may not connect: in one of the first networks, or
    /// where there are second ones in none of them.
    Denied(Vec<(IpAddr, u8)>, Vec<(IpAddr, u8)>),
}

/// How connections end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// At once, and what their clients still send is answered with RST.
    Cut,
    /// With their next packet.
    Doom,
    /// As by `Cut`, and their clients' persistence is forgotten too.
    Flush,
}

#[derive(Debug)]
enum Command {
    End(Whose, How, oneshot::Sender<io::Result<()>>),
    Stop,
}

/// The thread's handle. Dropping it stops the thread.
#[derive(Debug)]
pub struct Sweeper {
    commands: mpsc::Sender<Command>,
    thread: Option<JoinHandle<()>>,
}

/// A connection table, and the program that ends its entries.
#[derive(Debug)]
pub struct SweptConnections<K> {
    pub table: Arc<ConnectionTable<K>>,
    pub program: OwnedFd,
}

/// The templates, the iterator over them, and the program that ends them.
#[derive(Debug)]
pub struct SweptTemplates {
    pub entries: OwnedFd,
    /// A link.
    pub iterator: OwnedFd,
    pub program: OwnedFd,
}

/// What the walk reads and writes.
pub struct Walked {
    pub v4: SweptConnections<FlowKeyV4>,
    pub v6: SweptConnections<FlowKeyV6>,
    pub templates: SweptTemplates,
    /// `LIVE`, and `REAL_COUNTS` and `TABLE_STATES` with the program that
    /// corrects them.
    pub live: OwnedFd,
    pub real_counts: OwnedFd,
    /// Real slots.
    pub reals: u32,
    /// What lblc and lblcr remember, and `SETTINGS`, which say for how long.
    pub localities: Localities,
    pub settings: OwnedFd,
    pub table_states: OwnedFd,
    pub repair: OwnedFd,
    /// Where the walk stands.
    pub pace: OwnedFd,
    /// What is over before a walk comes by.
    pub expiries: RingBuf<MapData>,
}

impl Sweeper {
    /// Starts walking. A report comes after each walk.
    pub fn start(walked: Walked, reports: tokio::sync::mpsc::Sender<Report>) -> io::Result<Self> {
        let (commands, inbox) = mpsc::channel();
        let mut walker = Walker::new(walked)?;
        let thread = std::thread::Builder::new()
            .name("sweep".into())
            .spawn(move || walker.run(&inbox, &reports))?;
        Ok(Self {
            commands,
            thread: Some(thread),
        })
    }

    /// Ends connections; ready when none is left, or with what kept the walk
    /// from it. No answer at all: the thread is gone.
    pub fn end(&self, whose: Whose, how: How) -> oneshot::Receiver<io::Result<()>> {
        let (done, wait) = oneshot::channel();
        let _ = self.commands.send(Command::End(whose, how, done));
        wait
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

/// Corrects counts by the program `repair`.
pub(super) fn repair(program: BorrowedFd<'_>, repairs: &[Repair]) -> io::Result<()> {
    for repairs in repairs.chunks(SWEEP_BATCH) {
        test_run(program, &input(mode::IDLE, repairs))?;
    }
    Ok(())
}

/// What a sweep program is run on: the head and the keys.
fn input<K: Pod>(how: u8, keys: &[K]) -> Vec<u8> {
    let header = Header {
        count: keys.len() as u8,
        mode: how,
        pad: [0; 14],
    };
    let mut data = Vec::with_capacity(size_of::<Header>() + size_of_val(keys));
    data.extend([header.count, header.mode]);
    data.extend(header.pad);
    // SAFETY: keys are plain data without padding, as `Pod` says.
    data.extend(unsafe {
        std::slice::from_raw_parts(keys.as_ptr().cast::<u8>(), size_of_val(keys))
    });
    data
}

/// The clock that the programs stamp entries with.
#[must_use]
pub fn now_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(0, |time| {
        time.tv_sec().unsigned_abs() * 1_000_000_000 + time.tv_nsec().unsigned_abs()
    })
}

#[cfg(test)]
mod tests {
    use lb_common::{
        addr::Be16,
        flow::{Endpoint, FlowKey},
    };

    use super::*;

    fn key<K: FlowKey>(client: &str, vip: &str) -> K {
        let endpoint = |address: &str, port| Endpoint {
            address: address.parse::<IpAddr>().unwrap().into(),
            port: Be16::new(port),
        };
        K::new(endpoint(client, 40_000), endpoint(vip, 80), 6)
    }

    #[test]
    fn keys_follow_the_head_as_they_stand_in_the_map() {
        let v4: FlowKeyV4 = key("198.51.100.7", "192.0.2.10");
        let data = input(mode::ALL, &[v4, v4]);
        assert_eq!((data.len(), &data[..2]), (16 + 2 * 16, &[2, mode::ALL][..]));
        assert_eq!(data[2..16], [0; 14]);
        assert_eq!(data[16..24], [198, 51, 100, 7, 192, 0, 2, 10]);
        assert_eq!(data[24..32], [0x9c, 0x40, 0, 80, 6, 0, 0, 0]);

        let v6: FlowKeyV6 = key("2001:db8::7", "2001:db8:1::a");
        let data = input(mode::IDLE, &[v6]);
        assert_eq!((data.len(), &data[..2]), (16 + 40, &[1, mode::IDLE][..]));
        assert_eq!(data[16..20], [0x20, 1, 0x0d, 0xb8]);
        assert_eq!(data[48..56], [0x9c, 0x40, 0, 80, 6, 0, 0, 0]);
    }

    #[test]
    fn slots_are_remembered() {
        let mut slots = SlotSet::default();
        for slot in [0, 63, 64, 4000] {
            assert!(!slots.contains(slot));
            slots.insert(slot);
            assert!(slots.contains(slot) && !slots.contains(slot + 1));
        }
    }
}
