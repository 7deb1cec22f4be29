//! What happens, told to the log and to whoever listens at `/v1/events`.

use std::time::SystemTime;

use tokio::sync::broadcast;
use tracing::info;

use super::handle::{By, ChangeError};
use crate::api::wire::{Event, EventKind};

/// Events that a listener may be behind; more, and he is told that he has missed
/// some.
const BACKLOG: usize = 1024;

/// Listeners at a time: they leave most of the API's connections to requests.
const LISTENERS: usize = 64;

#[derive(Debug)]
pub(super) struct Events(broadcast::Sender<Event>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }
}

impl Events {
    /// Another listener, unless there are too many.
    pub(super) fn subscribe(&self) -> Result<broadcast::Receiver<Event>, ChangeError> {
        if self.0.receiver_count() >= LISTENERS {
            let text = format!("{LISTENERS} listen to events already");
            return Err(ChangeError::Busy(text));
        }
        Ok(self.0.subscribe())
    }

    /// Logs a line, and tells it.
    pub(super) fn tell(&self, kind: EventKind, by: By, text: String) {
        info!(%by, "{text}");
        self.send(kind, Some(by), text);
    }

    /// Tells what the log has already, or need not have.
    pub(super) fn send(&self, kind: EventKind, by: Option<By>, text: String) {
        // An error: nobody listens.
        let _ = self.0.send(Event {
            time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            kind,
            by: by.map(|by| by.to_string()),
            text,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One too many shows; one who leaves and whose place is lost, too.
    #[test]
    fn listeners_are_limited() {
        let events = Events::default();
        let mut listeners: Vec<_> = (0..LISTENERS)
            .map(|_| events.subscribe().unwrap())
            .collect();
        assert!(matches!(events.subscribe(), Err(ChangeError::Busy(_))));
        listeners.pop();
        events.subscribe().unwrap();
    }
}
