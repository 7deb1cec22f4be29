//! One end of an SCTP association, by hand on a raw socket: kernels without SCTP
//! have these too. No lost packet is sent again, no data has an answer.
//!
//! RFC 9260: section 3 has the packets, section 5.1 the four-way handshake.

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::namespace::Namespace;
use crate::topology::Family;

/// How long one packet may take.
const LIMIT: Duration = Duration::from_secs(5);
const HEADER_BYTES: usize = 12;

/// Types of chunks.
pub const INIT: u8 = 1;
/// The answer to [`INIT`].
pub const INIT_ACK: u8 = 2;
/// Ends an association at once.
pub const ABORT: u8 = 6;
/// The client's second.
pub const COOKIE_ECHO: u8 = 10;
/// The answer to [`COOKIE_ECHO`].
pub const COOKIE_ACK: u8 = 11;

/// A packet as it was received, its checksum verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Who sent it.
    pub from: IpAddr,
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// The type of its first chunk.
    pub chunk: u8,
}

/// All SCTP that a namespace gets, and one port of it.
#[derive(Debug)]
pub struct SctpSocket {
    /// std has no raw sockets, but a datagram socket's methods do for one.
    socket: UdpSocket,
    family: Family,
    port: u16,
}

impl SctpSocket {
    /// Opens it in `namespace`.
    pub fn open(namespace: &Namespace, family: Family, port: u16) -> Result<Self> {
        let domain = match family {
            Family::V4 => libc::AF_INET,
            Family::V6 => libc::AF_INET6,
        };
        let socket = namespace.enter(|| {
            // SAFETY: socket(2) takes no pointers.
            let fd = unsafe {
                libc::socket(
                    domain,
                    libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                    libc::IPPROTO_SCTP,
                )
            };
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: a new descriptor, which nobody else owns.
            Ok(unsafe { OwnedFd::from_raw_fd(fd) })
        })?;
        let socket = UdpSocket::from(socket.context("opening a raw socket")?);
        socket.set_read_timeout(Some(LIMIT))?;
        Ok(Self {
            socket,
            family,
            port,
        })
    }

    /// How long [`Self::receive`] waits.
    pub fn set_limit(&self, limit: Duration) -> Result<()> {
        Ok(self.socket.set_read_timeout(Some(limit))?)
    }

    /// Sends a packet with one chunk of this type.
    pub fn send(&self, to: IpAddr, port: u16, chunk: u8) -> Result<()> {
        let packet = packet(self.port, port, chunk);
        // The port of a raw socket's address is its protocol, or 0.
        self.socket
            .send_to(&packet, (to, 0))
            .with_context(|| format!("sending to {to}"))?;
        Ok(())
    }

    /// The next packet to our port.
    pub fn receive(&self) -> Result<Packet> {
        let mut buffer = [0; 4096];
        loop {
            let (length, from) = self.socket.recv_from(&mut buffer).context("receiving")?;
            let packet = parse(self.family, &buffer[..length], from.ip())?;
            if packet.destination_port == self.port {
                return Ok(packet);
            }
        }
    }
}

/// INIT and INIT ACK have a fixed part of 16 bytes beyond the chunk's header (tag, window,
/// streams both ways, first TSN), the cookie chunks here four bytes or none.
fn packet(source: u16, destination: u16, chunk: u8) -> Vec<u8> {
    let body: &[u8] = match chunk {
        INIT | INIT_ACK => &[0, 0, 0, 7, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1],
        COOKIE_ECHO => b"cake",
        _ => &[],
    };
    // Of an INIT, the verification tag is zero.
    let tag: u32 = if chunk == INIT { 0 } else { 7 };
    let mut packet = Vec::new();
    packet.extend(source.to_be_bytes());
    packet.extend(destination.to_be_bytes());
    packet.extend(tag.to_be_bytes());
    packet.extend([0; 4]);
    packet.extend([chunk, 0, 0, 4 + body.len().to_le_bytes()[0]]);
    packet.extend(body);
    let checksum = crc32c(&packet);
    packet[8..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
    packet
}

fn parse(family: Family, received: &[u8], from: IpAddr) -> Result<Packet> {
    // raw(7): with the IPv4 header, and without IPv6's.
    let header = match family {
        Family::V4 => usize::from(received[0] & 0xf) * 4,
        Family::V6 => 0,
    };
    let Some(packet) = received.get(header..) else {
        bail!("a packet without an end");
    };
    ensure!(packet.len() > HEADER_BYTES, "{} bytes", packet.len());
    let mut cleared = packet.to_vec();
    cleared[8..HEADER_BYTES].fill(0);
    let checksum = crc32c(&cleared).to_le_bytes();
    ensure!(packet[8..HEADER_BYTES] == checksum, "a wrong checksum");
    let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    Ok(Packet {
        from,
        source_port: port(0),
        destination_port: port(2),
        chunk: packet[HEADER_BYTES],
    })
}

/// RFC 9260, appendix A; bit by bit, for a few short packets.
fn crc32c(data: &[u8]) -> u32 {
    /// The polynomial 0x1EDC6F41, its bits reversed.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    !data.iter().fold(!0, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            sum >> 1 ^ if sum & 1 == 1 { POLYNOMIAL } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, B.4, has these.
    #[test]
    fn known_checksums() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn what_is_made_can_be_read() {
        let from = IpAddr::from([0; 16]);
        let read = parse(Family::V6, &packet(5000, 36412, INIT), from).unwrap();
        let expected = Packet {
            from,
            source_port: 5000,
            destination_port: 36412,
            chunk: INIT,
        };
        assert_eq!(read, expected);
    }
}
