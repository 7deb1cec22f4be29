//! Servers over h2, and others that are none.

use http::Response;
use tokio::io::AsyncWriteExt;

use super::super::{
    Outcome, Prober,
    testing::{closing, flooding, refused, saying, serving as served, waits_and_can_be_dropped},
};
use super::*;
use crate::config::health::Probe;

/// What a server answers, if it is asked for this service.
#[derive(Clone, Copy)]
struct Answers {
    status: u16,
    body: &'static [u8],
    /// Times that the body is sent.
    times: usize,
    grpc_status: Option<&'static str>,
    trailers: bool,
}

const HEALTHY: Answers = Answers {
    status: 200,
    body: b"\0\0\0\0\x02\x08\x01",
    times: 1,
    grpc_status: Some("0"),
    trailers: true,
};

async fn server(answers: Answers) -> Target {
    served(move |stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            assert_eq!(request.uri().path(), PATH);
            assert_eq!(request.headers()["te"], "trailers");
            let mut response = Response::builder().status(answers.status);
            let mut trailers = HeaderMap::new();
            if let Some(status) = answers.grpc_status {
                if answers.trailers {
                    trailers.insert("grpc-status", status.parse().unwrap());
                } else {
                    response = response.header("grpc-status", status);
                }
            }
            let response = response.body(()).unwrap();
            if !answers.trailers {
                respond.send_response(response, true).unwrap();
                continue;
            }
            let mut body = respond.send_response(response, false).unwrap();
            for _ in 0..answers.times {
                let _ = body.send_data(answers.body.into(), false);
            }
            let _ = body.send_trailers(trailers);
        }
    })
    .await
}

async fn ask(target: &Target) -> Result<(), String> {
    Question::new("web").ask(target).await
}

#[test]
fn messages() {
    assert_eq!(frame(&request("")), [0; 5]);
    assert_eq!(frame(&request("web")), b"\0\0\0\0\x05\x0a\x03web");
    let long = request(&"a".repeat(300));
    assert_eq!(long[..4], [0x0a, 0xac, 0x02, b'a']);
    for (message, value) in [
        (&b""[..], Some(UNKNOWN)),
        (b"\x08\x01", Some(SERVING)),
        (
            b"\x12\x02ab\x08\x02\x1d1234\x211234567\x08",
            Some(NOT_SERVING),
        ),
        (b"\x08", None),
        (b"\x12\x7fab", None),
        (b"\x0b\x08", None),
        (
            &[
                0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
            ],
            None,
        ),
    ] {
        assert_eq!(status(message), value, "{message:?}");
    }
}

#[tokio::test]
async fn serving_and_not() {
    ask(&server(HEALTHY).await).await.unwrap();
    for (body, error) in [
        (&b"\0\0\0\0\x02\x08\x02"[..], "service is not serving"),
        (b"\0\0\0\0\x02\x08\x03", "service is unknown to the real"),
        (b"\0\0\0\0\0", "service's state is unknown"),
        (b"\0\0\0\0\x03\x08\x01", NOT_GRPC),
        (b"\x01\0\0\0\x02\x08\x01", NOT_GRPC),
        (b"", NOT_GRPC),
    ] {
        let answers = Answers { body, ..HEALTHY };
        assert_eq!(ask(&server(answers).await).await.unwrap_err(), error);
    }
}

#[tokio::test]
async fn calls_that_fail() {
    for (status, grpc_status, trailers, error) in [
        (503, None, true, "status 503"),
        (200, Some("14"), true, "grpc status 14"),
        (200, Some("12"), false, "real has no grpc.health.v1.Health"),
        (200, Some("5"), false, "service is unknown to the real"),
        (200, Some("x"), true, NOT_GRPC),
        (200, None, true, NOT_GRPC),
    ] {
        let answers = Answers {
            status,
            grpc_status,
            trailers,
            ..HEALTHY
        };
        assert_eq!(ask(&server(answers).await).await.unwrap_err(), error);
    }
}

#[tokio::test]
async fn others() {
    let flood = Answers {
        body: &[0; 1000],
        times: 10,
        ..HEALTHY
    };
    let error = ask(&server(flood).await).await.unwrap_err();
    assert_eq!(error, "answer is longer than 4096 bytes");
    let http1 = saying(&[b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"]).await;
    assert_eq!(ask(&http1).await.unwrap_err(), NOT_GRPC);
    assert_eq!(ask(&flooding(b"").await).await.unwrap_err(), NOT_GRPC);
    let closed = ask(&closing().await).await.unwrap_err();
    assert!(
        ["no answer", "connection reset", "connection failed"].contains(&&*closed),
        "{closed}"
    );
    assert_eq!(
        ask(&refused().await).await.unwrap_err(),
        "connection refused"
    );
    let cut = served(|mut stream| async move {
        // SETTINGS, and no more.
        let _ = stream.write_all(b"\0\0\0\x04\0\0\0\0\0").await;
    })
    .await;
    assert!(ask(&cut).await.is_err());
}

#[tokio::test]
async fn silent() {
    waits_and_can_be_dropped(async |target: Target| -> Outcome {
        let probe = Probe::Grpc(String::new());
        Prober::new(probe).unwrap().ask(&target).await
    })
    .await;
}
