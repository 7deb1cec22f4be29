//! Downloads that go on, each over one connection, while the floods come and go.

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::conversation::Conversation;
use crate::topology::{PORT, Topology};
use crate::webserver::WebServer;

/// How many there are.
pub const COUNT: usize = 4;

/// A file that costs no disk; it is fetched again and again.
const FILE: &str = "zeros";
const FILE_BYTES: u64 = 64 << 20;

/// After each part that comes, while the downloads leave the processors to others.
const PAUSE: Duration = Duration::from_millis(20);

/// How long bytes may fail to come: a lost segment's retransmissions go up to seconds.
const LIMIT: Duration = Duration::from_secs(30);

/// The downloads, and what came by each.
#[derive(Debug, Default)]
pub struct Downloads {
    received: [AtomicU64; COUNT],
    is_slow: AtomicBool,
    is_over: AtomicBool,
}

impl Downloads {
    /// Makes the file. Once a network.
    pub(super) fn publish(network: &Topology, servers: &[WebServer]) -> Result<()> {
        let path = network.directory().join(FILE);
        File::create(&path)?.set_len(FILE_BYTES)?;
        servers
            .iter()
            .try_for_each(|server| server.publish(FILE, &path))
    }

    /// A connection for [`Self::fetch`].
    pub(super) fn open(network: &Topology) -> Result<Conversation> {
        let conversation = Conversation::open(&network.clients[0], network.vip(), PORT)?;
        conversation.set_limit(LIMIT)?;
        Ok(conversation)
    }

    /// Fetches as the download of this number, until told that it is over, and then the
    /// rest of the file; an error if the connection breaks.
    pub(super) fn fetch(&self, number: usize, mut conversation: Conversation) -> Result<()> {
        while !self.is_over.load(Ordering::Relaxed) {
            conversation.fetch(&format!("/files/{FILE}"), |bytes| {
                self.received[number].fetch_add(bytes as u64, Ordering::Relaxed);
                let is_over = self.is_over.load(Ordering::Relaxed);
                if self.is_slow.load(Ordering::Relaxed) && !is_over {
                    thread::sleep(PAUSE);
                }
            })?;
        }
        Ok(())
    }

    /// Bytes that have come by each.
    pub fn received(&self) -> [u64; COUNT] {
        self.received
            .each_ref()
            .map(|received| received.load(Ordering::Relaxed))
    }

    /// The speed of all together in the next moment, in MB/s.
    pub fn speed(&self, moment: Duration) -> f64 {
        let sum = || self.received().iter().sum::<u64>();
        let (before, began) = (sum(), Instant::now());
        thread::sleep(moment);
        let bytes = sum() - before;
        bytes as f64 / began.elapsed().as_secs_f64() / 1e6
    }

    /// Leaves the processors to others from now on.
    pub fn slow_down(&self) {
        self.is_slow.store(true, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}
