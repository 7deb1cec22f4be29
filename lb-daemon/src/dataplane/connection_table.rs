//! A connection table as memory of this process: read at any time, whatever the
//! programs do meanwhile, and written where no program runs.

use std::{
    fmt::Debug,
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use aya::Pod;
use lb_common::{
    connection::{Connection, mark},
    defence::TableState,
    flow::FlowKey,
    table::{
        Bucket, CHOICES, Entry, FREE_STACKS, FreePlaces, Hash, SLOTS, Shape, Tags, control,
        with_top,
    },
};

use super::{
    buckets::{Batch, Buckets},
    mapped::Mapped,
    syscall::{lookup, replace},
};

/// The maps of one family's table.
#[derive(Debug)]
pub(super) struct Maps {
    pub entries: OwnedFd,
    pub index: OwnedFd,
    pub free: OwnedFd,
    /// `TABLE_STATES`, and the family's place in it.
    pub states: OwnedFd,
    pub family: u32,
}

/// A table of `K`.
#[derive(Debug)]
pub struct ConnectionTable<K> {
    entries: Mapped<Entry<K>>,
    index: Mapped<Bucket>,
    free: Mapped<FreePlaces>,
    states: OwnedFd,
    family: u32,
    shape: Shape,
}

impl<K: FlowKey + Pod> ConnectionTable<K> {
    /// The table in these maps, for so many connections.
    pub(super) fn new(maps: Maps, shape: Shape, connections: u32) -> io::Result<Self> {
        Ok(Self {
            entries: Mapped::new(maps.entries.as_fd(), connections)?,
            index: Mapped::new(maps.index.as_fd(), shape.buckets())?,
            free: Mapped::new(maps.free.as_fd(), FREE_STACKS)?,
            states: maps.states,
            family: maps.family,
            shape,
        })
    }

    /// Places below this have been in use.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn ever_used(&self) -> io::Result<u32> {
        Ok(self.state()?.ever_used)
    }

    /// What is in a place, if it is in use. Its fields may be of two moments.
    #[must_use]
    pub fn at(&self, place: u32) -> Option<(K, Connection)> {
        let Entry { key, connection } = self.entries.get(place)?;
        let is_in_use = connection.state != mark::FREE && connection.method != 0;
        // It may have become another's while it was read.
        let is_whole = is_in_use && self.entries.get(place)?.key == key;
        is_whole.then_some((key, connection))
    }

    /// All that is in use.
    ///
    /// # Errors
    /// As of [`Self::ever_used`].
    pub fn iter(&self) -> io::Result<impl Iterator<Item = (K, Connection)> + '_> {
        let places = 0..self.ever_used()?;
        Ok(places.filter_map(|place| self.at(place)))
    }

    /// The entry of a key.
    #[must_use]
    pub fn find(&self, key: &K) -> Option<Connection> {
        let (_, _, _, place) = self.look_up(key)?;
        let (found, connection) = self.at(place)?;
        (found == *key).then_some(connection)
    }

    /// Is empty, and has of another table of the family what its defences remember.
    ///
    /// No program may run meanwhile.
    ///
    /// # Errors
    /// The kernel does not take the table's state.
    pub(super) fn begin_as(&mut self, other: &Self) -> io::Result<()> {
        self.set_state(other.state()?)?;
        self.clear()
    }

    /// Puts an entry in, or in the place of the key's own. False: there is no room.
    ///
    /// Programs may look up meanwhile, and none may make or end connections.
    ///
    /// # Errors
    /// The kernel does not take the table's state.
    pub fn put(&mut self, key: &K, connection: Connection) -> io::Result<bool> {
        let entry = Entry {
            key: *key,
            connection,
        };
        if let Some((_, _, _, place)) = self.look_up(key) {
            return Ok(self.entries.set(place, &[entry]));
        }
        let hash = Hash::of(key, &self.shape);
        let with_room = (0..CHOICES).find_map(|choice| {
            let number = hash.bucket(&self.shape, choice);
            let free = tags(&self.index.get(number)?).slots(0);
            (!free.is_empty()).then(|| (choice, number, free.first() as usize))
        });
        let state = self.state()?;
        let place = state.ever_used;
        let Some((choice, number, slot)) = with_room else {
            return Ok(false);
        };
        if !self.entries.set(place, &[entry]) {
            return Ok(false);
        }
        self.change(number, |bucket| {
            bucket.places[slot] = place;
            bucket.tags[slot / 4] |= u32::from(hash.tag()) << (slot % 4 * 8);
        });
        self.count_leading_on(hash, choice, |count| *count += 1);
        self.set_state(TableState {
            entries: state.entries.wrapping_add(1),
            ever_used: place + 1,
            ..state
        })?;
        Ok(true)
    }

    /// Takes an entry out. False: there is none.
    ///
    /// No program may run meanwhile.
    ///
    /// # Errors
    /// The kernel does not take the table's state.
    pub fn remove(&mut self, key: &K) -> io::Result<bool> {
        let Some((choice, number, slot, place)) = self.look_up(key) else {
            return Ok(false);
        };
        let stack = self.free.get(0).unwrap_or_default();
        let mut entry = Entry {
            key: *key,
            connection: Connection::default(),
        };
        entry.connection.state = mark::FREE;
        entry.connection.service = stack.top as u32;
        self.entries.set(place, &[entry]);
        let top = with_top(stack.top, place + 1);
        self.free.set(0, &[FreePlaces { top, ..stack }]);
        self.change(number, |bucket| {
            bucket.tags[slot / 4] &= !(0xff << (slot % 4 * 8));
        });
        let hash = Hash::of(key, &self.shape);
        self.count_leading_on(hash, choice, |count| *count -= 1);
        let state = self.state()?;
        self.set_state(TableState {
            entries: state.entries.wrapping_sub(1),
            ..state
        })?;
        Ok(true)
    }

    /// Takes everything out.
    ///
    /// No program may run meanwhile.
    ///
    /// # Errors
    /// The kernel does not take the table's state.
    pub fn clear(&mut self) -> io::Result<()> {
        self.index.clear();
        self.free.clear();
        let state = self.state()?;
        self.set_state(TableState {
            entries: 0,
            ever_used: 0,
            ..state
        })
    }

    /// What is not as it should be, while no program runs: every place that has been
    /// in use is one entry's or free, every entry is found by its key, and nothing is
    /// locked.
    ///
    /// # Errors
    /// As of [`Self::ever_used`].
    pub fn faults(&self) -> io::Result<Vec<String>> {
        let state = self.state()?;
        let mut faults = Vec::new();
        // Of each place: slots that lead there, and stacks that have it.
        let places = self.entries.len().min(state.ever_used as usize);
        let mut uses = vec![(0u32, 0u32); places];
        let (mut elsewhere, mut slots) = (0i64, 0u64);
        for number in 0..self.shape.buckets() {
            let bucket = self.index.get(number).unwrap_or_default();
            if bucket.control & control::LOCKED != 0 {
                faults.push(format!("bucket {number} is locked"));
            }
            elsewhere += i64::from(bucket.control & control::ELSEWHERE);
            for slot in 0..SLOTS {
                if bucket.tags[slot / 4] >> (slot % 4 * 8) & 0xff == 0 {
                    continue;
                }
                slots += 1;
                let place = bucket.places[slot];
                match uses.get_mut(place as usize) {
                    Some((leading, _)) => *leading += 1,
                    None => faults.push(format!("bucket {number} leads to place {place}")),
                }
                let Some((key, _)) = self.at(place) else {
                    faults.push(format!("bucket {number} leads to a free place"));
                    continue;
                };
                match self.look_up(&key) {
                    Some((choice, at, _, _)) if at == number => {
                        elsewhere -= i64::from(choice.min(2));
                    }
                    _ => faults.push(format!("what bucket {number} has is not found")),
                }
            }
        }
        if elsewhere != 0 {
            faults.push(format!("{elsewhere} more are said to be in later buckets"));
        }
        for number in 0..FREE_STACKS {
            let mut link = self.free.get(number).unwrap_or_default().top as u32;
            while let Some(place) = link.checked_sub(1) {
                let Some((_, free)) = uses.get_mut(place as usize) else {
                    faults.push(format!("place {place} is free and was never in use"));
                    break;
                };
                *free += 1;
                if *free > 1 {
                    faults.push(format!("place {place} is free twice"));
                    break;
                }
                link = self
                    .entries
                    .get(place)
                    .unwrap_or_default()
                    .connection
                    .service;
            }
        }
        for (place, used) in uses.iter().enumerate() {
            if !matches!(used, (1, 0) | (0, 1)) {
                faults.push(format!(
                    "place {place} has {} slots and {} stacks",
                    used.0, used.1
                ));
            }
        }
        if u64::from(state.entries) != slots {
            faults.push(format!(
                "{} entries are counted, not {slots}",
                state.entries
            ));
        }
        Ok(faults)
    }

    /// Choice, bucket, slot and place of a key.
    fn look_up(&self, key: &K) -> Option<(u32, u32, usize, u32)> {
        let hash = Hash::of(key, &self.shape);
        for choice in 0..CHOICES {
            let number = hash.bucket(&self.shape, choice);
            let bucket = self.index.get(number)?;
            let tags = tags(&bucket);
            let mut slots = tags.slots(hash.tag());
            while !slots.is_empty() {
                let slot = slots.first() as usize;
                let place = bucket.places[slot];
                if self
                    .entries
                    .get(place)
                    .is_some_and(|entry| entry.key == *key)
                {
                    return Some((choice, number, slot, place));
                }
                slots = slots.without_first();
            }
            if choice <= 1 && !tags.leads_on() {
                return None;
            }
        }
        None
    }

    /// Changes the counts of where a key is looked for before the bucket that it is
    /// in.
    fn count_leading_on(&mut self, hash: Hash, choice: u32, change: impl Fn(&mut u32)) {
        for before in 0..choice.min(2) {
            let number = hash.bucket(&self.shape, before);
            self.change(number, |bucket| change(&mut bucket.control));
        }
    }

    fn change(&mut self, number: u32, change: impl FnOnce(&mut Bucket)) {
        if let Some(mut bucket) = self.index.get(number) {
            change(&mut bucket);
            self.index.set(number, &[bucket]);
        }
    }

    fn state(&self) -> io::Result<TableState> {
        let state = lookup(self.states.as_fd(), &self.family)?;
        state.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn set_state(&self, state: TableState) -> io::Result<()> {
        replace(self.states.as_fd(), &self.family, &state)
    }
}

/// Each place is a bucket of its own.
impl<K> Buckets<K, Connection> for Arc<ConnectionTable<K>>
where
    K: FlowKey + Pod + Send + Sync + Debug,
{
    fn read(&self, first: u32, most: usize) -> io::Result<Option<Batch<K, Connection>>> {
        let end = self.ever_used()?;
        let mut entries = Vec::with_capacity(most);
        for place in first..end {
            let Some(entry) = self.at(place) else {
                continue;
            };
            if entries.len() == most {
                let next = Some(place);
                return Ok((most > 0).then_some(Batch { entries, next }));
            }
            entries.push(entry);
        }
        Ok(Some(Batch {
            entries,
            next: None,
        }))
    }

    fn get(&self, key: &K) -> io::Result<Option<Connection>> {
        Ok(self.find(key))
    }
}

fn tags(bucket: &Bucket) -> Tags {
    let [a, b, c] = bucket.tags.map(u64::from);
    Tags {
        low: b << 32 | a,
        high: u64::from(bucket.control) << 32 | c,
    }
}
