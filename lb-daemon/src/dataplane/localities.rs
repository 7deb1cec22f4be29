//! What the schedulers lblc and lblcr remember of destinations, as the daemon
//! reads and forgets it. Programs remember meanwhile; a batch locks one bucket
//! at a time, so that an entry is met once at most.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use lb_common::scheduler::locality::{LocalityKey, LocalitySet, MOST_DESTINATIONS};

use super::{
    sweep::SlotSet,
    syscall::{lookup, lookup_batch, remove, replace, update_batch},
};

/// Destinations that are remembered, of all services.
pub const LOCALITIES: u32 = 16 * MOST_DESTINATIONS;

/// Entries read by one call: more than any bucket has.
const BATCH: usize = 4096;

/// `LOCALITIES` and `LOCALITY_COUNTS`.
#[derive(Debug)]
pub struct Localities {
    entries: OwnedFd,
    counts: OwnedFd,
    services: u32,
}

impl Localities {
    /// `services`: service slots.
    pub(super) const fn new(entries: OwnedFd, counts: OwnedFd, services: u32) -> Self {
        Self {
            entries,
            counts,
            services,
        }
    }

    /// How many destinations are remembered, by service slot.
    pub fn counts(&self) -> io::Result<Vec<u32>> {
        let services = self.services as usize;
        let mut keys = vec![MaybeUninit::<u32>::uninit(); services];
        let mut counts = vec![MaybeUninit::<u32>::uninit(); services];
        let map = self.counts.as_fd();
        let (count, _) = lookup_batch(map, None, &mut keys, &mut counts)?;
        if count != services {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // SAFETY: the call filled them all.
        Ok(counts
            .iter()
            .map(|count| unsafe { count.assume_init() })
            .collect())
    }

    pub(super) fn set_count(&self, service: u32, count: u32) -> io::Result<()> {
        update_batch(self.counts.as_fd(), &[service], &[count])
    }

    /// Shows every entry, with a rest after each batch.
    pub(super) fn walk(
        &self,
        rest: Duration,
        mut visit: impl FnMut(&LocalityKey, LocalitySet) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut keys = vec![MaybeUninit::<LocalityKey>::uninit(); BATCH];
        let mut sets = vec![MaybeUninit::<LocalitySet>::uninit(); BATCH];
        let mut position = None;
        loop {
            let map = self.entries.as_fd();
            let (count, next) = lookup_batch(map, position, &mut keys, &mut sets)?;
            for (key, set) in keys.iter().zip(&sets).take(count) {
                // SAFETY: the call filled the first `count` of both.
                let (key, set) = unsafe { (key.assume_init(), set.assume_init()) };
                visit(&key, set)?;
            }
            if next.is_none() {
                return Ok(());
            }
            position = next;
            if !rest.is_zero() {
                std::thread::sleep(rest);
            }
        }
    }

    /// Forgets one destination.
    pub(super) fn remove(&self, key: &LocalityKey) -> io::Result<()> {
        remove(self.entries.as_fd(), key)
    }

    /// Forgets all that a service remembers, or some reals as members of its
    /// sets.
    pub(super) fn forget(&self, service: u32, reals: Option<&[u32]>) -> io::Result<()> {
        let count: Option<u32> = lookup(self.counts.as_fd(), &service)?;
        if count == Some(0) {
            return Ok(());
        }
        let reals: Option<SlotSet> = reals.map(|reals| reals.iter().copied().collect());
        let mut left = 0;
        self.walk(Duration::ZERO, |key, mut set| {
            if key.service != service {
                return Ok(());
            }
            let Some(reals) = &reals else {
                return self.remove(key);
            };
            // Written back it would take away what packets have changed since.
            if !set.retain(|real| !reals.contains(real)) {
                left += 1;
                return Ok(());
            }
            if set.count == 0 {
                return self.remove(key);
            }
            left += 1;
            replace(self.entries.as_fd(), key, &set)
        })?;
        // What packets have remembered meanwhile may be behind the walk.
        let now: Option<u32> = lookup(self.counts.as_fd(), &service)?;
        let added = now.unwrap_or(0).saturating_sub(count.unwrap_or(0));
        self.set_count(service, left + added)
    }
}
