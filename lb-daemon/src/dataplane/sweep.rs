//! The walk over the connection tables: a thread that reads them in batches,
//! hands idle entries to the sweep programs, and reports which reals are still
//! referred to. No call holds up packets: a batch locks one bucket at a time,
//! a run of a sweep program takes microseconds.
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

use aya::Pod;
use lb_common::{
    connection::{Connection, direction, is_idle},
    flow::{FlowKey, FlowKeyV4, FlowKeyV6},
    limits::SWEEP_BATCH,
    sweep::{Header, mode},
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

/// Seconds by [`lb_common::tcp_state::ConnectionState`].
type TimeoutsS = [u32; 32];

/// What a whole walk found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Entries in IPv4's table and in IPv6's, both halves of nat connections.
    pub entries_v4: u64,
    pub entries_v6: u64,
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
    Timeouts(TimeoutsS),
    Cut(Vec<u32>),
    Stop,
}

/// The thread's handle. Dropping it stops the thread.
#[derive(Debug)]
pub struct Sweeper {
    commands: mpsc::Sender<Command>,
    thread: Option<JoinHandle<()>>,
}

/// A connection table and the sweep program of its family.
#[derive(Debug)]
pub struct Swept {
    pub connections: OwnedFd,
    pub program: OwnedFd,
}

impl Sweeper {
    /// Starts walking both tables. A report comes after each walk.
    pub fn start(
        v4: Swept,
        v6: Swept,
        timeouts: TimeoutsS,
        reports: tokio::sync::mpsc::Sender<Report>,
    ) -> io::Result<Self> {
        let (commands, inbox) = mpsc::channel();
        let mut walker = Walker {
            v4: Table::new(v4),
            v6: Table::new(v6),
            timeouts,
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
    pub fn set_timeouts(&self, timeouts: TimeoutsS) {
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
    v4: Table<FlowKeyV4>,
    v6: Table<FlowKeyV6>,
    timeouts: TimeoutsS,
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
                Err(error) => tracing::error!(%error, "walking the connection tables failed"),
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
        let mut report = Report::default();
        let is_chosen = |connection: &Connection, now| match cut {
            Some(reals) => reals.contains(&connection.real),
            None => looks_idle(&self.timeouts, connection, now),
        };
        let how = if cut.is_some() { mode::ALL } else { mode::IDLE };
        let referenced = &mut report.referenced;
        report.entries_v4 = self.v4.walk(how, &is_chosen, referenced)?;
        report.entries_v6 = self.v6.walk(how, &is_chosen, referenced)?;
        Ok(report)
    }
}

/// A reverse entry too: the program ends it when its forward entry is gone.
fn looks_idle(timeouts: &TimeoutsS, connection: &Connection, now: u64) -> bool {
    // A state that is no state (0xff: being deleted) has some timeout: the
    // program decides.
    let timeout = timeouts[connection.state as usize % timeouts.len()];
    debug_assert!(connection.direction <= direction::REVERSE);
    is_idle(now, connection.last_seen_ns, timeout)
}

/// One family's table as the walk goes through it.
struct Table<K> {
    swept: Swept,
    /// Keys for the next run of the sweep program.
    chosen: Vec<K>,
}

impl<K: FlowKey + Pod> Table<K> {
    fn new(swept: Swept) -> Self {
        Self {
            swept,
            chosen: Vec::with_capacity(SWEEP_BATCH),
        }
    }

    /// Ends what `is_chosen`, in the mode `how`, and notes every real that is
    /// referred to. Returns how many entries there were.
    fn walk(
        &mut self,
        how: u8,
        is_chosen: &impl Fn(&Connection, u64) -> bool,
        referenced: &mut SlotSet,
    ) -> io::Result<u64> {
        let mut keys = vec![MaybeUninit::<K>::uninit(); BATCH];
        let mut values = vec![MaybeUninit::<Connection>::uninit(); BATCH];
        let mut entries = 0;
        let mut position = None;
        loop {
            let table = self.swept.connections.as_fd();
            let (count, next) = lookup_batch(table, position, &mut keys, &mut values)?;
            let now = now_ns();
            for (key, value) in keys[..count].iter().zip(&values[..count]) {
                // SAFETY: the call filled the first `count` of both.
                let (key, connection) =
                    unsafe { (key.assume_init_read(), value.assume_init_ref()) };
                entries += 1;
                referenced.insert(connection.real);
                if is_chosen(connection, now) {
                    self.chosen.push(key);
                    if self.chosen.len() == SWEEP_BATCH {
                        self.flush(how)?;
                    }
                }
            }
            self.flush(how)?;
            if next.is_none() {
                return Ok(entries);
            }
            position = next;
            std::thread::sleep(REST);
        }
    }

    /// Hands the collected keys to the sweep program.
    fn flush(&mut self, how: u8) -> io::Result<()> {
        if self.chosen.is_empty() {
            return Ok(());
        }
        let data = input(how, &self.chosen);
        self.chosen.clear();
        test_run(self.swept.program.as_fd(), &data).map(drop)
    }
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
fn now_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(0, |time| {
        time.tv_sec().unsigned_abs() * 1_000_000_000 + time.tv_nsec().unsigned_abs()
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use lb_common::{
        addr::Be16,
        flow::Endpoint,
        tcp_state::ConnectionState::{Sctp, Udp},
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
        assert_eq!((data.len(), &data[..2]), (16 + 2 * 16, &[2, 1][..]));
        assert_eq!(data[2..16], [0; 14]);
        assert_eq!(data[16..24], [198, 51, 100, 7, 192, 0, 2, 10]);
        assert_eq!(data[24..32], [0x9c, 0x40, 0, 80, 6, 0, 0, 0]);

        let v6: FlowKeyV6 = key("2001:db8::7", "2001:db8:1::a");
        let data = input(mode::IDLE, &[v6]);
        assert_eq!((data.len(), &data[..2]), (16 + 40, &[1, 0][..]));
        assert_eq!(data[16..20], [0x20, 1, 0x0d, 0xb8]);
        assert_eq!(data[48..56], [0x9c, 0x40, 0, 80, 6, 0, 0, 0]);
    }

    #[test]
    fn each_state_has_its_own_patience() {
        let mut timeouts = [2; 32];
        timeouts[Sctp as usize] = 900;
        let connection = |state| Connection {
            state,
            last_seen_ns: 0,
            ..Connection::default()
        };
        let now = 300 * 1_000_000_000;
        assert!(!looks_idle(&timeouts, &connection(Sctp as u32), now));
        assert!(looks_idle(&timeouts, &connection(Udp as u32), now));
        assert!(looks_idle(&timeouts, &connection(0xff), now));
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
