//! `icmp`: an echo comes back (RFC 792, RFC 4443 section 4).
//!
//! By a socket that needs no privilege where `net.ipv4.ping_group_range`
//! allows one (icmp(7)), else by a raw one, which needs CAP_NET_RAW.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
};

use socket2::{Protocol, Type};
use tokio::net::UdpSocket;

use super::{Target, reason, socket};

const HEADER: usize = 8;
const PAYLOAD: usize = 16;
/// With the largest IPv4 header before it.
const MAX_ANSWER: usize = 60 + HEADER + PAYLOAD;

/// One echo, which no other is like.
struct Echo {
    v6: bool,
    /// The kernel sets the identifier of datagram sockets, and hands each only
    /// its own.
    raw: bool,
    id: [u8; 2],
    sequence: [u8; 2],
    payload: [u8; PAYLOAD],
}

pub(super) async fn ask(target: &Target) -> Result<(), String> {
    let mut host = *target;
    host.address.set_port(0);
    let (socket, raw) = open(&host)?;
    let echo = Echo::new(matches!(host.address, SocketAddr::V6(_)), raw);
    let exchange = async {
        socket.send(&echo.request()).await?;
        let mut answer = Vec::with_capacity(MAX_ANSWER);
        while !echo.is_answered_by(&answer) {
            answer.clear();
            socket.recv_buf(&mut answer).await?;
        }
        Ok(())
    };
    exchange
        .await
        .map_err(|error: io::Error| reason::of(&error))
}

/// And whether it is a raw one.
fn open(target: &Target) -> Result<(UdpSocket, bool), String> {
    let protocol = match target.address {
        SocketAddr::V4(_) => Protocol::ICMPV4,
        SocketAddr::V6(_) => Protocol::ICMPV6,
    };
    match socket::datagram(target, Type::DGRAM, protocol) {
        Ok(socket) => return Ok((socket, false)),
        Err(error) if error.kind() != ErrorKind::PermissionDenied => {
            return Err(reason::of(&error));
        }
        Err(_) => {}
    }
    match socket::datagram(target, Type::RAW, protocol) {
        Ok(socket) => Ok((socket, true)),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err("neither CAP_NET_RAW nor net.ipv4.ping_group_range allows icmp".into())
        }
        Err(error) => Err(reason::of(&error)),
    }
}

impl Echo {
    fn new(v6: bool, raw: bool) -> Self {
        let random = fastrand::u128(..);
        Self {
            v6,
            raw,
            id: fastrand::u16(..).to_be_bytes(),
            sequence: fastrand::u16(..).to_be_bytes(),
            payload: random.to_be_bytes(),
        }
    }

    fn request(&self) -> [u8; HEADER + PAYLOAD] {
        let mut message = [0; HEADER + PAYLOAD];
        message[0] = if self.v6 { 128 } else { 8 };
        message[4..6].copy_from_slice(&self.id);
        message[6..8].copy_from_slice(&self.sequence);
        message[HEADER..].copy_from_slice(&self.payload);
        // Over IPv6 it covers addresses, and is the kernel's matter (RFC 3542
        // section 3.1).
        if !self.v6 {
            let sum = checksum(&message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        message
    }

    fn is_answered_by(&self, datagram: &[u8]) -> bool {
        let message = if self.raw && !self.v6 {
            let header = datagram
                .first()
                .map_or(0, |first| usize::from(first & 0xf) * 4);
            datagram.get(header..).unwrap_or_default()
        } else {
            datagram
        };
        message.len() == HEADER + PAYLOAD
            && message[0] == if self.v6 { 129 } else { 0 }
            && message[1] == 0
            && (!self.raw || message[4..6] == self.id)
            && message[6..8] == self.sequence
            && message[HEADER..] == self.payload
    }
}

/// Of an even number of bytes (RFC 1071).
fn checksum(message: &[u8]) -> u16 {
    let words = message.chunks_exact(2);
    let sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded + (folded >> 16)) as u16)
}

#[cfg(test)]
mod tests {
    use super::super::testing::target;
    use super::*;

    fn answer(echo: &Echo) -> Vec<u8> {
        let mut message = echo.request().to_vec();
        message[0] = if echo.v6 { 129 } else { 0 };
        message
    }

    #[test]
    fn answers_are_told_apart() {
        for (v6, raw) in [(false, false), (false, true), (true, false), (true, true)] {
            let echo = Echo::new(v6, raw);
            let with_header = |message: &[u8]| {
                let mut header = vec![0; if raw && !v6 { 24 } else { 0 }];
                if let Some(first) = header.first_mut() {
                    *first = 0x46;
                }
                header.extend_from_slice(message);
                header
            };
            let good = answer(&echo);
            assert!(echo.is_answered_by(&with_header(&good)));
            assert!(!echo.is_answered_by(&with_header(&echo.request())));
            for at in [0, 1, 6, 7, 8, 23] {
                let mut other = good.clone();
                other[at] ^= 1;
                assert!(!echo.is_answered_by(&with_header(&other)), "{at}");
            }
            let mut other = good.clone();
            other[4] ^= 1;
            assert_eq!(echo.is_answered_by(&with_header(&other)), !raw);
            for length in 0..good.len() {
                assert!(!echo.is_answered_by(&good[..length]));
            }
        }
    }

    #[test]
    fn the_sum_of_a_sound_message_is_nothing() {
        let request = Echo::new(false, true).request();
        assert_eq!(checksum(&request), 0);
    }

    #[tokio::test]
    async fn this_host_answers() {
        for address in ["127.0.0.1:80", "[::1]:80"] {
            match ask(&target(address.parse().unwrap())).await {
                Err(reason) if reason.contains("CAP_NET_RAW") => {
                    eprintln!("skipped: {reason}");
                }
                Err(reason) if address.starts_with('[') && reason != "timed out" => {
                    eprintln!("skipped, this host has no IPv6: {reason}");
                }
                answered => assert_eq!(answered, Ok(()), "{address}"),
            }
        }
    }
}
