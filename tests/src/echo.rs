//! Servers that send back what they hear, over UDP and TCP: for packets of
//! exact sizes, which nginx and named do not let one choose.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::namespace::Namespace;
use crate::socket_options;
use crate::topology::Family;

/// How soon a server notices that it is to stop.
const PAUSE: Duration = Duration::from_millis(20);

/// A running server. It stops when it is dropped.
#[derive(Debug)]
pub struct Echo {
    stop: Arc<AtomicBool>,
    heard: Arc<AtomicUsize>,
    server: Option<JoinHandle<()>>,
}

impl Echo {
    /// A UDP server in `namespace` at exactly this address, from which its answers come:
    /// a real's VIP by dr and tun. Its answers are fragmented where they need be.
    pub fn udp(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        let socket = namespace
            .enter(|| UdpSocket::bind(address))?
            .with_context(|| format!("binding {address}"))?;
        socket_options::fragment(&socket, Family::of(address.ip()))?;
        socket.set_read_timeout(Some(PAUSE))?;
        Ok(Self::run(move |stop, heard| {
            let mut datagram = vec![0; 1 << 16];
            while !stop.load(Ordering::Relaxed) {
                // Errors are time-outs and what clients sent by ICMP: go on.
                if let Ok((length, client)) = socket.recv_from(&mut datagram) {
                    heard.fetch_add(1, Ordering::Relaxed);
                    let _ = socket.send_to(&datagram[..length], client);
                }
            }
        }))
    }

    /// A TCP server in `namespace` at this address.
    pub fn tcp(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        let listener = namespace
            .enter(|| TcpListener::bind(address))?
            .with_context(|| format!("binding {address}"))?;
        listener.set_nonblocking(true)?;
        Ok(Self::run(move |stop, heard| {
            while !stop.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        heard.fetch_add(1, Ordering::Relaxed);
                        let stop = Arc::clone(stop);
                        thread::spawn(move || talk(stream, &stop));
                    }
                    Err(_) => thread::sleep(PAUSE),
                }
            }
        }))
    }

    fn run(serve: impl FnOnce(&Arc<AtomicBool>, &AtomicUsize) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let heard = Arc::new(AtomicUsize::new(0));
        let (asked, count) = (Arc::clone(&stop), Arc::clone(&heard));
        Self {
            stop,
            heard,
            server: Some(thread::spawn(move || serve(&asked, &count))),
        }
    }

    /// How many datagrams or connections it has got.
    pub fn heard(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

fn talk(mut stream: TcpStream, stop: &AtomicBool) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PAUSE))?;
    let mut buffer = vec![0; 1 << 16];
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => stream.write_all(&buffer[..length])?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
