//! A question by a protocol whose connection is worked by a future of its own (hyper, h2).

use std::{future::Future, pin::pin};

/// What `exchange` gives while `connection` is worked. What has come before the connection's
/// end counts; else the end's own reason, by `failure`, says more.
pub(super) async fn over<E>(
    connection: impl Future<Output = Result<(), E>>,
    failure: impl Fn(&E) -> String,
    exchange: impl Future<Output = Result<(), String>>,
) -> Result<(), String> {
    let mut exchange = pin!(exchange);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        biased;
        answered = &mut exchange => return answered,
        ended = &mut connection => ended,
    };
    let answered = exchange.await;
    answered.map_err(|reason| ended.err().map_or(reason, |error| failure(&error)))
}
