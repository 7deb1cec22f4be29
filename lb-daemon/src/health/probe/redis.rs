//! `redis`: PING is answered by PONG.
//!
//! A server that first wants a password is alive too; one that is loading its
//! data, or has lost its master, says so by another error and is not.

use tokio::io::AsyncWriteExt;

use super::{Target, answer::Answer, reason, socket};

const MAX_ANSWER: usize = 1024;

pub(super) async fn ask(target: &Target) -> Result<(), String> {
    let mut server = Answer::new(socket::connect(target).await?, MAX_ANSWER);
    // As an array of bulk strings, which every version and proxy takes.
    let written = server.stream().write_all(b"*1\r\n$4\r\nPING\r\n").await;
    written.map_err(|error| reason::of(&error))?;
    judge(&server.line().await?)
}

fn judge(line: &[u8]) -> Result<(), String> {
    if line == b"+PONG" {
        return Ok(());
    }
    let error = line.strip_prefix(b"-");
    let word = error.and_then(|error| error.split(|byte| *byte == b' ').next());
    match word.and_then(|word| str::from_utf8(word).ok()) {
        Some("NOAUTH" | "NOPERM") => Ok(()),
        Some(word) if is_code(word) => Err(format!("redis error {word}")),
        _ => Err("answer is not redis".into()),
    }
}

/// Errors begin with a word in capitals, by convention.
fn is_code(word: &str) -> bool {
    (1..=32).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::super::{
        Outcome, Prober,
        testing::{closing, dribbling, flooding, refused, saying, waits_and_can_be_dropped},
    };
    use super::*;
    use crate::config::health::Probe;

    #[tokio::test]
    async fn alive() {
        for says in [
            &[&b""[..], b"+PONG\r\n"][..],
            &[b"", b"-NOAUTH Authentication required.\r\n"],
            &[b"", b"-NOPERM this user has no permissions\r\n"],
        ] {
            ask(&saying(says).await).await.unwrap();
        }
        ask(&dribbling(b"+PONG\r\n").await).await.unwrap();
    }

    #[tokio::test]
    async fn failures() {
        for (says, error) in [
            (
                &[&b""[..], b"-LOADING Redis is loading the dataset\r\n"][..],
                "redis error LOADING",
            ),
            (
                &[b"", b"-MASTERDOWN Link with MASTER is down\r\n"],
                "redis error MASTERDOWN",
            ),
            (&[b"", b"+PONGO\r\n"], "answer is not redis"),
            (&[b"", b"-secret stuff\r\n"], "answer is not redis"),
        ] {
            assert_eq!(ask(&saying(says).await).await.unwrap_err(), error);
        }
        assert_eq!(ask(&closing().await).await.unwrap_err(), "no answer");
        assert_eq!(
            ask(&refused().await).await.unwrap_err(),
            "connection refused"
        );
        let flood = ask(&flooding(b"+PO").await).await;
        assert_eq!(flood.unwrap_err(), "answer is longer than 1024 bytes");
    }

    #[tokio::test]
    async fn silent() {
        waits_and_can_be_dropped(async |target: Target| -> Outcome {
            Prober::new(Probe::Redis).unwrap().ask(&target).await
        })
        .await;
    }
}
