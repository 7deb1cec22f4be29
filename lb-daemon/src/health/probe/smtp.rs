//! `smtp`: the greeting, HELO, and a farewell (RFC 5321 sections 3.1, 4.1.1.1).

use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{Target, answer::Answer, reason, socket};

/// Of one reply with all its lines. RFC 5321 section 4.5.3.1.5 has 512 for
/// one line.
const MAX_REPLY: usize = 4096;

#[derive(Debug)]
pub(super) struct Question {
    helo: Vec<u8>,
}

impl Question {
    pub(super) fn new(name: Option<String>) -> Self {
        let name = name.or_else(own_name).unwrap_or_else(|| "lbd".into());
        let helo = format!("HELO {name}\r\n").into_bytes();
        Self { helo }
    }

    pub(super) async fn ask(&self, target: &Target) -> Result<(), String> {
        let mut server = Answer::new(socket::connect(target).await?, MAX_REPLY);
        expect(&mut server, 220).await?;
        say(&mut server, &self.helo).await?;
        expect(&mut server, 250).await?;
        // All is known by now; what becomes of the farewell does not matter.
        let _ = say(&mut server, b"QUIT\r\n").await;
        Ok(())
    }
}

/// The host's, where it is one that HELO can say.
fn own_name() -> Option<String> {
    let name = crate::health::host_name();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    (!name.is_empty() && name.bytes().all(allowed)).then_some(name)
}

async fn say(server: &mut Answer<TcpStream>, line: &[u8]) -> Result<(), String> {
    let written = server.stream().write_all(line).await;
    written.map_err(|error| reason::of(&error))
}

async fn expect(server: &mut Answer<TcpStream>, wanted: u16) -> Result<(), String> {
    let status = reply(server).await?;
    if status == wanted {
        Ok(())
    } else {
        Err(format!("smtp status {status}"))
    }
}

/// The status of a reply, of which every line but the last has a hyphen after
/// it (RFC 5321 section 4.2.1).
async fn reply(server: &mut Answer<TcpStream>) -> Result<u16, String> {
    let mut length = 0;
    loop {
        let line = server.line().await?;
        length += line.len() + 2;
        if length > MAX_REPLY {
            return Err(reason::too_long(MAX_REPLY));
        }
        let status = line.get(..3).and_then(|status| str::from_utf8(status).ok());
        let status = status.and_then(|status| status.parse().ok());
        match (status, line.get(3)) {
            (Some(_), Some(b'-')) => {}
            (Some(status), Some(b' ') | None) => return Ok(status),
            _ => return Err("answer is not smtp".into()),
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
    use crate::config::health::Probe;

    async fn ask(target: &Target) -> Result<(), String> {
        Question::new(Some("lb.example".into())).ask(target).await
    }

    #[tokio::test]
    async fn greeted_and_answered() {
        for says in [
            &[&b"220 ready\r\n"[..], b"250 hello\r\n", b""][..],
            &[b"220-one\r\n220-two\r\n220 three\r\n", b"250\r\n", b""],
        ] {
            ask(&saying(says).await).await.unwrap();
        }
        ask(&dribbling(b"220-a\r\n220 b\r\n250 c\r\n").await)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn failures() {
        for (says, error) in [
            (&[&b"554 go away\r\n"[..]][..], "smtp status 554"),
            (&[b"220 a\r\n", b"501 what\r\n"], "smtp status 501"),
            (&[b"HTTP/1.1 400\r\n"], "answer is not smtp"),
        ] {
            assert_eq!(ask(&saying(says).await).await.unwrap_err(), error);
        }
        assert_eq!(ask(&closing().await).await.unwrap_err(), "no answer");
        assert_eq!(
            ask(&refused().await).await.unwrap_err(),
            "connection refused"
        );
    }

    #[tokio::test]
    async fn floods() {
        let error = "answer is longer than 4096 bytes";
        assert_eq!(ask(&flooding(b"220 ").await).await.unwrap_err(), error);
        let lines: &'static [u8] = b"220-more\r\n".repeat(1000).leak();
        assert_eq!(ask(&flooding(lines).await).await.unwrap_err(), error);
    }

    #[tokio::test]
    async fn silent() {
        waits_and_can_be_dropped(async |target: Target| -> Outcome {
            Prober::new(Probe::Smtp(None)).unwrap().ask(&target).await
        })
        .await;
    }
}
