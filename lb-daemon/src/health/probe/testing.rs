//! Hand-made servers that the probes' tests ask.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::Target;
use crate::config::model::RealId;

/// This address, of a service at 192.0.2.10:80.
pub(super) fn target(address: SocketAddr) -> Target {
    Target {
        service: "tcp:192.0.2.10:80".parse().unwrap(),
        real: RealId {
            address: [10, 0, 0, 2].into(),
            port: 80,
        },
        address,
        mark: None,
        timeout: Duration::from_secs(5),
    }
}

/// Where nobody listens.
pub(super) async fn refused() -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    target(listener.local_addr().unwrap())
}

/// Serves each connection by this.
pub(super) async fn serving<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Target
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let asked = target(listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    asked
}

/// Says its lines, each after the client's: a line is what comes in one read.
/// An empty one is not said. Then it waits for the client to close.
pub(super) async fn saying(says: &[&'static [u8]]) -> Target {
    let says = says.to_vec();
    serving(move |mut stream| {
        let says = says.clone();
        async move {
            let mut heard = [0; 4096];
            for (i, line) in says.into_iter().enumerate() {
                if i > 0 && !matches!(stream.read(&mut heard).await, Ok(1..)) {
                    return;
                }
                if stream.write_all(line).await.is_err() {
                    return;
                }
            }
            while matches!(stream.read(&mut heard).await, Ok(1..)) {}
        }
    })
    .await
}

/// Says this octet by octet, and waits for a word.
pub(super) async fn dribbling(says: &'static [u8]) -> Target {
    serving(move |mut stream| async move {
        stream.set_nodelay(true).unwrap();
        for byte in says {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let _ = stream.read(&mut [0; 4096]).await;
    })
    .await
}

/// Begins so, and goes on without an end.
pub(super) async fn flooding(begins: &'static [u8]) -> Target {
    serving(move |mut stream| async move {
        let _ = stream.write_all(begins).await;
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await
}

/// Closes at once, without a word.
pub(super) async fn closing() -> Target {
    serving(|mut stream| async move {
        let _ = stream.shutdown().await;
        while matches!(stream.read(&mut [0; 4096]).await, Ok(1..)) {}
    })
    .await
}

/// Whether it waits, and leaves its connection closed once it is dropped.
pub(super) async fn waits_and_can_be_dropped<F>(ask: impl FnOnce(Target) -> F)
where
    F: Future<Output = super::Outcome>,
{
    let (sender, mut closed) = tokio::sync::mpsc::channel(1);
    let silent = serving(move |mut stream| {
        let sender = sender.clone();
        async move {
            while matches!(stream.read(&mut [0; 4096]).await, Ok(1..)) {}
            let _ = sender.send(()).await;
        }
    })
    .await;
    let asked = tokio::time::timeout(Duration::from_millis(50), ask(silent)).await;
    assert!(asked.is_err(), "it does not wait: {asked:?}");
    let closed = tokio::time::timeout(Duration::from_secs(5), closed.recv()).await;
    assert!(closed.is_ok(), "its connection stays open");
}
