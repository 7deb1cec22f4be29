//! A download that goes on slowly for as long as a test likes, and then
//! finishes at full speed: whatever happens meanwhile happens to a transfer
//! that is under way.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::conversation::Conversation;
use crate::http;
use crate::namespace::Namespace;
use crate::topology::{Family, PORT, Topology};
use crate::wait;
use crate::webserver::WebServer;

/// Read at a time, with a [`PAUSE`] after each while slow: 0.4 MB/s.
const CHUNK_BYTES: usize = 16 << 10;
const PAUSE: Duration = Duration::from_millis(40);

/// Eighty slow seconds, and more than the buffers on the way hold (at most 6 MB
/// of the receiver's and 4 MB of the sender's).
const FILE_BYTES: u64 = 32 << 20;

/// How long bytes may fail to come: a lost segment's retransmissions go up to seconds.
const PROGRESS_LIMIT: Duration = Duration::from_secs(20);

/// Under what name the file is published.
const NAME: &str = "trickle";

/// Ten slow seconds, for networks that [keep buffers small](Topology::keep_buffers_small).
const SMALL_FILE_BYTES: u64 = 4 << 20;

/// Makes the file that is downloaded and publishes it on all servers. Once a network.
pub fn publish(network: &Topology, servers: &[WebServer]) -> Result<()> {
    publish_bytes(network, servers, FILE_BYTES)
}

/// As [`publish`], where many downloads would take long: with small buffers.
pub fn publish_small(network: &Topology, servers: &[WebServer]) -> Result<()> {
    network.keep_buffers_small()?;
    publish_bytes(network, servers, SMALL_FILE_BYTES)
}

fn publish_bytes(network: &Topology, servers: &[WebServer], bytes: u64) -> Result<()> {
    let file = http::random_file(network.directory(), NAME, bytes)?;
    servers
        .iter()
        .try_for_each(|server| server.publish(NAME, &file))
}

/// A download under way. Dropping it lets it end by itself.
#[derive(Debug)]
pub struct Trickle {
    received: Arc<AtomicUsize>,
    hurry: Arc<AtomicBool>,
    reader: JoinHandle<Result<()>>,
}

impl Trickle {
    /// Starts a download of the published file by way of the VIP.
    pub fn start(network: &Topology, client: &Namespace) -> Result<Self> {
        Self::start_in(Family::V4, network, client)
    }

    /// As [`Self::start`], by either family.
    pub fn start_in(family: Family, network: &Topology, client: &Namespace) -> Result<Self> {
        let expected = File::open(network.directory().join(NAME))?;
        let conversation = Conversation::open(client, network.vip_in(family), PORT)?;
        let (stream, length) = conversation.begin(&format!("/files/{NAME}"))?;
        let published = expected.metadata()?.len();
        ensure!(length as u64 == published, "the file has {length} bytes");
        stream.set_read_timeout(Some(PROGRESS_LIMIT))?;
        let received = Arc::new(AtomicUsize::new(0));
        let hurry = Arc::new(AtomicBool::new(false));
        let (count, fast) = (Arc::clone(&received), Arc::clone(&hurry));
        let reader = thread::spawn(move || read(stream, expected, published, &count, &fast));
        Ok(Self {
            received,
            hurry,
            reader,
        })
    }

    /// Waits until a further 64 KiB have come: the transfer lives.
    pub fn check(&self) -> Result<()> {
        let before = self.received.load(Ordering::Relaxed);
        wait::try_until("a download to go on", PROGRESS_LIMIT, || {
            let ended = self.reader.is_finished();
            ensure!(!ended, "a download ended at {before} bytes or more");
            Ok(self.received.load(Ordering::Relaxed) >= before + 4 * CHUNK_BYTES)
        })
    }

    /// Lets the rest come at full speed; an error if a byte was missing or wrong,
    /// or if the transfer had ended before.
    pub fn finish(self) -> Result<()> {
        let early = self.reader.is_finished();
        self.hurry.store(true, Ordering::Relaxed);
        self.reader
            .join()
            .map_err(|_| anyhow!("the download panicked"))?
            .with_context(|| {
                let received = self.received.load(Ordering::Relaxed);
                format!("downloading, after {received} bytes")
            })?;
        ensure!(!early, "the download was over too early to prove anything");
        Ok(())
    }
}

fn read(
    mut stream: impl Read,
    mut expected: File,
    bytes: u64,
    received: &AtomicUsize,
    hurry: &AtomicBool,
) -> Result<()> {
    let (mut chunk, mut sent) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    for _ in 0..bytes / CHUNK_BYTES as u64 {
        stream.read_exact(&mut chunk)?;
        expected.read_exact(&mut sent)?;
        ensure!(chunk == sent, "what came is not what was sent");
        received.fetch_add(CHUNK_BYTES, Ordering::Relaxed);
        if !hurry.load(Ordering::Relaxed) {
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}
