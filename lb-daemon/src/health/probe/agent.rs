//! `agent`: the real says itself how it is, in one line as of HAProxy's
//! `agent-check`: `75%`, `drain`, `up`, `down # disk full`.
//!
//! What it does not say leaves the load as it was; words that are unknown are
//! passed over, as there.

use super::{
    Target,
    answer::Answer,
    load::{Load, percent},
    socket,
};

const MAX_LINE: usize = 4096;
/// Of the agent's own words, in characters.
const MAX_COMMENT: usize = 80;

pub(super) async fn ask(target: &Target) -> Result<Option<Load>, String> {
    let mut agent = Answer::new(socket::connect(target).await?, MAX_LINE);
    let line = agent.line().await?;
    judge(&String::from_utf8_lossy(&line))
}

fn judge(line: &str) -> Result<Option<Load>, String> {
    let (words, comment) = line.split_once('#').unwrap_or((line, ""));
    let words = words.split(|c: char| c.is_ascii_whitespace() || c == ',');
    let words = words.filter(|word| !word.is_empty());
    let (mut share, mut drain, mut ready, mut down) = (None, false, false, None);
    for word in words {
        let word = word.to_ascii_lowercase();
        match word.as_str() {
            "down" | "fail" | "stopped" | "maint" => down = Some(word),
            // What follows takes it back, as the agent says it last.
            "up" => down = None,
            "ready" => (ready, drain) = (true, false),
            "drain" => (ready, drain) = (false, true),
            word => share = percent(word).or(share),
        }
    }
    if let Some(word) = down {
        let comment = comment.trim().chars().filter(|c| !c.is_control());
        let comment: String = comment.take(MAX_COMMENT).collect();
        return Err(if comment.is_empty() {
            format!("the agent says {word}")
        } else {
            format!("the agent says {word}: {comment}")
        });
    }
    Ok(match share {
        _ if drain => Some(Load::Drain),
        Some(share) => Some(Load::Percent(share)),
        None => ready.then_some(Load::Ready),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{
        Outcome, Prober,
        testing::{closing, dribbling, flooding, refused, saying, waits_and_can_be_dropped},
    };
    use super::*;
    use crate::config::health::Probe;

    #[test]
    fn words() {
        for (line, load) in [
            ("75%", Some(Load::Percent(75))),
            ("up, 50% ", Some(Load::Percent(50))),
            ("up 150%,ready", Some(Load::Percent(150))),
            ("drain", Some(Load::Drain)),
            ("drain 10%", Some(Load::Drain)),
            ("READY", Some(Load::Ready)),
            ("up", None),
            ("down up", None),
            ("maxconn:30", None),
            ("75 1e2% -1%", None),
            ("up # down", None),
            ("", None),
            (" , # what", None),
        ] {
            assert_eq!(judge(line), Ok(load), "{line}");
        }
        for (line, error) in [
            ("down", "the agent says down"),
            ("fail#no\x07 disk", "the agent says fail: no disk"),
            (
                "75% stopped # for lunch",
                "the agent says stopped: for lunch",
            ),
            ("maint", "the agent says maint"),
        ] {
            assert_eq!(judge(line).unwrap_err(), error, "{line}");
        }
        let long = judge(&format!("down # {}", "é".repeat(200))).unwrap_err();
        assert_eq!(long.chars().count(), "the agent says down: ".len() + 80);
    }

    #[tokio::test]
    async fn over_a_connection() {
        let weight = ask(&saying(&[b"75%\r\n"]).await).await;
        assert_eq!(weight, Ok(Some(Load::Percent(75))));
        let drain = ask(&dribbling(b"drain\n").await).await;
        assert_eq!(drain, Ok(Some(Load::Drain)));
        assert_eq!(ask(&closing().await).await.unwrap_err(), "no answer");
        assert_eq!(
            ask(&refused().await).await.unwrap_err(),
            "connection refused"
        );
        let flood = ask(&flooding(b"up ").await).await;
        assert_eq!(flood.unwrap_err(), "answer is longer than 4096 bytes");
    }

    #[tokio::test]
    async fn silent() {
        waits_and_can_be_dropped(async |target: Target| -> Outcome {
            Prober::new(Probe::Agent).unwrap().ask(&target).await
        })
        .await;
    }
}
