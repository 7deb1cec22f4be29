//! An array map whose values are read and written by many at a time: a system call
//! for each of a hundred thousand reals takes longer than all else that is done with them.

use std::{
    io,
    marker::PhantomData,
    mem::MaybeUninit,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::Pod;

use super::{
    DataPlaneError,
    syscall::{lookup, lookup_batch, update_batch},
};

/// Values of one call.
const BATCH: usize = 4096;

/// An array map of `V`.
#[derive(Debug)]
pub(super) struct Values<V> {
    map: OwnedFd,
    name: &'static str,
    values: PhantomData<V>,
}

impl<V: Pod> Values<V> {
    pub(super) const fn new(map: OwnedFd, name: &'static str) -> Self {
        Self {
            map,
            name,
            values: PhantomData,
        }
    }

    pub(super) fn get(&self, index: u32) -> Result<V, DataPlaneError> {
        let value = lookup(self.map.as_fd(), &index).map_err(self.failed("read"))?;
        value.ok_or_else(|| self.failed("read")(io::ErrorKind::NotFound.into()))
    }

    /// Writes values, in this order.
    pub(super) fn set_all(&mut self, values: &[(u32, V)]) -> Result<(), DataPlaneError> {
        for batch in values.chunks(BATCH) {
            let (keys, values): (Vec<u32>, Vec<V>) = batch.iter().copied().unzip();
            update_batch(self.map.as_fd(), &keys, &values).map_err(self.failed("write"))?;
        }
        Ok(())
    }

    /// All of them, in order.
    pub(super) fn all(&self) -> Result<Vec<V>, DataPlaneError> {
        let mut keys = vec![MaybeUninit::<u32>::uninit(); BATCH];
        let mut values = vec![MaybeUninit::<V>::uninit(); BATCH];
        let mut all = Vec::new();
        let mut position = None;
        loop {
            let map = self.map.as_fd();
            let (count, next) =
                lookup_batch(map, position, &mut keys, &mut values).map_err(self.failed("read"))?;
            // SAFETY: the call filled the first `count`, and any bytes are a `V`.
            let read = values
                .iter()
                .take(count)
                .map(|v| unsafe { v.assume_init() });
            all.extend(read);
            if next.is_none() {
                return Ok(all);
            }
            position = next;
        }
    }

    fn failed(&self, action: &'static str) -> impl Fn(io::Error) -> DataPlaneError {
        let path = self.name.into();
        move |source| DataPlaneError::Path {
            action,
            path: std::path::PathBuf::clone(&path),
            source,
        }
    }
}
