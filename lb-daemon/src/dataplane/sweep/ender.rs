//! Hands keys to a table's sweep program: those that a walk or a program has found
//! to be over, now or when their time is.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    time::{Duration, Instant},
};

use aya::Pod;
use lb_common::{
    limits::SWEEP_BATCH,
    sweep::{Found, mode},
};
use nix::time::{ClockId, clock_gettime};

use super::{due::Due, input};
use crate::dataplane::syscall::test_run;

/// Keys on their way to a program.
pub(super) struct Ender<K> {
    program: OwnedFd,
    /// By mode, for the next run in it.
    chosen: Vec<(u8, Vec<K>)>,
    /// What is over before the next walk.
    due: Due<K>,
    longest_call: Duration,
    /// Since [`Self::begin`].
    ended: u32,
}

impl<K: Pod + Ord> Ender<K> {
    pub fn new(program: OwnedFd) -> Self {
        Self {
            program,
            chosen: Vec::new(),
            due: Due::new(Instant::now()),
            longest_call: Duration::ZERO,
            ended: 0,
        }
    }

    /// A walk begins.
    pub const fn begin(&mut self) {
        self.ended = 0;
    }

    /// How many the last walk ended, and what was due since.
    pub const fn ended(&self) -> u32 {
        self.ended
    }

    /// The longest call into the kernel since this was asked last, in CPU time:
    /// how long the thread waited for others meanwhile is not the call's.
    pub fn take_longest_call(&mut self) -> Duration {
        std::mem::take(&mut self.longest_call)
    }

    /// Makes a call into the kernel.
    pub fn timed<T>(&mut self, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let began = thread_cpu();
        let outcome = call();
        self.longest_call = self.longest_call.max(thread_cpu() - began);
        outcome
    }

    /// What a program has announced.
    pub fn expect(&mut self, record: &[u8], now: Instant) {
        let found: Found<K> = read(record);
        self.wait_for(found.key, found.after_ms, now);
    }

    /// A key that is over so many ms from now.
    pub fn wait_for(&mut self, key: K, after_ms: u32, now: Instant) {
        self.due
            .put(key, now + Duration::from_millis(after_ms.into()));
    }

    /// Ends what is over by now, if no packet has come.
    pub fn end_due(&mut self, now: Instant) -> io::Result<()> {
        for key in self.due.take(now) {
            self.choose(mode::IDLE, key)?;
        }
        self.end_all()
    }

    /// Adds a key to those for the next run of the program in a mode.
    pub fn choose(&mut self, mode: u8, key: K) -> io::Result<()> {
        let place = match self.chosen.iter().position(|(other, _)| *other == mode) {
            Some(place) => place,
            None => {
                self.chosen.push((mode, Vec::with_capacity(SWEEP_BATCH)));
                self.chosen.len() - 1
            }
        };
        let (_, keys) = &mut self.chosen[place];
        keys.push(key);
        if keys.len() == SWEEP_BATCH {
            self.end(place)?;
        }
        Ok(())
    }

    /// Runs the program on all that are chosen.
    pub fn end_all(&mut self) -> io::Result<()> {
        (0..self.chosen.len()).try_for_each(|place| self.end(place))
    }

    fn end(&mut self, place: usize) -> io::Result<()> {
        let (mode, keys) = &mut self.chosen[place];
        if keys.is_empty() {
            return Ok(());
        }
        let data = input(*mode, keys);
        keys.clear();
        let began = thread_cpu();
        self.ended += test_run(self.program.as_fd(), &data)?;
        self.longest_call = self.longest_call.max(thread_cpu() - began);
        Ok(())
    }
}

/// A record of a program's, of any alignment.
pub(super) fn read<K: Pod>(record: &[u8]) -> Found<K> {
    assert_eq!(record.len(), size_of::<Found<K>>());
    // SAFETY: as long as a record, which is plain data.
    unsafe { record.as_ptr().cast::<Found<K>>().read_unaligned() }
}

/// This thread's CPU time.
pub(super) fn thread_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Into::into)
}
