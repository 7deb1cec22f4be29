//! `udp`: a datagram is sent, and what comes back is looked at.
//!
//! An ICMP error is a failure at once. Silence is one where an answer is
//! expected; elsewhere the real has nothing against the datagram, and is well.

use tokio::{net::UdpSocket, time::timeout};

use super::{Target, expect::Expectation, reason, socket};
use crate::config::health::Exchange;

/// Of an answer; what is longer is cut.
const MAX_ANSWER: usize = 2048;
/// The longest payload of an IPv4 datagram.
const MAX_DATAGRAM: usize = 65_507;

#[derive(Debug)]
pub(super) struct Question {
    send: Vec<u8>,
    expect: Option<Expectation>,
}

impl Question {
    /// # Errors
    /// What is to be sent is too long for a datagram.
    pub(super) fn new(exchange: &Exchange) -> Result<Self, String> {
        let send = exchange.send.as_bytes().to_vec();
        if send.len() > MAX_DATAGRAM {
            return Err(format!(
                "{} bytes to send: a datagram has at most {MAX_DATAGRAM}",
                send.len()
            ));
        }
        let expect = exchange.expect.as_ref().map(Expectation::new).transpose()?;
        Ok(Self { send, expect })
    }

    pub(super) async fn ask(&self, target: &Target) -> Result<(), String> {
        let socket = socket::udp(target).map_err(|error| reason::of(&error))?;
        let sent = socket.send(&self.send).await;
        sent.map_err(|error| reason::of(&error))?;
        match &self.expect {
            Some(expect) => expect.of_whole(&answer(&socket).await?),
            None => match timeout(target.patience(), answer(&socket)).await {
                Ok(answer) => answer.map(drop),
                Err(_) => Ok(()),
            },
        }
    }
}

async fn answer(socket: &UdpSocket) -> Result<Vec<u8>, String> {
    let mut datagram = Vec::with_capacity(MAX_ANSWER);
    let received = socket.recv_buf(&mut datagram).await;
    received.map_err(|error| reason::of(&error))?;
    Ok(datagram)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::target;
    use super::*;
    use crate::config::health::Expected;

    /// Answers one datagram with its own content and more, or not at all.
    async fn server(speaks: bool) -> Target {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let asked = target(socket.local_addr().unwrap());
        tokio::spawn(async move {
            let mut buffer = [0; 64];
            let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
            if speaks {
                let answer = [&buffer[..length], b" pong"].concat();
                socket.send_to(&answer, peer).await.unwrap();
            }
            std::future::pending::<()>().await;
        });
        asked
    }

    fn question(expect: Option<Expected>) -> Question {
        let send = "ping".parse().unwrap();
        Question::new(&Exchange { send, expect }).unwrap()
    }

    fn prefix(text: &str) -> Option<Expected> {
        Some(Expected::Prefix(text.parse().unwrap()))
    }

    #[tokio::test]
    async fn the_answer_is_compared() {
        let ping = question(prefix("ping p"));
        ping.ask(&server(true).await).await.unwrap();
        let pattern = question(Some(Expected::Match("pong$".parse().unwrap())));
        pattern.ask(&server(true).await).await.unwrap();
        let other = question(prefix("other")).ask(&server(true).await).await;
        assert_eq!(other.unwrap_err(), "answer does not match");
        question(None).ask(&server(true).await).await.unwrap();
    }

    #[tokio::test]
    async fn silence() {
        let mut silent = server(false).await;
        silent.timeout = Duration::from_millis(80);
        question(None).ask(&silent).await.unwrap();
        let expecting = question(prefix("x"));
        let asked = expecting.ask(&silent);
        assert!(timeout(Duration::from_millis(150), asked).await.is_err());
    }

    #[tokio::test]
    async fn nobody_is_there() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let asked = target(socket.local_addr().unwrap());
        drop(socket);
        for expect in [None, prefix("x")] {
            let error = question(expect).ask(&asked).await.unwrap_err();
            assert_eq!(error, "connection refused");
        }
    }
}
