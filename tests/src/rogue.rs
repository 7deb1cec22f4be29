//! TCP servers of a few lines, for answers that no proper server gives: none, an
//! endless one, one that never gets far, or whatever line a test likes.

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::namespace::Namespace;

/// How soon a server notices that it is to stop.
const PAUSE: Duration = Duration::from_millis(20);

/// Between two bytes of [`Rogue::dribbling`].
const DRIBBLE: Duration = Duration::from_millis(50);

/// What is written at once of an answer that does not end.
const PART: [u8; 16 << 10] = [b'x'; 16 << 10];

/// A running server. It stops when it is dropped.
#[derive(Debug)]
pub struct Rogue {
    line: Arc<Mutex<String>>,
    came: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
    /// Of who never takes a connection: the kernel makes them nevertheless.
    _listener: Option<TcpListener>,
}

impl Rogue {
    /// Clients are connected, and that is all.
    pub fn silent(namespace: &Namespace, port: u16) -> Result<Self> {
        let listener = listen(namespace, port)?;
        Ok(Self {
            _listener: Some(listener),
            line: Arc::default(),
            came: Arc::default(),
            stop: Arc::default(),
            server: None,
        })
    }

    /// Answers `head`, and then bytes for as long as the client takes any.
    pub fn endless(namespace: &Namespace, port: u16, head: &'static str) -> Result<Self> {
        Self::start(namespace, port, move |mut stream, _, stop| {
            stream.write_all(head.as_bytes())?;
            while !stop.load(Ordering::Relaxed) {
                stream.write_all(&PART)?;
            }
            Ok(())
        })
    }

    /// Answers `head`, and then a byte now and then.
    pub fn dribbling(namespace: &Namespace, port: u16, head: &'static str) -> Result<Self> {
        Self::start(namespace, port, move |mut stream, _, stop| {
            stream.set_nodelay(true)?;
            stream.write_all(head.as_bytes())?;
            while !stop.load(Ordering::Relaxed) {
                thread::sleep(DRIBBLE);
                stream.write_all(b"x")?;
            }
            Ok(())
        })
    }

    /// Says one line to whoever comes: this one, until [`Self::say`].
    pub fn saying(namespace: &Namespace, port: u16, line: &str) -> Result<Self> {
        let server = Self::start(namespace, port, |mut stream, line, _| {
            let line = line.lock().unwrap_or_else(PoisonError::into_inner).clone();
            writeln!(stream, "{line}")
        })?;
        server.say(line);
        Ok(server)
    }

    /// What it says from now on.
    pub fn say(&self, line: &str) {
        let mut said = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.clone_into(&mut said);
    }

    /// How many clients have come.
    pub fn came(&self) -> usize {
        self.came.load(Ordering::Relaxed)
    }

    fn start(
        namespace: &Namespace,
        port: u16,
        talk: impl Fn(TcpStream, &Mutex<String>, &AtomicBool) -> io::Result<()> + Copy + Send + 'static,
    ) -> Result<Self> {
        let listener = listen(namespace, port)?;
        listener.set_nonblocking(true)?;
        let (line, came, stop) = (
            Arc::<Mutex<String>>::default(),
            Arc::<AtomicUsize>::default(),
            Arc::<AtomicBool>::default(),
        );
        let (said, count, asked) = (Arc::clone(&line), Arc::clone(&came), Arc::clone(&stop));
        let server = thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else {
                    thread::sleep(PAUSE);
                    continue;
                };
                count.fetch_add(1, Ordering::Relaxed);
                let (said, asked) = (Arc::clone(&said), Arc::clone(&asked));
                // It ends with its client, or soon after us.
                thread::spawn(move || {
                    stream.set_nonblocking(false)?;
                    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
                    talk(stream, &said, &asked)
                });
            }
        });
        Ok(Self {
            line,
            came,
            stop,
            server: Some(server),
            _listener: None,
        })
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

fn listen(namespace: &Namespace, port: u16) -> Result<TcpListener> {
    let address = (Ipv4Addr::UNSPECIFIED, port);
    let listener = namespace.enter(|| TcpListener::bind(address))?;
    listener.with_context(|| format!("listening on port {port}"))
}
