//! `/v1/events`: what happens, as server-sent events, until the client has had
//! enough or the daemon stops.

use std::convert::Infallible;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, stream};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{extract::Caller, problem::Problem, wire};

/// The event that tells how many a slow listener has missed.
const MISSED: &str = "missed";

pub(super) async fn listen(
    Caller(handle): Caller,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let events = handle.subscribe().await?;
    Ok(Sse::new(stream::unfold(events, next)).keep_alive(KeepAlive::default()))
}

async fn next(
    mut events: Receiver<wire::Event>,
) -> Option<(Result<Event, Infallible>, Receiver<wire::Event>)> {
    let event = match events.recv().await {
        Ok(event) => shown(&event),
        Err(RecvError::Lagged(number)) => Event::default().event(MISSED).data(number.to_string()),
        Err(RecvError::Closed) => return None,
    };
    Some((Ok(event), events))
}

fn shown(event: &wire::Event) -> Event {
    // Plain strings always are JSON.
    let data = serde_json::to_string(event).unwrap_or_default();
    Event::default().event(event.kind.name()).data(data)
}
