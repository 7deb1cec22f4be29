//! The neighbours that next hops need: which link-layer address to use, and
//! when to have the kernel confirm it. Pure: entries and the time go in,
//! probes come out.
//!
//! - A last known link-layer address stays in use when the kernel forgets the
//!   entry (garbage collection, `ip neigh flush`); only an unanswered probe
//!   ends it.
//! - Deleting an entry looks like a failure for an instant: `neigh_delete`
//!   (net/core/neighbour.c, Linux 6.18) tells of `NUD_FAILED`, then of the
//!   removal. So a failure counts once it has stood for [`FAILURE_GRACE`].
//! - 10,000 real servers behind one gateway are one probe.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{
    agenda::Agenda,
    hop::Reason,
    jitter::Jitter,
    neighbour::{Entry, NeighbourKey},
};

/// How long a failure has to stand before it is believed.
const FAILURE_GRACE: Duration = Duration::from_millis(20);
/// How long an entry may be stale before it is probed, about.
const STALE_PATIENCE: Duration = Duration::from_secs(25);
/// Within which time an entry that is stale from the beginning is probed.
const FIRST_PROBE: Duration = Duration::from_secs(5);
/// The shortest time between two probes of one neighbour.
const PROBE_SPACING: Duration = Duration::from_millis(100);
/// Probes handed out at once.
const PROBES_MAX: usize = 256;
/// Neighbours that no next hop needs of which the last probe is remembered.
const STRAYS_MAX: usize = 4096;

/// All neighbours, and those that are needed.
#[derive(Debug, Default)]
pub(super) struct Neighbourhood {
    /// The kernel's tables; as bounded as they are (`gc_thresh3`).
    entries: HashMap<NeighbourKey, Entry>,
    needed: HashMap<NeighbourKey, Needed>,
    probes: Agenda<NeighbourKey>,
    /// No probes before this time.
    rest_until: Option<Instant>,
    suspects: Agenda<NeighbourKey>,
    /// Neighbours probed without being needed, and when.
    strays: HashMap<NeighbourKey, Instant>,
    /// When those of no account any more were last thrown out.
    strays_swept: Option<Instant>,
    jitter: Jitter,
}

#[derive(Debug, Default)]
struct Needed {
    users: Users,
    /// Last known.
    mac: Option<[u8; 6]>,
    failed: bool,
    /// Probes since the kernel last had an address.
    tries: u32,
    probed: Option<Instant>,
}

/// The addresses whose next hop needs a neighbour: itself alone, where it is a real on the
/// director's own network, or thousands behind a gateway.
#[derive(Debug, Default)]
enum Users {
    #[default]
    None,
    One(IpAddr),
    Many(HashSet<IpAddr>),
}

impl Users {
    fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    fn insert(&mut self, user: IpAddr) {
        match self {
            Self::None => *self = Self::One(user),
            Self::One(one) if *one == user => {}
            Self::One(one) => *self = Self::Many(HashSet::from([*one, user])),
            Self::Many(many) => drop(many.insert(user)),
        }
    }

    fn remove(&mut self, user: IpAddr) {
        match self {
            Self::One(one) if *one == user => *self = Self::None,
            Self::None | Self::One(_) => {}
            Self::Many(many) => drop(many.remove(&user)),
        }
    }

    fn iter(&self) -> impl Iterator<Item = IpAddr> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(one) => (Some(*one), None),
            Self::Many(many) => (None, Some(many)),
        };
        one.into_iter().chain(many.into_iter().flatten().copied())
    }
}

impl Neighbourhood {
    /// Notes that the next hop towards `user` needs the neighbour.
    pub(super) fn need(&mut self, key: NeighbourKey, user: IpAddr, now: Instant) {
        let needed = self.needed.entry(key).or_default();
        let first = needed.users.is_empty();
        needed.users.insert(user);
        if !first {
            return;
        }
        let entry = self.entries.get(&key).copied();
        needed.mac = entry.and_then(Entry::mac);
        match entry {
            Some(Entry::Fresh(_) | Entry::Fixed(_)) => {}
            Some(Entry::Stale(_)) => self.probes.set(key, now + self.jitter.within(FIRST_PROBE)),
            Some(Entry::Incomplete | Entry::Failed) | None => self.probes.set(key, now),
        }
    }

    /// Notes that the next hop towards `user` does not need it any more.
    pub(super) fn release(&mut self, key: NeighbourKey, user: IpAddr) {
        let Some(needed) = self.needed.get_mut(&key) else {
            return;
        };
        needed.users.remove(user);
        if needed.users.is_empty() {
            self.needed.remove(&key);
            self.probes.remove(key);
            self.suspects.remove(key);
        }
    }

    /// The link-layer address to use.
    pub(super) fn mac(&self, key: NeighbourKey) -> Result<[u8; 6], Reason> {
        let needed = self.needed.get(&key);
        match needed.and_then(|needed| needed.mac) {
            Some(mac) => Ok(mac),
            None if needed.is_some_and(|needed| needed.failed) => Err(Reason::NeighbourFailed),
            None => Err(Reason::NeighbourPending),
        }
    }

    /// The addresses whose next hop needs the neighbour.
    pub(super) fn users(&self, key: NeighbourKey) -> impl Iterator<Item = IpAddr> {
        let needed = self.needed.get(&key).into_iter();
        needed.flat_map(|needed| needed.users.iter())
    }

    /// Takes in an entry as the kernel has it now. True if [`Self::mac`] may
    /// give another answer than before.
    pub(super) fn learn(&mut self, key: NeighbourKey, entry: Entry, now: Instant) -> bool {
        let former = self.entries.insert(key, entry);
        let Some(needed) = self.needed.get_mut(&key) else {
            return false;
        };
        match entry {
            Entry::Fresh(_) | Entry::Fixed(_) => self.probes.remove(key),
            Entry::Stale(_) if matches!(former, Some(Entry::Stale(_))) => {}
            Entry::Stale(_) => {
                let patience = self.jitter.around(STALE_PATIENCE);
                self.probes.set(key, now + patience);
            }
            Entry::Incomplete => {
                let patience = self.jitter.backoff(needed.tries);
                self.probes.set(key, now + patience);
            }
            Entry::Failed => self.suspects.hasten(key, now + FAILURE_GRACE),
        }
        let Some(mac) = entry.mac() else {
            return false;
        };
        self.suspects.remove(key);
        needed.tries = 0;
        needed.failed = false;
        needed.mac.replace(mac) != Some(mac)
    }

    /// Takes in that the kernel has no entry any more.
    pub(super) fn forget(&mut self, key: NeighbourKey, now: Instant) {
        self.entries.remove(&key);
        self.suspects.remove(key);
        if self.needed.get(&key).is_some_and(|needed| !needed.failed) {
            self.probes.set(key, now);
        }
    }

    /// Takes in the whole of the kernel's tables. The neighbours for which
    /// [`Self::mac`] may give another answer than before.
    pub(super) fn replace(
        &mut self,
        entries: Vec<(NeighbourKey, Entry)>,
        now: Instant,
    ) -> Vec<NeighbourKey> {
        let present: HashSet<_> = entries.iter().map(|(key, _)| *key).collect();
        let gone = self.entries.keys().filter(|key| !present.contains(key));
        for key in gone.copied().collect::<Vec<_>>() {
            self.forget(key, now);
        }
        let changed = entries
            .into_iter()
            .filter(|(key, entry)| self.learn(*key, *entry, now));
        changed.map(|(key, _)| key).collect()
    }

    /// The neighbours whose failure has stood long enough to be believed.
    pub(super) fn take_failures(&mut self, now: Instant) -> Vec<NeighbourKey> {
        let mut failures = Vec::new();
        while let Some(key) = self.suspects.pop(now) {
            let Some(needed) = self.needed.get_mut(&key) else {
                continue;
            };
            needed.mac = None;
            needed.failed = true;
            let patience = self.jitter.backoff(needed.tries);
            self.probes.hasten(key, now + patience);
            failures.push(key);
        }
        failures
    }

    /// Notes that a packet had no use of the neighbour: it is probed soon.
    pub(super) fn want(&mut self, key: NeighbourKey, now: Instant) {
        if self.needed.contains_key(&key) {
            self.probes.hasten(key, now);
            return;
        }
        let recent = |at: &Instant| now.saturating_duration_since(*at) < PROBE_SPACING;
        if self.strays.get(&key).is_some_and(recent) {
            return;
        }
        if self.strays.len() >= STRAYS_MAX && !self.strays_swept.as_ref().is_some_and(recent) {
            self.strays.retain(|_, at| recent(at));
            self.strays_swept = Some(now);
        }
        if self.strays.len() < STRAYS_MAX {
            self.strays.insert(key, now);
            self.probes.set(key, now);
        }
    }

    /// The probes to make now.
    pub(super) fn take_probes(&mut self, now: Instant) -> Vec<NeighbourKey> {
        let mut probes = Vec::new();
        if self.rest_until.is_some_and(|until| until > now) {
            return probes;
        }
        self.rest_until = None;
        while probes.len() < PROBES_MAX
            && let Some(key) = self.probes.pop(now)
        {
            let entry = self.entries.get(&key);
            if matches!(entry, Some(Entry::Fresh(_) | Entry::Fixed(_))) {
                continue;
            }
            if let Some(needed) = self.needed.get_mut(&key) {
                let free = needed.probed.map(|at| at + PROBE_SPACING);
                if let Some(free) = free.filter(|free| *free > now) {
                    self.probes.set(key, free);
                    continue;
                }
                needed.probed = Some(now);
                let patience = match entry {
                    Some(Entry::Stale(_)) => self.jitter.around(STALE_PATIENCE),
                    _ => self.jitter.backoff(needed.tries),
                };
                needed.tries = needed.tries.saturating_add(1);
                self.probes.set(key, now + patience);
            }
            probes.push(key);
        }
        probes
    }

    /// When there is something to take.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let next_probe = self.probes.next().max(self.rest_until);
        let probes = self.probes.next().and(next_probe);
        [probes, self.suspects.next()].into_iter().flatten().min()
    }

    /// There are no more probes before `until`, and all of them later.
    pub(super) fn rest(&mut self, until: Instant) {
        self.rest_until = Some(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const NEW: [u8; 6] = [2, 0, 0, 0, 0, 2];
    const MS: Duration = Duration::from_millis(1);
    const S: Duration = Duration::from_secs(1);

    fn key() -> NeighbourKey {
        NeighbourKey {
            ifindex: 2,
            address: user(),
        }
    }

    fn user() -> IpAddr {
        "192.0.2.7".parse().unwrap()
    }

    /// One needed neighbour that the kernel has found.
    fn found(entry: Entry) -> (Neighbourhood, Instant) {
        let now = Instant::now();
        let mut hood = Neighbourhood::default();
        hood.need(key(), user(), now);
        hood.learn(key(), entry, now);
        (hood, now)
    }

    /// The times at which probes are made, up to `end`.
    fn probe_times(hood: &mut Neighbourhood, start: Instant, end: Duration) -> Vec<Duration> {
        let mut times = Vec::new();
        while let Some(next) = hood.deadline().filter(|next| *next <= start + end) {
            hood.take_failures(next);
            for _ in hood.take_probes(next) {
                times.push(next.saturating_duration_since(start));
            }
        }
        times
    }

    #[test]
    fn an_unknown_neighbour_is_probed_at_once_then_ever_more_rarely() {
        let now = Instant::now();
        let mut hood = Neighbourhood::default();
        hood.need(key(), user(), now);
        assert_eq!(hood.mac(key()), Err(Reason::NeighbourPending));
        let times = probe_times(&mut hood, now, 300 * S);
        assert_eq!(times[0], Duration::ZERO);
        // 1 + 2 + 4 + 8 + 16 s, then every 30 s.
        assert!((10..=20).contains(&times.len()), "{times:?}");
        assert!(times[1] > 700 * MS && times[1] < 1300 * MS, "{times:?}");
    }

    #[test]
    fn a_stale_one_is_probed_every_25_seconds_and_a_fresh_one_never() {
        let (mut hood, now) = found(Entry::Stale(OLD));
        let times = probe_times(&mut hood, now, 100 * S);
        assert!((3..=5).contains(&times.len()), "{times:?}");
        let (mut hood, now) = found(Entry::Fresh(OLD));
        assert!(probe_times(&mut hood, now, 100 * S).is_empty());
    }

    #[test]
    fn one_set_by_the_operator_is_never_probed() {
        let (mut hood, now) = found(Entry::Fixed(OLD));
        hood.want(key(), now);
        assert_eq!(hood.take_probes(now), []);
        hood.release(key(), user());
        hood.want(key(), now + S);
        assert_eq!(hood.take_probes(now + S), []);
    }

    #[test]
    fn a_flushed_neighbour_keeps_its_address_and_is_probed_at_once() {
        let (mut hood, now) = found(Entry::Fresh(OLD));
        hood.learn(key(), Entry::Failed, now);
        hood.forget(key(), now + MS);
        assert_eq!(hood.take_failures(now + S), []);
        assert_eq!(hood.mac(key()), Ok(OLD));
        assert_eq!(hood.take_probes(now + MS), [key()]);
        hood.learn(key(), Entry::Incomplete, now + 2 * MS);
        assert_eq!(hood.mac(key()), Ok(OLD));
        assert!(hood.learn(key(), Entry::Fresh(NEW), now + 3 * MS));
        assert_eq!(hood.mac(key()), Ok(NEW));
    }

    #[test]
    fn a_failure_that_stands_is_believed_and_retried() {
        let (mut hood, now) = found(Entry::Fresh(OLD));
        hood.learn(key(), Entry::Failed, now);
        assert_eq!(hood.take_failures(now + 19 * MS), []);
        assert_eq!(hood.mac(key()), Ok(OLD));
        assert_eq!(hood.take_failures(now + 20 * MS), [key()]);
        assert_eq!(hood.mac(key()), Err(Reason::NeighbourFailed));
        assert!(!probe_times(&mut hood, now, 3 * S).is_empty());
        // The kernel drops failed entries: still failed, not pending.
        hood.forget(key(), now + 3 * S);
        assert_eq!(hood.mac(key()), Err(Reason::NeighbourFailed));
        assert!(hood.learn(key(), Entry::Fresh(OLD), now + 4 * S));
    }

    #[test]
    fn traffic_of_the_host_itself_does_not_hide_a_failure() {
        let (mut hood, now) = found(Entry::Fresh(OLD));
        hood.learn(key(), Entry::Failed, now);
        hood.learn(key(), Entry::Incomplete, now + MS);
        assert_eq!(hood.take_failures(now + 20 * MS), [key()]);
    }

    #[test]
    fn probes_on_request_are_100_ms_apart() {
        let now = Instant::now();
        let mut hood = Neighbourhood::default();
        hood.need(key(), user(), now);
        let stray = NeighbourKey {
            ifindex: 3,
            ..key()
        };
        let mut made = HashMap::<_, u32>::new();
        for at in (0..1000).map(|ms| now + ms * MS) {
            hood.want(key(), at);
            hood.want(stray, at);
            for probe in hood.take_probes(at) {
                *made.entry(probe).or_default() += 1;
            }
        }
        assert_eq!(made[&key()], 10);
        assert_eq!(made[&stray], 10);
    }

    /// A probe in the rest, or a deadline that has passed and brings none, shows as one.
    #[test]
    fn a_rest_puts_probes_off() {
        let now = Instant::now();
        let mut hood = Neighbourhood::default();
        hood.rest(now + S);
        assert_eq!(hood.deadline(), None);
        hood.need(key(), user(), now);
        assert_eq!(hood.deadline(), Some(now + S));
        assert_eq!(hood.take_probes(now), []);
        assert_eq!(hood.take_probes(now + S), [key()]);
    }

    /// A user that is lost, or stays, on the way from one to many shows.
    #[test]
    fn a_neighbour_has_no_users_or_one_or_many() {
        let mut users = Users::default();
        assert!(users.is_empty());
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        for n in [1, 1, 2, 3] {
            users.insert(address(n));
        }
        let mut all: Vec<_> = users.iter().collect();
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3].map(address));
        for n in [3, 1, 9] {
            users.remove(address(n));
        }
        assert_eq!(users.iter().collect::<Vec<_>>(), [address(2)]);
        users.remove(address(2));
        assert!(users.is_empty());
        users = Users::One(address(1));
        users.remove(address(2));
        users.remove(address(1));
        assert!(users.is_empty());
    }

    #[test]
    fn strays_are_bounded() {
        let now = Instant::now();
        let mut hood = Neighbourhood::default();
        for ifindex in 0..20_000 {
            hood.want(NeighbourKey { ifindex, ..key() }, now);
        }
        assert_eq!(hood.strays.len(), STRAYS_MAX);
        hood.want(key(), now + S);
        assert_eq!(hood.strays.len(), 1);
    }

    #[test]
    fn a_dump_tells_what_has_gone_and_what_has_changed() {
        let (mut hood, now) = found(Entry::Fresh(OLD));
        assert_eq!(hood.replace(vec![(key(), Entry::Fresh(NEW))], now), [key()]);
        assert_eq!(hood.replace(vec![(key(), Entry::Stale(NEW))], now), []);
        assert_eq!(hood.replace(vec![], now), []);
        assert_eq!(hood.mac(key()), Ok(NEW));
        assert_eq!(hood.take_probes(now), [key()]);
    }
}
