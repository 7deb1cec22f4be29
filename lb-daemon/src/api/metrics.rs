//! `/metrics` over TCP, where `metrics.listen` says: one address after another, as
//! the configuration is reloaded.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, sync::watch};
use tracing::{info, warn};

use super::problem::Problem;
use crate::state::handle::Handle;

/// When an address that cannot be had is tried again.
const RETRY: Duration = Duration::from_secs(10);

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
                    // It ends with an error alone, and accept's are not its.
                    let _ = axum::serve(listener, router(handle.clone())).await;
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

fn router(handle: Handle) -> Router {
    Router::new()
        .route("/metrics", get(show))
        .with_state(handle)
}

async fn show(State(handle): State<Handle>) -> Result<Response, Problem> {
    let text = handle.metrics().await?;
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}
