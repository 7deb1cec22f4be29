//! The persistence templates: the walk that ends what is over, and the one that
//! ends what somebody chooses.

use std::{
    io::{self, Read as _},
    mem::MaybeUninit,
    os::fd::{AsFd as _, OwnedFd},
    time::{Duration, Instant},
};

use lb_common::{
    limits::WALK_PAUSE_BYTES,
    persistence::{Template, TemplateKey},
    sweep::{Found, mode},
};

use super::{SweptTemplates, ender, ender::Ender};
use crate::dataplane::syscall::{iterate, lookup_batch};

/// Entries read by one call.
const BATCH: usize = 4096;
/// Rest after each batch: the walk is spread out, not a burst.
const REST: Duration = Duration::from_millis(1);

pub(super) struct Templates {
    entries: OwnedFd,
    iterator: OwnedFd,
    pub ender: Ender<TemplateKey>,
    keys: Vec<MaybeUninit<TemplateKey>>,
    values: Vec<MaybeUninit<Template>>,
}

impl Templates {
    pub fn new(swept: SweptTemplates) -> Self {
        Self {
            entries: swept.entries,
            iterator: swept.iterator,
            ender: Ender::new(swept.program),
            keys: vec![MaybeUninit::uninit(); BATCH],
            values: vec![MaybeUninit::uninit(); BATCH],
        }
    }

    /// Ends what the iterator finds to be over. What one read has found ends after
    /// the next: between two reads the kernel remembers how many entries of a
    /// bucket it has shown, and were one of those gone by then, it would pass
    /// over another.
    pub fn walk(&mut self) -> io::Result<()> {
        type Record = Found<TemplateKey>;
        self.ender.begin();
        let mut found: Vec<(u8, TemplateKey)> = Vec::new();
        let mut iterator = iterate(self.iterator.as_fd())?;
        let mut buffer = [0; WALK_PAUSE_BYTES];
        let mut held = 0;
        loop {
            let count = self.ender.timed(|| iterator.read(&mut buffer[held..]))?;
            for (mode, key) in found.drain(..) {
                self.ender.choose(mode, key)?;
            }
            if count == 0 {
                return self.ender.end_all();
            }
            held += count;
            let now = Instant::now();
            let whole = held - held % Record::BYTES;
            for record in buffer[..whole].chunks_exact(Record::BYTES) {
                let Found {
                    key,
                    mode,
                    after_ms,
                } = ender::read(record);
                match (mode as u8, after_ms) {
                    (mode::NOTHING, _) => {}
                    (mode, 0) => found.push((mode, key)),
                    _ => self.ender.wait_for(key, after_ms, now),
                }
            }
            buffer.copy_within(whole..held, 0);
            held -= whole;
            std::thread::yield_now();
        }
    }

    /// Ends those of which `is_chosen` says so.
    pub fn end_chosen(&mut self, is_chosen: impl Fn(&Template) -> bool) -> io::Result<()> {
        let mut position = None;
        loop {
            let entries = self.entries.as_fd();
            let (count, next) = lookup_batch(entries, position, &mut self.keys, &mut self.values)?;
            for index in 0..count {
                // SAFETY: the call filled the first `count` of both.
                let (key, template) = unsafe {
                    (
                        self.keys[index].assume_init_read(),
                        self.values[index].assume_init_read(),
                    )
                };
                if is_chosen(&template) {
                    self.ender.choose(mode::ALL, key)?;
                }
            }
            self.ender.end_all()?;
            if next.is_none() {
                return Ok(());
            }
            position = next;
            std::thread::sleep(REST);
        }
    }
}
