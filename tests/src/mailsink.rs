//! A mail server that keeps what it gets, for a test to read.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::namespace::Namespace;

/// How soon it notices that it is to stop.
const PAUSE: Duration = Duration::from_millis(20);

/// For one line of a client's.
const LIMIT: Duration = Duration::from_secs(5);

/// A running server. It stops when it is dropped.
#[derive(Debug)]
pub struct MailSink {
    mails: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl MailSink {
    /// Starts it in `namespace` at this address.
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        let listener = namespace
            .enter(|| TcpListener::bind(address))?
            .with_context(|| format!("binding {address}"))?;
        listener.set_nonblocking(true)?;
        let mails = Arc::<Mutex<Vec<String>>>::default();
        let stop = Arc::<AtomicBool>::default();
        let (kept, asked) = (Arc::clone(&mails), Arc::clone(&stop));
        let server = thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                match listener.accept() {
                    // A client that breaks off has sent no mail.
                    Ok((stream, _)) => drop(take_mail(&stream, &kept)),
                    Err(_) => thread::sleep(PAUSE),
                }
            }
        });
        Ok(Self {
            mails,
            stop,
            server: Some(server),
        })
    }

    /// The mails so far, each with its envelope's lines before it.
    pub fn mails(&self) -> Vec<String> {
        let mails = self.mails.lock();
        mails.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for MailSink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

/// One client's (RFC 5321 section 4.1.1).
fn take_mail(mut stream: &TcpStream, kept: &Mutex<Vec<String>>) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut lines = BufReader::new(stream).lines();
    let mut next = || lines.next().unwrap_or(Err(ErrorKind::UnexpectedEof.into()));
    let mut mail = String::new();
    stream.write_all(b"220 sink.lbd.test\r\n")?;
    loop {
        let line = next()?;
        match line
            .get(..4)
            .unwrap_or_default()
            .to_ascii_uppercase()
            .as_str()
        {
            "DATA" => {
                stream.write_all(b"354 go on\r\n")?;
                loop {
                    let line = next()?;
                    if line == "." {
                        break;
                    }
                    mail += &line;
                    mail += "\n";
                }
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push(std::mem::take(&mut mail));
                stream.write_all(b"250 kept\r\n")?;
            }
            "QUIT" => return stream.write_all(b"221 bye\r\n"),
            _ => {
                mail += &line;
                mail += "\n";
                stream.write_all(b"250 go on\r\n")?;
            }
        }
    }
}
