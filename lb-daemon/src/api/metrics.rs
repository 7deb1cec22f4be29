//! `/metrics` over TCP, where `metrics.listen` says: one address after another, as
//! the configuration is reloaded.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, watch},
};
use tracing::{info, warn};

use super::{
    accept::{self, HEAD_PATIENCE, Limits},
    problem::Problem,
};
use crate::state::handle::Handle;

/// When an address that cannot be had is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Anybody may be at the other end: who keeps all the places keeps them from others who ask
/// for metrics, for so long, and from nobody else.
const LIMITS: Limits = Limits {
    connections: 64,
    head: HEAD_PATIENCE,
    life: Some(Duration::from_secs(60)),
};

/// Serves metrics on the address of the moment, until there is nobody to change it.
/// What goes wrong is logged, and told by `problem`, which `status` shows.
pub async fn serve_metrics(
    handle: Handle,
    mut listen: watch::Receiver<Option<SocketAddr>>,
    problem: watch::Sender<Option<String>>,
) {
    loop {
        let address = *listen.borrow_and_update();
        let serving = async {
            let Some(address) = address else {
                return std::future::pending().await;
            };
            match TcpListener::bind(address).await {
                Ok(listener) => {
                    info!(%address, "metrics are served");
                    problem.send_replace(None);
                    let router = router(handle.clone());
                    let routes = |_: &TcpStream| router.clone();
                    accept::serve(listener, LIMITS, routes, std::future::pending()).await;
                }
                Err(error) => {
                    let text = format!("metrics.listen {address}: {error}");
                    if problem.borrow().as_ref() != Some(&text) {
                        warn!("{text}");
                    }
                    problem.send_replace(Some(text));
                }
            }
            tokio::time::sleep(RETRY).await;
        };
        tokio::select! {
            () = serving => {}
            changed = listen.changed() => {
                problem.send_replace(None);
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// The state task has one of these requests at a time, and others in between.
fn router(handle: Handle) -> Router {
    Router::new()
        .route("/metrics", get(show))
        .with_state(Arc::new(Mutex::new(handle)))
}

async fn show(State(handle): State<Arc<Mutex<Handle>>>) -> Result<Response, Problem> {
    let text = handle.lock().await.metrics().await?;
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}
