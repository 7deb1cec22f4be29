//! The server: HTTP/1.1 on the socket until told to stop.

use std::{future::Future, time::Duration};

use axum::{Extension, extract::ConnectInfo};
use tokio::{net::UnixStream, sync::oneshot};

use super::{
    accept::{self, HEAD_PATIENCE, Limits},
    extract::Peer,
    routes,
    socket::Socket,
};
use crate::state::handle::Handle;

/// How long open requests may take once the server is to stop.
const GRACE: Duration = Duration::from_secs(2);

/// Answers and events may take as long as their clients like: these have been let in.
const LIMITS: Limits = Limits {
    connections: 256,
    head: HEAD_PATIENCE,
    life: None,
};

/// Answers requests on `socket` through `handle`, until `shutdown` is ready;
/// then removes the socket, if it is still this one's.
pub async fn serve(
    socket: Socket,
    handle: Handle,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let (listener, file) = socket.into_parts();
    let (stopping, stopped) = oneshot::channel();
    let router = routes::router(handle);
    let routes = |stream: &UnixStream| {
        let peer = Peer::of(stream);
        router.clone().layer(Extension(ConnectInfo(peer)))
    };
    let server = accept::serve(listener, LIMITS, routes, async move {
        shutdown.await;
        // The receiver lives as long as this server.
        let _ = stopping.send(());
    });
    tokio::select! {
        () = server => {}
        () = out_of_grace(stopped) => {}
    }
    drop(file);
}

/// Ready when a client has had its time; a connection that stays silent must
/// not hold up the daemon's stop.
async fn out_of_grace(stopped: oneshot::Receiver<()>) {
    if stopped.await.is_err() {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(GRACE).await;
}

#[cfg(test)]
mod tests;
