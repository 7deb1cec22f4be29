//! `udp`: a datagram is sent, and what comes back is looked at.
//!
//! An ICMP error is a failure at once. Silence is one where an answer is
//! expected; elsewhere the real has nothing against the datagram, and is well.
//!
//! Hosts limit their ICMP errors: Linux sends a peer one a second, whatever ports they are
//! of (icmp(7), `icmp_ratelimit`). For a while after an error silence may be one that was
//! not sent, and is a failure too.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{net::UdpSocket, time::timeout};

use super::{Target, expect::Expectation, reason, socket};
use crate::config::{
    health::Exchange,
    model::{RealId, ServiceId},
};

/// Of an answer; what is longer is cut.
const MAX_ANSWER: usize = 2048;
/// The longest payload of an IPv4 datagram.
const MAX_DATAGRAM: usize = 65_507;
/// For how long after an error silence is not trusted: ten checks of dead ports a second
/// still get one each.
const DISTRUST: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Question {
    send: Vec<u8>,
    expect: Option<Expectation>,
    errors: Mutex<Errors>,
}

/// Those of late: the question may be asked of many reals.
#[derive(Debug)]
struct Errors {
    by_real: HashMap<(ServiceId, RealId), (Instant, String)>,
    /// When those that are past were last taken out.
    cleared: Instant,
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
        Ok(Self {
            send,
            expect,
            errors: Mutex::new(Errors::new()),
        })
    }

    pub(super) async fn ask(&self, target: &Target) -> Result<(), String> {
        let socket = socket::udp(target).map_err(|error| reason::of(&error))?;
        let sent = socket.send(&self.send).await;
        sent.map_err(|error| reason::of(&error))?;
        match &self.expect {
            Some(expect) => expect.of_whole(&answer(&socket).await?),
            None => match timeout(target.patience(), answer(&socket)).await {
                Ok(Ok(_)) => {
                    self.errors().forget(target);
                    Ok(())
                }
                Ok(Err(error)) => {
                    self.errors().note(target, &error);
                    Err(error)
                }
                Err(_) => match self.errors().of(target) {
                    Some(error) => Err(format!("{error}, then silence")),
                    None => Ok(()),
                },
            },
        }
    }

    fn errors(&self) -> MutexGuard<'_, Errors> {
        // Nobody panics with it.
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Errors {
    fn new() -> Self {
        Self {
            by_real: HashMap::new(),
            cleared: Instant::now(),
        }
    }

    fn note(&mut self, target: &Target, error: &str) {
        if self.cleared.elapsed() > DISTRUST {
            self.by_real.retain(|_, (at, _)| at.elapsed() < DISTRUST);
            self.cleared = Instant::now();
        }
        let noted = (Instant::now(), error.to_owned());
        self.by_real.insert((target.service, target.real), noted);
    }

    fn forget(&mut self, target: &Target) {
        self.by_real.remove(&(target.service, target.real));
    }

    /// The last one, if silence is not trusted yet.
    fn of(&self, target: &Target) -> Option<&str> {
        let (at, error) = self.by_real.get(&(target.service, target.real))?;
        (at.elapsed() < DISTRUST).then_some(error)
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
    async fn silence_after_an_error() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut asked = target(socket.local_addr().unwrap());
        asked.timeout = Duration::from_millis(80);
        let question = question(None);
        question.ask(&asked).await.unwrap();
        drop(socket);
        question.ask(&asked).await.unwrap_err();
        let socket = UdpSocket::bind(asked.address).await.unwrap();
        for _ in 0..2 {
            let error = question.ask(&asked).await.unwrap_err();
            assert_eq!(error, "connection refused, then silence");
        }
        // An answer is believed at once, and silence after it.
        let patient = Target {
            timeout: Duration::from_secs(10),
            ..asked
        };
        let (answered, _) = tokio::join!(question.ask(&patient), async {
            let mut buffer = [0; 64];
            // Those that nobody has read are there still.
            for _ in 0..3 {
                let (_, peer) = socket.recv_from(&mut buffer).await.unwrap();
                let _ = socket.send_to(b"pong", peer).await;
            }
        });
        answered.unwrap();
        question.ask(&asked).await.unwrap();
        // So is silence when the error is long past.
        question.errors().note(&asked, "connection refused");
        question.ask(&asked).await.unwrap_err();
        let past = Instant::now().checked_sub(DISTRUST).unwrap();
        for (at, _) in question.errors().by_real.values_mut() {
            *at = past;
        }
        question.ask(&asked).await.unwrap();
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
