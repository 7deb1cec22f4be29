//! The connection tables and the persistence templates, read bucket by bucket by
//! who has no part in the walk of the sweep: nobody waits for him. A batch of the
//! templates locks one bucket at a time (`__htab_map_lookup_and_delete_batch` in
//! kernel/bpf/hashtab.c, Linux 6.1).

use std::{
    fmt::Debug,
    io,
    marker::PhantomData,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use aya::Pod;
use lb_common::{
    connection::Connection,
    flow::{FlowKeyV4, FlowKeyV6},
    persistence::{Template, TemplateKey},
};

use super::{
    sweep::Walked,
    syscall::{lookup, lookup_batch},
};

/// A map of `K` and `V`.
pub trait Buckets<K, V>: Debug + Send + Sync {
    /// The entries of the next buckets from `first` on, of as many whole ones
    /// as have no more than `most` entries together. Nothing: the first that
    /// is not empty has more by itself.
    fn read(&self, first: u32, most: usize) -> io::Result<Option<Batch<K, V>>>;

    /// One entry.
    fn get(&self, key: &K) -> io::Result<Option<V>>;
}

/// What the entries of some buckets are.
#[derive(Debug)]
pub struct Batch<K, V> {
    pub entries: Vec<(K, V)>,
    /// The bucket to go on with; none: that was the end.
    pub next: Option<u32>,
}

/// A map in the kernel.
struct Pinned<K, V> {
    map: OwnedFd,
    entry: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Debug for Pinned<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pinned").field("map", &self.map).finish()
    }
}

impl<K, V> Pinned<K, V> {
    fn duplicate(map: &OwnedFd) -> io::Result<Self> {
        Ok(Self {
            map: map.try_clone()?,
            entry: PhantomData,
        })
    }
}

impl<K: Pod, V: Pod> Buckets<K, V> for Pinned<K, V> {
    fn read(&self, first: u32, most: usize) -> io::Result<Option<Batch<K, V>>> {
        let (mut keys, mut values) = (Vec::with_capacity(most), Vec::with_capacity(most));
        let room = (
            &mut keys.spare_capacity_mut()[..most],
            &mut values.spare_capacity_mut()[..most],
        );
        let (count, next) = match lookup_batch(self.map.as_fd(), Some(first), room.0, room.1) {
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => return Ok(None),
            outcome => outcome?,
        };
        // SAFETY: the call filled the first `count` of both.
        unsafe {
            keys.set_len(count);
            values.set_len(count);
        }
        Ok(Some(Batch {
            entries: keys.into_iter().zip(values).collect(),
            next,
        }))
    }

    fn get(&self, key: &K) -> io::Result<Option<V>> {
        lookup(self.map.as_fd(), key)
    }
}

/// The tables of connections and of persistent clients.
#[derive(Debug)]
pub struct ConnectionTables {
    pub v4: Box<dyn Buckets<FlowKeyV4, Connection>>,
    pub v6: Box<dyn Buckets<FlowKeyV6, Connection>>,
    pub templates: Box<dyn Buckets<TemplateKey, Template>>,
}

impl ConnectionTables {
    /// Those that the sweep walks.
    ///
    /// # Errors
    /// No descriptor can be had.
    pub fn of(walked: &Walked) -> io::Result<Self> {
        Ok(Self {
            v4: Box::new(Arc::clone(&walked.v4.table)),
            v6: Box::new(Arc::clone(&walked.v6.table)),
            templates: Box::new(Pinned::duplicate(&walked.templates.entries)?),
        })
    }
}
