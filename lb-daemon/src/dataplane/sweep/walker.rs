//! The thread: walks, ends in between what is over, and obeys commands.

use std::{
    io,
    mem::MaybeUninit,
    net::IpAddr,
    os::fd::{AsFd as _, OwnedFd},
    sync::mpsc,
    time::{Duration, Instant},
};

use aya::maps::{MapData, RingBuf};
use lb_common::{
    abi::Settings,
    addr::Addr,
    connection::{Connection, direction},
    connection_state::ConnectionState,
    defence::{Defence, TableState},
    flow::{FlowKey, FlowKeyV4, FlowKeyV6},
    limits::{EXPIRIES_BYTES, SHORT_TIMEOUT_S},
    persistence::TemplateKey,
    prefix,
    real::{Live, RealCounts},
    sweep::{Found, Pace, Repair, mode},
};

use super::{
    Command, How, Report, SlotSet, Walked, Whose,
    connections::{Connections, Rules},
    ender::thread_cpu,
    input,
    localities::Forgetting,
    now_ns, period,
    recount::{self, Recount},
    repair,
    templates::Templates,
};
use crate::dataplane::{
    mapped::Mapped,
    syscall::{lookup, lookup_batch, test_run, update_batch},
};

/// Of so many walks one looks into tables that are said to be empty.
const THOROUGH: u32 = 16;
/// How often what is due is looked for.
const TICK: Duration = Duration::from_secs(1);
/// The head of a record in a ring buffer: kernel/bpf/ringbuf.c.
const RECORD_HEADER_BYTES: usize = 8;
/// Announcements at once that may have been too many for the ring, and how long
/// walks come often then: until what was lost is over.
const CROWD_REST: Duration = Duration::from_secs(SHORT_TIMEOUT_S as u64);
const CROWD_BYTES: usize = EXPIRIES_BYTES as usize / 8 * 7;

pub(super) struct Walker {
    v4: Connections<FlowKeyV4>,
    v6: Connections<FlowKeyV6>,
    templates: Templates,
    recount: Recount,
    forgetting: Forgetting,
    /// Written by the walk over the templates.
    live: Mapped<Live>,
    real_counts: Mapped<RealCounts>,
    settings: OwnedFd,
    table_states: OwnedFd,
    repair: OwnedFd,
    pace: OwnedFd,
    expiries: RingBuf<MapData>,
    /// So far.
    walks: u32,
    /// CPU time of the last walk.
    cost: Duration,
    /// From the start of the last walk to the next, if there is no hurry.
    period: Duration,
    /// `drop_entry` is in force.
    is_defending: bool,
    /// When something that is over soon may have gone unannounced.
    crowded: Option<Instant>,
}

impl Walker {
    pub fn new(walked: Walked) -> io::Result<Self> {
        Ok(Self {
            v4: Connections::new(walked.v4),
            v6: Connections::new(walked.v6),
            templates: Templates::new(walked.templates),
            recount: Recount::new(walked.reals),
            settings: walked.settings.try_clone()?,
            forgetting: Forgetting::new(walked.localities, walked.settings),
            live: Mapped::new(walked.live.as_fd(), walked.reals)?,
            real_counts: Mapped::new(walked.real_counts.as_fd(), walked.reals)?,
            table_states: walked.table_states,
            repair: walked.repair,
            pace: walked.pace,
            expiries: walked.expiries,
            walks: 0,
            cost: Duration::ZERO,
            period: period::SHORTEST,
            is_defending: false,
            crowded: None,
        })
    }

    /// Until told to stop, or nobody wants reports any more.
    pub fn run(
        &mut self,
        inbox: &mpsc::Receiver<Command>,
        reports: &tokio::sync::mpsc::Sender<Report>,
    ) {
        loop {
            let began = Instant::now();
            if let Err(error) = self.forgetting.forget_when_due(began) {
                tracing::error!(%error, "forgetting idle destinations failed");
            }
            match self.walk(began) {
                // A full queue means that nobody needs one more.
                Ok(report) => {
                    if let Err(tokio::sync::mpsc::error::TrySendError::Closed(_)) =
                        reports.try_send(report)
                    {
                        return;
                    }
                }
                Err(error) => tracing::error!(%error, "walking the connection tables failed"),
            }
            // Commands are obeyed between any two walks, however long those take.
            let mut next_tick = Instant::now() + TICK;
            loop {
                let next_walk = began + self.rest();
                let wait = next_walk
                    .min(next_tick)
                    .saturating_duration_since(Instant::now());
                match inbox.recv_timeout(wait) {
                    Ok(Command::End(whose, how, done)) => {
                        let outcome = self.end(&whose, how);
                        if let Err(error) = &outcome {
                            tracing::error!(%error, "ending connections failed");
                        }
                        let _ = done.send(outcome);
                    }
                    Ok(Command::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                }
                let now = Instant::now();
                if now >= next_walk {
                    break;
                }
                if now >= next_tick {
                    next_tick = now + TICK;
                    if let Err(error) = self.tick() {
                        tracing::error!(%error, "ending idle connections failed");
                    }
                }
            }
        }
    }

    /// From the start of the last walk to the next: as was said to it, or less.
    fn rest(&self) -> Duration {
        self.period.min(self.period_by_now())
    }

    fn period_by_now(&self) -> Duration {
        if self.is_defending {
            period::in_defence(self.cost)
        } else if self.crowded.is_some_and(|at| at.elapsed() < CROWD_REST) {
            period::SHORTEST
        } else {
            period::after(self.cost)
        }
    }

    /// One walk: ends what is idle, and half-open entries where the defence
    /// `drop_entry` is in force.
    fn walk(&mut self, began: Instant) -> io::Result<Report> {
        let began_cpu = thread_cpu();
        self.period = self.period_by_now();
        let now_ns = now_ns();
        let pace = Pace {
            now_ns,
            until_ns: now_ns + period::ahead(self.period).as_nanos() as u64,
            ..Pace::default()
        };
        update_batch(self.pace.as_fd(), &[0], &[pace])?;
        let states = self.table_states()?;
        let timeouts_s = self.timeouts_s()?;
        let rules = |state: TableState| Rules {
            pace,
            timeouts_s,
            drops_half_open: state.defences & Defence::DropEntry.bit() != 0,
        };
        let before = self.real_counts.copy();
        self.live.clear();
        // A look through the empty templates costs as much as their buckets are
        // many. The numbers may be wrong: now and then they are not believed.
        self.walks = self.walks.wrapping_add(1);
        let is_thorough = self.walks % THOROUGH == 1;
        if is_thorough || before.iter().any(|counts| counts.persistent != 0) {
            self.templates.walk()?;
        }
        let mut live = self.live.copy();
        let templates = references(&live);
        let entries_v4 = self.v4.walk(&rules(states[0]), &mut live)?;
        let entries_v6 = self.v6.walk(&rules(states[1]), &mut live)?;
        let after = self.real_counts.copy();
        let repairs = self.recount.differences(&before, &live, &after);
        repair(self.repair.as_fd(), &repairs)?;
        self.correct_fill(states, [entries_v4, entries_v6])?;
        let [entries_v4, entries_v6] = self.table_states()?.map(|state| state.count().into());
        let longest_calls = [
            self.v4.ender.take_longest_call(),
            self.v6.ender.take_longest_call(),
            self.templates.ender.take_longest_call(),
        ];
        let mut referenced = SlotSet::default();
        for (slot, _) in (0..).zip(&live).filter(|(_, live)| live.references > 0) {
            referenced.insert(slot);
        }
        self.is_defending = is_defending(states);
        self.cost = thread_cpu() - began_cpu;
        Ok(Report {
            entries_v4,
            entries_v6,
            templates,
            referenced,
            began: Some(began),
            period: self.rest(),
            longest_call: longest_calls.into_iter().max().unwrap_or_default(),
        })
    }

    /// Between walks: ends what is over by now, and lets defences end where no
    /// packet comes that would.
    fn tick(&mut self) -> io::Result<()> {
        let now = Instant::now();
        self.collect(now);
        self.v4.ender.end_due(now)?;
        self.v6.ender.end_due(now)?;
        self.templates.ender.end_due(now)?;
        let states = self.table_states()?;
        if states.iter().any(|state| state.defences != 0) {
            self.add_to_fill([0; 2])?;
        }
        self.is_defending = is_defending(states);
        Ok(())
    }

    /// Takes what the programs have announced, at most as much as the ring has
    /// room for: under attack they may announce as fast as this takes it.
    fn collect(&mut self, now: Instant) {
        let mut bytes = 0;
        while bytes < EXPIRIES_BYTES as usize
            && let Some(record) = self.expiries.next()
        {
            bytes += record.len() + RECORD_HEADER_BYTES;
            match record.len() {
                Found::<FlowKeyV4>::BYTES => self.v4.ender.expect(&record, now),
                Found::<FlowKeyV6>::BYTES => self.v6.ender.expect(&record, now),
                Found::<TemplateKey>::BYTES => self.templates.ender.expect(&record, now),
                _ => {}
            }
        }
        if bytes >= CROWD_BYTES {
            self.crowded = Some(now);
        }
    }

    fn timeouts_s(&self) -> io::Result<[u32; ConnectionState::NUMBERS]> {
        let settings: Option<Settings> = lookup(self.settings.as_fd(), &0u32)?;
        Ok(settings.ok_or(io::ErrorKind::NotFound)?.timeouts_s)
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

    /// Corrects the number of entries where it has gone far astray. Under attack
    /// a walk sees many entries twice, more than there can be.
    fn correct_fill(&self, before: [TableState; 2], found: [u64; 2]) -> io::Result<()> {
        let after = self.table_states()?.map(|state| state.entries);
        // A connection has two entries at most.
        let ended =
            [self.v4.ender.ended(), self.v6.ender.ended()].map(|ended| ended.saturating_mul(2));
        self.add_to_fill([0, 1].map(|family| {
            recount::fill_difference(
                before[family].entries,
                found[family],
                ended[family],
                after[family],
            )
        }))
    }

    /// Adds to the number of entries of each family, and has the fill judged.
    fn add_to_fill(&self, differences: [u32; 2]) -> io::Result<()> {
        let fill = |(family, difference)| Repair {
            real: family,
            active: difference,
            ..Repair::default()
        };
        let fills: Vec<Repair> = (0..).zip(differences).map(fill).collect();
        test_run(self.repair.as_fd(), &input(mode::FILL, &fills))?;
        Ok(())
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
                .end_chosen(|template| reals.contains(template.real))?;
        }
        Ok(())
    }
}

/// Entries that a walk has met so far.
fn references(live: &[Live]) -> u64 {
    live.iter().map(|live| u64::from(live.references)).sum()
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

fn is_defending(states: [TableState; 2]) -> bool {
    states
        .iter()
        .any(|state| state.defences & Defence::DropEntry.bit() != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

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
