//! Rows up to a limit. A table is read by whole buckets, so that a page ends
//! between two of them, wherever entries come and go meanwhile; a bucket that
//! has more rows than the page has room is read by itself and in the order of
//! its entries' numbers.

use std::{io, time::Duration};

use super::cursor::Place;
use crate::{
    api::wire,
    dataplane::buckets::{Batch, Buckets},
};

/// Entries read by one call.
const BATCH: usize = 4096;
/// Rest after each full batch: a walk is spread out, not a burst.
const REST: Duration = Duration::from_millis(1);
/// Entries looked at for one page: one that asks for little of a large table
/// ends early, and goes on where it ended.
const MOST_READ: usize = 1 << 20;

/// What of a table is listed, and how.
pub(super) trait Kind<K, V> {
    fn is_listed(&self, key: &K, value: &V) -> bool;
    fn row(&self, key: &K, value: &V) -> io::Result<wire::Connection>;
    /// A number that no other entry of the same bucket has.
    fn number(key: &K) -> u64;
}

/// A page that is being read.
#[derive(Debug)]
pub(super) struct Page {
    pub rows: Vec<wire::Connection>,
    limit: usize,
    read: usize,
}

impl Page {
    pub const fn new(limit: usize) -> Self {
        Self {
            rows: Vec::new(),
            limit,
            read: 0,
        }
    }

    /// Takes rows from a place on. Returns where to go on when the page is
    /// full; nothing: the table is at its end.
    pub fn fill<K, V, T: Kind<K, V>>(
        &mut self,
        table: &dyn Buckets<K, V>,
        kind: &T,
        from: Place,
    ) -> io::Result<Option<Place>> {
        let mut place = from;
        let mut most = BATCH;
        loop {
            let room = self.limit - self.rows.len();
            if room == 0 || self.read >= MOST_READ {
                return Ok(Some(place));
            }
            most = if most == BATCH {
                BATCH
            } else {
                room.min(BATCH)
            };
            let batch = match place.after {
                None => table.read(place.bucket, most)?,
                Some(_) => None,
            };
            let (batch, is_one) = match batch {
                Some(batch) => (batch, false),
                None => (one_bucket(table, place.bucket)?, true),
            };
            let is_left = |key: &K| place.after.is_none_or(|after| T::number(key) > after);
            let mut listed: Vec<_> = batch
                .entries
                .iter()
                .filter(|(key, value)| is_left(key) && kind.is_listed(key, value))
                .collect();
            let has_room = listed.len() <= room;
            if !has_room && !is_one {
                // Less at a time; what comes then fits in any case.
                most = room;
                continue;
            }
            if !has_room {
                listed.sort_unstable_by_key(|(key, _)| T::number(key));
                listed.truncate(room);
                place.after = listed.last().map(|(key, _)| T::number(key));
            }
            for (key, value) in listed {
                self.rows.push(kind.row(key, value)?);
            }
            self.read += batch.entries.len();
            if !has_room {
                return Ok(Some(place));
            }
            let Some(bucket) = batch.next else {
                return Ok(None);
            };
            place = Place {
                bucket,
                after: None,
            };
            if batch.entries.len() > BATCH / 2 {
                std::thread::sleep(REST);
            }
        }
    }
}

/// The next bucket that is not empty, alone: the least that can be read.
fn one_bucket<K, V>(table: &dyn Buckets<K, V>, bucket: u32) -> io::Result<Batch<K, V>> {
    for most in 1..=BATCH {
        if let Some(batch) = table.read(bucket, most)? {
            return Ok(batch);
        }
    }
    Err(io::Error::other("a bucket of a table is too long"))
}
