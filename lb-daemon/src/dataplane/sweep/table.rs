//! One table: the walk that ends what is over, and the one that ends what
//! somebody chooses.

use std::{
    io::{self, Read as _},
    mem::MaybeUninit,
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use aya::Pod;
use lb_common::{
    limits::{SWEEP_BATCH, WALK_PAUSE_BYTES},
    sweep::{Found, mode},
};

use nix::time::{ClockId, clock_gettime};

use super::{Swept, due::Due, input};
use crate::dataplane::syscall::{iterate, lookup_batch, test_run};

/// Entries read by one call.
const BATCH: usize = 4096;
/// Rest after each batch: the walk is spread out, not a burst.
const REST: Duration = Duration::from_millis(1);

/// A hash map of `K` and `V`.
pub(super) struct Table<K, V> {
    swept: Swept,
    keys: Vec<MaybeUninit<K>>,
    values: Vec<MaybeUninit<V>>,
    /// What is over before the next walk.
    due: Due<K>,
    longest_call: Duration,
    /// Of the last walk.
    ended: u32,
}

impl<K: Pod + Ord, V: Pod> Table<K, V> {
    pub fn new(swept: Swept) -> Self {
        Self {
            swept,
            keys: vec![MaybeUninit::uninit(); BATCH],
            values: vec![MaybeUninit::uninit(); BATCH],
            due: Due::new(Instant::now()),
            longest_call: Duration::ZERO,
            ended: 0,
        }
    }

    /// The longest call into the kernel since this was asked last, in CPU time:
    /// how long the thread waited for others meanwhile is not the call's.
    pub fn take_longest_call(&mut self) -> Duration {
        std::mem::take(&mut self.longest_call)
    }

    /// How many the last walk ended.
    pub const fn ended(&self) -> u32 {
        self.ended
    }

    /// Ends what the iterator finds to be over. What one read has found ends after
    /// the next: between two reads the kernel remembers how many entries of a
    /// bucket it has shown, and were one of those gone by then, it would pass
    /// over another.
    pub fn walk(&mut self) -> io::Result<()> {
        self.ended = 0;
        let mut chosen: Vec<(u8, Vec<K>)> = Vec::new();
        let mut found: Vec<(u8, K)> = Vec::new();
        let mut iterator = iterate(self.swept.iterator.as_fd())?;
        let mut buffer = [0; WALK_PAUSE_BYTES];
        let mut held = 0;
        loop {
            let began = thread_cpu();
            let count = iterator.read(&mut buffer[held..])?;
            self.longest_call = self.longest_call.max(thread_cpu() - began);
            for (mode, key) in found.drain(..) {
                self.choose(&mut chosen, mode, key)?;
            }
            if count == 0 {
                return self.end_all(&mut chosen);
            }
            held += count;
            let now = Instant::now();
            let whole = held - held % size_of::<Found<K>>();
            for record in buffer[..whole].chunks_exact(size_of::<Found<K>>()) {
                match read(record) {
                    Found {
                        mode: mode::NOTHING,
                        ..
                    } => {}
                    Found {
                        mode,
                        key,
                        after_ms: 0,
                        ..
                    } => found.push((mode, key)),
                    later => self.wait_for(&later, now),
                }
            }
            buffer.copy_within(whole..held, 0);
            held -= whole;
            std::thread::yield_now();
        }
    }

    /// What a program has announced.
    pub fn expect(&mut self, record: &[u8], now: Instant) {
        self.wait_for(&read(record), now);
    }

    fn wait_for(&mut self, found: &Found<K>, now: Instant) {
        let after = Duration::from_millis(found.after_ms.into());
        self.due.put(found.key, now + after);
    }

    /// Ends what is over by now, if no packet has come.
    pub fn end_due(&mut self, now: Instant) -> io::Result<()> {
        let mut chosen = Vec::new();
        for key in self.due.take(now) {
            self.choose(&mut chosen, mode::IDLE, key)?;
        }
        self.end_all(&mut chosen)
    }

    /// Adds a key to those for the next run of the program in a mode.
    fn choose(&mut self, chosen: &mut Vec<(u8, Vec<K>)>, mode: u8, key: K) -> io::Result<()> {
        let place = match chosen.iter().position(|(other, _)| *other == mode) {
            Some(place) => place,
            None => {
                chosen.push((mode, Vec::with_capacity(SWEEP_BATCH)));
                chosen.len() - 1
            }
        };
        let (_, keys) = &mut chosen[place];
        keys.push(key);
        if keys.len() == SWEEP_BATCH {
            self.ended += end(&self.swept, mode, keys, &mut self.longest_call)?;
        }
        Ok(())
    }

    fn end_all(&mut self, chosen: &mut [(u8, Vec<K>)]) -> io::Result<()> {
        for (mode, keys) in chosen {
            self.ended += end(&self.swept, *mode, keys, &mut self.longest_call)?;
        }
        Ok(())
    }

    /// Shows every entry to `judge`, and ends in the mode that comes back.
    pub fn end_chosen(&mut self, judge: impl Fn(&K, &V) -> Option<u8>) -> io::Result<()> {
        let mut position = None;
        let mut chosen: Vec<(u8, Vec<K>)> = Vec::new();
        loop {
            let table = self.swept.entries.as_fd();
            let (count, next) = lookup_batch(table, position, &mut self.keys, &mut self.values)?;
            for index in 0..count {
                // SAFETY: the call filled the first `count` of both.
                let (key, value) = unsafe {
                    (
                        self.keys[index].assume_init_read(),
                        self.values[index].assume_init_read(),
                    )
                };
                if let Some(mode) = judge(&key, &value) {
                    self.choose(&mut chosen, mode, key)?;
                }
            }
            self.end_all(&mut chosen)?;
            if next.is_none() {
                return Ok(());
            }
            position = next;
            std::thread::sleep(REST);
        }
    }
}

/// A record of a program's, of any alignment.
fn read<K: Pod>(record: &[u8]) -> Found<K> {
    assert_eq!(record.len(), size_of::<Found<K>>());
    // SAFETY: as long as a record, which is plain data.
    unsafe { record.as_ptr().cast::<Found<K>>().read_unaligned() }
}

/// Hands the collected keys to the program; how many it ended.
fn end<K: Pod>(
    swept: &Swept,
    mode: u8,
    keys: &mut Vec<K>,
    longest_call: &mut Duration,
) -> io::Result<u32> {
    if keys.is_empty() {
        return Ok(0);
    }
    let data = input(mode, keys);
    keys.clear();
    let began = thread_cpu();
    let ended = test_run(swept.program.as_fd(), &data)?;
    *longest_call = (*longest_call).max(thread_cpu() - began);
    Ok(ended)
}

/// This thread's CPU time.
pub(super) fn thread_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Into::into)
}
