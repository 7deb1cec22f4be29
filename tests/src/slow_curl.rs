//! curl whose output is read slowly: it takes from its socket all the time, a little
//! at once, and so answers all the time. (With `--limit-rate` it takes megabytes
//! first, and then nothing for seconds.)

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::http;
use crate::namespace::Namespace;
use crate::process::{self, Process};
use crate::wait;

/// Read at a time, with a [`PAUSE`] after each: 0.4 MB/s.
const CHUNK_BYTES: usize = 16 << 10;
const PAUSE: Duration = Duration::from_millis(40);

/// Starts a download of `url` by way of a named pipe, `pipe`, and returns when it has
/// begun.
pub fn start(client: &Namespace, url: &str, pipe: &Path) -> Result<Process> {
    process::output(Command::new("mkfifo").arg(pipe))?;
    let mut curl = http::download(client, url, pipe, None)?;
    let received = Arc::new(AtomicUsize::new(0));
    let (count, pipe) = (Arc::clone(&received), pipe.to_owned());
    // Ends with curl, which has the pipe's other end.
    thread::spawn(move || read(&pipe, &count));
    wait::try_until("curl to receive", wait::START_LIMIT, || {
        curl.check_running()?;
        // More than one pipe full: the connection is not only just beginning.
        Ok(received.load(Ordering::Relaxed) > 8 * CHUNK_BYTES)
    })?;
    Ok(curl)
}

fn read(pipe: &Path, received: &AtomicUsize) -> Result<()> {
    let mut pipe = File::open(pipe).with_context(|| format!("opening {}", pipe.display()))?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let length = pipe.read(&mut chunk)?;
        if length == 0 {
            return Ok(());
        }
        received.fetch_add(length, Ordering::Relaxed);
        thread::sleep(PAUSE);
    }
}
