//! Connections to a server, within limits: so many at a time, each with so long for the
//! head of a request. More wait in the kernel's queue until one of them ends.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use axum::{Router, serve::Listener};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// How long a client may take for the head of a request, also from one to the next.
pub(super) const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// What a server lets its clients have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// At a time.
    pub connections: usize,
    /// Of a request's head.
    pub head: Duration,
    /// Of a whole connection, which a client who reads slowly could keep; none: it lasts as
    /// long as its requests and answers.
    pub life: Option<Duration>,
}

/// Serves what `routes` has for a connection, until `stop` is ready; then no more are taken,
/// and this returns when those there are have ended.
pub(super) async fn serve<L: Listener>(
    mut listener: L,
    limits: Limits,
    routes: impl Fn(&L::Io) -> Router,
    stop: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let (stopping, stopped) = watch::channel(false);
    let mut stop = pin!(stop);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await.0)
        };
        tokio::select! {
            (place, io) = next => {
                // Nobody closes it.
                let Ok(place) = place else { return };
                let router = routes(&io);
                tokio::spawn(attend(io, router, limits, stopped.clone(), place));
            }
            () = &mut stop => break,
        }
    }
    drop((listener, stopped));
    stopping.send_replace(true);
    stopping.closed().await;
}

/// One connection, to its end.
async fn attend<I>(
    io: I,
    router: Router,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
) where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let end_of_life = async {
        match limits.life {
            Some(life) => tokio::time::sleep(life).await,
            None => std::future::pending().await,
        }
    };
    // Its errors are its client's: a head that came too slowly, a connection that broke.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = end_of_life => return,
        // Without a sender there is no server any more.
        _ = stopped.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

#[cfg(test)]
mod tests {
    use std::{io, net::SocketAddr, time::Instant};

    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
        time::timeout,
    };

    use super::*;

    const LIMITS: Limits = Limits {
        connections: 2,
        head: Duration::from_millis(300),
        life: None,
    };
    const SOON: Duration = Duration::from_secs(5);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: lbd\r\n\r\n";

    /// A server whose every answer is "here".
    async fn start(limits: Limits) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = |_: &TcpStream| Router::new().route("/", get(|| async { "here" }));
        tokio::spawn(serve(listener, limits, routes, std::future::pending()));
        address
    }

    async fn connect(to: SocketAddr, text: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(text).await.unwrap();
        stream
    }

    /// All that comes until the end.
    async fn rest(mut stream: TcpStream) -> String {
        let mut text = Vec::new();
        let outcome = timeout(SOON, stream.read_to_end(&mut text))
            .await
            .expect("an end");
        assert!(outcome.is_ok() || outcome.unwrap_err().kind() == io::ErrorKind::ConnectionReset);
        String::from_utf8(text).unwrap()
    }

    async fn is_answered(stream: &mut TcpStream, within: Duration) -> bool {
        let mut text = [0; 1024];
        let Ok(Ok(length)) = timeout(within, stream.read(&mut text)).await else {
            return false;
        };
        String::from_utf8_lossy(&text[..length]).contains("here")
    }

    /// Of a head that never ends the test does not either.
    #[tokio::test]
    async fn half_a_head_is_not_waited_for() {
        let address = start(LIMITS).await;
        let began = Instant::now();
        let half = connect(address, b"GET / HTTP/1.1\r\nhost: ").await;
        let silent = connect(address, b"").await;
        let (half, silent) = tokio::join!(rest(half), rest(silent));
        assert!(began.elapsed() >= LIMITS.head, "{:?}", began.elapsed());
        assert!(
            !half.contains("200 OK") && silent.is_empty(),
            "{half}{silent}"
        );
    }

    /// One too many that is served at once, or never, shows; and so does a slow one that is
    /// cut before its time.
    #[tokio::test]
    async fn more_wait_until_one_ends() {
        let limits = Limits {
            head: Duration::from_secs(2),
            ..LIMITS
        };
        let address = start(limits).await;
        let mut first = connect(address, REQUEST).await;
        assert!(is_answered(&mut first, SOON).await);
        let mut second = connect(address, REQUEST).await;
        assert!(is_answered(&mut second, SOON).await);
        let mut third = connect(address, REQUEST).await;
        assert!(!is_answered(&mut third, Duration::from_millis(200)).await);
        // Who is in is served meanwhile.
        first.write_all(REQUEST).await.unwrap();
        assert!(is_answered(&mut first, SOON).await);
        drop(second);
        assert!(is_answered(&mut third, SOON).await);
    }

    /// A client who asks again and again keeps his place for ever, without the limit.
    #[tokio::test]
    async fn a_connection_has_its_time() {
        let limits = Limits {
            life: Some(Duration::from_millis(300)),
            ..LIMITS
        };
        let mut busy = connect(start(limits).await, REQUEST).await;
        let began = Instant::now();
        while is_answered(&mut busy, SOON).await {
            assert!(began.elapsed() < SOON);
            tokio::time::sleep(Duration::from_millis(20)).await;
            if busy.write_all(REQUEST).await.is_err() {
                break;
            }
        }
        assert!(began.elapsed() >= Duration::from_millis(250));
    }
}
