//! The walk over the connection tables: a thread that reads an iterator
//! program's findings, hands what is to end to the sweep programs, and reports
//! which reals are still referred to. No call holds up packets: the iterator
//! locks nothing, a run of a sweep program takes microseconds.
//!
//! An entry of a preallocated table may be seen twice or not at all while
//! packets change it; the sweep program decides on what it finds itself, and
//! a real's slot is freed only after a whole walk without a sight of it.

mod mapped;
mod recount;
mod table;

use std::{
    io,
    mem::MaybeUninit,
    net::IpAddr,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::mpsc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use aya::Pod;
use lb_common::{
    addr::Addr,
    connection::{Connection, direction},
    defence::{Defence, TableState},
    flow::{FlowKey, FlowKeyV4, FlowKeyV6},
    limits::SWEEP_BATCH,
    persistence::{Template, TemplateKey},
    prefix,
    real::{Live, RealCounts},
    sweep::{Header, Repair, mode},
};
use nix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;

use super::syscall::{lookup_batch, test_run};
use mapped::Mapped;
use recount::Recount;
use table::Table;

/// From the start of one walk to the start of the next: an expired entry may
/// count for 5 s.
const PERIOD: Duration = Duration::from_millis(4500);
/// The same while half-open entries are dropped, as IPVS's `defense_work`.
const DEFENCE_PERIOD: Duration = Duration::from_secs(1);
/// Of so many walks one looks into tables that are said to be empty.
const THOROUGH: u32 = 16;

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

/// A table, the iterator over it, and the program that ends its entries.
#[derive(Debug)]
pub struct Swept {
    pub entries: OwnedFd,
    /// A link.
    pub iterator: OwnedFd,
    pub program: OwnedFd,
}

/// What the walk reads and writes.
#[derive(Debug)]
pub struct Walked {
    pub v4: Swept,
    pub v6: Swept,
    pub templates: Swept,
    /// `LIVE`, and `REAL_COUNTS` and `TABLE_STATES` with the program that
    /// corrects them.
    pub live: OwnedFd,
    pub real_counts: OwnedFd,
    /// Real slots.
    pub reals: u32,
    pub table_states: OwnedFd,
    pub repair: OwnedFd,
}

impl Sweeper {
    /// Starts walking. A report comes after each walk.
    pub fn start(walked: Walked, reports: tokio::sync::mpsc::Sender<Report>) -> io::Result<Self> {
        let (commands, inbox) = mpsc::channel();
        let mut walker = Walker {
            v4: Table::new(walked.v4),
            v6: Table::new(walked.v6),
            templates: Table::new(walked.templates),
            recount: Recount::new(walked.reals),
            live: Mapped::new(walked.live.as_fd(), walked.reals)?,
            real_counts: Mapped::new(walked.real_counts.as_fd(), walked.reals)?,
            table_states: walked.table_states,
            repair: walked.repair,
            walks: 0,
        };
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

struct Walker {
    v4: Table<FlowKeyV4, Connection>,
    v6: Table<FlowKeyV6, Connection>,
    templates: Table<TemplateKey, Template>,
    recount: Recount,
    live: Mapped<Live>,
    real_counts: Mapped<RealCounts>,
    table_states: OwnedFd,
    repair: OwnedFd,
    /// So far.
    walks: u32,
}

impl Walker {
    fn run(
        &mut self,
        inbox: &mpsc::Receiver<Command>,
        reports: &tokio::sync::mpsc::Sender<Report>,
    ) {
        loop {
            let began = Instant::now();
            let mut period = PERIOD;
            match self.walk() {
                Ok((mut report, is_defending)) => {
                    if is_defending {
                        period = DEFENCE_PERIOD;
                    }
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
            let next = began + period;
            while let Some(left) = next.checked_duration_since(Instant::now()) {
                match inbox.recv_timeout(left) {
                    Ok(Command::End(whose, how, done)) => {
                        let outcome = self.end(&whose, how);
                        if let Err(error) = &outcome {
                            tracing::error!(%error, "ending connections failed");
                        }
                        let _ = done.send(outcome);
                    }
                    Ok(Command::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
                    Err(mpsc::RecvTimeoutError::Timeout) => break,
                }
            }
        }
    }

    /// One walk: ends what is idle, and half-open entries where the defence
    /// `drop_entry` is in force; whether it is.
    fn walk(&mut self) -> io::Result<(Report, bool)> {
        let states = self.table_states()?;
        let before = self.real_counts.copy();
        self.live.clear();
        // A look through an empty table costs as much as its buckets are many.
        // The numbers may be wrong: now and then they are not believed.
        self.walks = self.walks.wrapping_add(1);
        let is_thorough = self.walks % THOROUGH == 1;
        if is_thorough || states[0].entries != 0 {
            self.v4.walk()?;
        }
        let entries_v4 = references(&self.live.copy());
        if is_thorough || states[1].entries != 0 {
            self.v6.walk()?;
        }
        let entries = references(&self.live.copy());
        if is_thorough || before.iter().any(|counts| counts.persistent != 0) {
            self.templates.walk()?;
        }
        let live = self.live.copy();
        let after = self.real_counts.copy();
        let repairs = self.recount.differences(&before, &live, &after);
        repair(self.repair.as_fd(), &repairs)?;
        let entries_v6 = entries - entries_v4;
        let [entries_v4, entries_v6] = self.judge_fill(states, [entries_v4, entries_v6])?;
        let longest_calls = [
            self.v4.longest_call(),
            self.v6.longest_call(),
            self.templates.longest_call(),
        ];
        let mut referenced = SlotSet::default();
        for (slot, _) in (0..).zip(&live).filter(|(_, live)| live.references > 0) {
            referenced.insert(slot);
        }
        let report = Report {
            entries_v4,
            entries_v6,
            templates: references(&live) - entries,
            referenced,
            began: None,
            longest_call: longest_calls.into_iter().max().unwrap_or_default(),
        };
        let is_defending = states
            .iter()
            .any(|state| state.defences & Defence::DropEntry.bit() != 0);
        Ok((report, is_defending))
    }

    fn table_states(&self) -> io::Result<[TableState; 2]> {
        let mut keys = [MaybeUninit::<u32>::uninit(); 2];
        let mut states = [MaybeUninit::<TableState>::uninit(); 2];
        let map = self.table_states.as_fd();
        let (count, _) = lookup_batch(map, None, &mut keys, &mut states)?;
        if count != states.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // SAFETY: the call filled both.
        Ok(states.map(|state| unsafe { state.assume_init() }))
    }

    /// Corrects the number of entries where it has gone far astray, and lets
    /// defences end where no packet comes that would. The numbers as they are
    /// then: under attack a walk sees many entries twice, more than there can be.
    fn judge_fill(&self, before: [TableState; 2], found: [u64; 2]) -> io::Result<[u64; 2]> {
        let after = self.table_states()?.map(|state| state.entries);
        // A connection has two entries at most.
        let ended = [self.v4.ended(), self.v6.ended()].map(|ended| ended.saturating_mul(2));
        let differences = [0, 1].map(|family| {
            recount::fill_difference(
                before[family].entries,
                found[family],
                ended[family],
                after[family],
            )
        });
        let fill = |(family, difference)| Repair {
            real: family,
            active: difference,
            ..Repair::default()
        };
        let fills: Vec<Repair> = (0..).zip(differences).map(fill).collect();
        test_run(self.repair.as_fd(), &input(mode::FILL, &fills))?;
        let entries = |family: usize| after[family].wrapping_add(differences[family]);
        Ok([0, 1].map(|family| recount::sane(entries(family)).into()))
    }

    fn end(&mut self, whose: &Whose, how: How) -> io::Result<()> {
        let mode = match how {
            How::Cut | How::Flush => mode::CUT,
            How::Doom => mode::DOOM,
        };
        let reals: SlotSet = match whose {
            Whose::Reals(reals) => reals.iter().copied().collect(),
            Whose::Denied(..) => SlotSet::default(),
        };
        let chosen = |client: Addr, entry: &Connection| {
            let is_it = entry.direction == direction::FORWARD
                && match whose {
                    Whose::Reals(_) => reals.contains(entry.real),
                    Whose::Denied(deny, allow) => is_denied(client, deny, allow),
                };
            is_it.then_some(mode)
        };
        self.v4
            .end_chosen(|key, entry| chosen(key.source().address, entry))?;
        self.v6
            .end_chosen(|key, entry| chosen(key.source().address, entry))?;
        // After the connections: each of them leaves its template.
        if how == How::Flush {
            self.templates
                .end_chosen(|_, template| reals.contains(template.real).then_some(mode::ALL))?;
        }
        Ok(())
    }
}

fn is_denied(client: Addr, deny: &[(IpAddr, u8)], allow: &[(IpAddr, u8)]) -> bool {
    let is_in = |networks: &[(IpAddr, u8)]| {
        networks.iter().any(|(network, length)| {
            network.is_ipv4() == client.is_v4()
                && prefix::network(client, *length, client.is_v4()) == Addr::from(*network)
        })
    };
    is_in(deny) || (!allow.is_empty() && !is_in(allow))
}

/// Entries that a walk has met so far.
fn references(live: &[Live]) -> u64 {
    live.iter().map(|live| u64::from(live.references)).sum()
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
    use std::net::IpAddr;

    use lb_common::{addr::Be16, flow::Endpoint};

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

    #[test]
    fn who_is_denied() {
        let network = |text: &str, length| (text.parse::<IpAddr>().unwrap(), length);
        let deny = [network("203.0.113.0", 24), network("2001:db8:bad::", 48)];
        let allow = [network("198.51.100.0", 24), network("203.0.113.0", 24)];
        let denied = |client: &str, allow: &[(IpAddr, u8)]| {
            is_denied(client.parse::<IpAddr>().unwrap().into(), &deny, allow)
        };
        assert!(denied("203.0.113.9", &[]) && denied("203.0.113.9", &allow));
        assert!(denied("2001:db8:bad::1", &[]) && !denied("2001:db8:900d::1", &[]));
        assert!(!denied("192.0.2.1", &[]) && denied("192.0.2.1", &allow));
        assert!(!denied("198.51.100.1", &allow));
    }
}
