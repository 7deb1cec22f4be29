//! The server: HTTP/1.1 on the socket until told to stop.

use std::{future::Future, io, time::Duration};

use tokio::sync::oneshot;

use super::{extract::Peer, routes, socket::Socket};
use crate::state::handle::Handle;

/// How long open requests may take once the server is to stop.
const GRACE: Duration = Duration::from_secs(2);

/// Answers requests on `socket` through `handle`, until `shutdown` is ready;
/// then removes the socket, if it is still this one's.
///
/// # Errors
/// What accepting connections could not recover from.
pub async fn serve(
    socket: Socket,
    handle: Handle,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (listener, file) = socket.into_parts();
    let (stopping, stopped) = oneshot::channel();
    let server = axum::serve(
        listener,
        routes::router(handle).into_make_service_with_connect_info::<Peer>(),
    )
    .with_graceful_shutdown(async move {
        shutdown.await;
        // The receiver lives as long as this server.
        let _ = stopping.send(());
    });
    let result = tokio::select! {
        result = server => result,
        () = out_of_grace(stopped) => Ok(()),
    };
    drop(file);
    result
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
