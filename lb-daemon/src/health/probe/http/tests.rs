//! Hand-made servers that answer well, wrongly, too much and not at all.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

use super::super::{
    Outcome, Prober,
    testing::{closing, dribbling, flooding, refused, saying, serving, waits_and_can_be_dropped},
};
use super::*;
use crate::config::health::Probe;

async fn ask(http: Http, target: &Target) -> Result<(), String> {
    Question::new(http).unwrap().ask(target).await
}

async fn error(http: Http, says: &'static [u8]) -> String {
    ask(http, &saying(&[b"", says]).await).await.unwrap_err()
}

fn matching(pattern: &str) -> Http {
    Http {
        body_regex: Some(pattern.parse().unwrap()),
        ..Http::default()
    }
}

/// What a server hears of this.
async fn heard(http: Http) -> (Target, String) {
    let (sender, mut receiver) = mpsc::channel(1);
    let target = serving(move |mut stream| {
        let sender = sender.clone();
        async move {
            let mut heard = vec![0; 4096];
            let length = stream.read(&mut heard).await.unwrap();
            heard.truncate(length);
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            let _ = sender.send(String::from_utf8(heard).unwrap()).await;
        }
    })
    .await;
    ask(http, &target).await.unwrap();
    (target, receiver.recv().await.unwrap())
}

#[tokio::test]
async fn the_request() {
    let (target, request) = heard(Http::default()).await;
    assert!(request.starts_with("GET / HTTP/1.1\r\n"), "{request}");
    let request = request.to_ascii_lowercase();
    for line in [
        format!("\r\nhost: {}\r\n", target.address),
        format!("\r\nuser-agent: {USER_AGENT}\r\n"),
        "\r\nconnection: close\r\n".into(),
    ] {
        assert!(request.contains(&line), "{request}");
    }
    let (_, request) = heard(Http {
        path: "/up?deep=1".into(),
        method: "HEAD".into(),
        host: Some("web.example:8080".into()),
        headers: vec![
            ("X-Check".into(), "Yes".into()),
            ("user-agent".into(), "mine".into()),
        ],
        ..Http::default()
    })
    .await;
    assert!(
        request.starts_with("HEAD /up?deep=1 HTTP/1.1\r\n"),
        "{request}"
    );
    for line in ["host: web.example:8080", "x-check: Yes", "user-agent: mine"] {
        assert!(request.contains(&format!("\r\n{line}\r\n")), "{request}");
    }
    assert!(!request.contains("lbd/"), "{request}");
}

#[test]
fn hosts_are_as_in_urls() {
    for (address, text) in [
        ("10.0.0.2:80", "10.0.0.2"),
        ("10.0.0.2:8080", "10.0.0.2:8080"),
        ("[2001:db8::1]:80", "[2001:db8::1]"),
        ("[2001:db8::1]:443", "[2001:db8::1]:443"),
    ] {
        assert_eq!(authority(address.parse().unwrap(), 80), text);
    }
}

#[tokio::test]
async fn statuses() {
    let redirect = b"HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(error(Http::default(), redirect).await, "status 302");
    let unavailable = b"HTTP/1.0 503 Unavailable\r\n\r\nsecret";
    assert_eq!(error(Http::default(), unavailable).await, "status 503");
    let http = Http {
        status: vec![(200, 204), (302, 302)],
        ..Http::default()
    };
    ask(http, &saying(&[b"", redirect]).await).await.unwrap();
    let early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    ask(Http::default(), &saying(&[b"", early]).await)
        .await
        .unwrap();
}

#[tokio::test]
async fn bodies() {
    let hello = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    let chunked =
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
    let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let all = || Http {
        body_sha256: Some(sha256.parse().unwrap()),
        body_md5: Some("5d41402abc4b2a76b9719d911017c592".parse().unwrap()),
        ..matching("^hel+o$")
    };
    ask(all(), &dribbling(hello).await).await.unwrap();
    ask(all(), &dribbling(chunked).await).await.unwrap();
    let other = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhelllo";
    assert_eq!(error(all(), other).await, "body has another sha256");
    let md5 = Http {
        body_sha256: None,
        ..all()
    };
    assert_eq!(error(md5, other).await, "body has another md5");
    assert_eq!(error(matching("bye"), hello).await, "body does not match");
}

#[tokio::test]
async fn answers_that_break_off() {
    let cut = serving(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let says = b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello";
        let _ = stream.write_all(says).await;
    })
    .await;
    // Nothing is asked of the body.
    ask(Http::default(), &cut).await.unwrap();
    let reason = ask(matching("hello"), &cut).await.unwrap_err();
    assert_eq!(reason, "answer is cut short");
    let cut = serving(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(b"HTTP/1.1 200").await;
    })
    .await;
    let reason = ask(Http::default(), &cut).await.unwrap_err();
    assert_eq!(reason, "no answer");
}

#[tokio::test]
async fn others() {
    let reason = ask(Http::default(), &closing().await).await.unwrap_err();
    assert_eq!(reason, "no answer");
    let reason = ask(Http::default(), &refused().await).await.unwrap_err();
    assert_eq!(reason, "connection refused");
    let smtp = error(Http::default(), b"220 mail ESMTP\r\n").await;
    assert_eq!(smtp, "answer is not http");
}

#[tokio::test]
async fn floods() {
    let header = flooding(b"HTTP/1.1 200 OK\r\nx: ").await;
    let reason = ask(Http::default(), &header).await.unwrap_err();
    assert_eq!(reason, "header is too large");
    let body = flooding(b"HTTP/1.1 200 OK\r\n\r\n").await;
    ask(Http::default(), &body).await.unwrap();
    let reason = ask(matching("never"), &body).await.unwrap_err();
    assert_eq!(reason, "answer is longer than 1048576 bytes");
}

#[test]
fn what_cannot_be_asked() {
    let http = Http {
        path: "/a b".into(),
        ..Http::default()
    };
    let error = Prober::new(Probe::Http(http)).unwrap_err();
    assert_eq!(error, "\"/a b\" is not a path");
}

#[tokio::test]
async fn silent() {
    waits_and_can_be_dropped(async |target: Target| -> Outcome {
        let probe = Probe::Http(Http::default());
        Prober::new(probe).unwrap().ask(&target).await
    })
    .await;
    // Headers that come slowly, for ever.
    let slow = serving(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await;
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    let asked = ask(Http::default(), &slow);
    let asked = tokio::time::timeout(std::time::Duration::from_millis(100), asked);
    assert!(asked.await.is_err());
}
