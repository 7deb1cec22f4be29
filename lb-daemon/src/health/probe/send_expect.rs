//! `send_expect`: octets over a connection, and the octets that answer them.

use tokio::io::AsyncWriteExt;

use super::{
    Target,
    answer::Answer,
    expect::{DIFFERS, Expectation, Verdict},
    reason, socket,
};
use crate::config::health::Exchange;

const MAX_ANSWER: usize = 65_536;

#[derive(Debug)]
pub(super) struct Question {
    send: Vec<u8>,
    expect: Option<Expectation>,
}

impl Question {
    /// # Errors
    /// The expectation does not compile.
    pub(super) fn new(exchange: &Exchange) -> Result<Self, String> {
        Ok(Self {
            send: exchange.send.as_bytes().to_vec(),
            expect: exchange.expect.as_ref().map(Expectation::new).transpose()?,
        })
    }

    pub(super) async fn ask(&self, target: &Target) -> Result<(), String> {
        let mut server = Answer::new(socket::connect(target).await?, MAX_ANSWER);
        let written = server.stream().write_all(&self.send).await;
        written.map_err(|error| reason::of(&error))?;
        let Some(expect) = &self.expect else {
            if self.send.is_empty() || server.more().await? {
                return Ok(());
            }
            return Err(reason::NO_ANSWER.into());
        };
        loop {
            if !server.more().await? {
                let nothing = server.so_far().is_empty();
                return Err(if nothing { reason::NO_ANSWER } else { DIFFERS }.into());
            }
            match expect.judge(server.so_far()) {
                Verdict::Matches => return Ok(()),
                Verdict::NotYet => {}
                Verdict::Never => return Err(DIFFERS.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Outcome, Prober,
        testing::{closing, dribbling, flooding, refused, saying, waits_and_can_be_dropped},
    };
    use super::*;
    use crate::config::health::{Expected, Probe};

    fn exchange(send: &str, expect: Option<Expected>) -> Exchange {
        let send = send.parse().unwrap();
        Exchange { send, expect }
    }

    fn prefix(text: &str) -> Option<Expected> {
        Some(Expected::Prefix(text.parse().unwrap()))
    }

    fn pattern(text: &str) -> Option<Expected> {
        Some(Expected::Match(text.parse().unwrap()))
    }

    async fn ask(send: &str, expect: Option<Expected>, target: &Target) -> Result<(), String> {
        let question = Question::new(&exchange(send, expect)).unwrap();
        question.ask(target).await
    }

    #[tokio::test]
    async fn success() {
        let says: &[&[u8]] = &[b"", b"+PONG\r\n"];
        ask("PING\\r\\n", prefix("+PONG"), &saying(says).await)
            .await
            .unwrap();
        ask("PING", pattern("P.NG"), &saying(says).await)
            .await
            .unwrap();
        ask("PING", None, &saying(says).await).await.unwrap();
        ask("", None, &closing().await).await.unwrap();
        for expect in [prefix("banner"), pattern("r$")] {
            ask("", expect, &dribbling(b"banner").await).await.unwrap();
        }
        // It does not wait for an end.
        ask("", pattern("x{100}"), &flooding(b"").await)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn failures() {
        let other = ask("", prefix("+OK"), &flooding(b"-ERR").await).await;
        assert_eq!(other.unwrap_err(), "answer does not match");
        let closed = ask("", prefix("+OK"), &closing().await).await;
        assert_eq!(closed.unwrap_err(), "no answer");
        let unanswered = ask("hello", None, &closing().await).await;
        assert_eq!(unanswered.unwrap_err(), "no answer");
        let endless = ask("", pattern("never"), &flooding(b"").await).await;
        assert_eq!(endless.unwrap_err(), "answer is longer than 65536 bytes");
        let nobody = ask("", None, &refused().await).await;
        assert_eq!(nobody.unwrap_err(), "connection refused");
    }

    #[tokio::test]
    async fn silent() {
        waits_and_can_be_dropped(async |target: Target| -> Outcome {
            let probe = Probe::SendExpect(exchange("hello", None));
            Prober::new(probe).unwrap().ask(&target).await
        })
        .await;
    }
}
