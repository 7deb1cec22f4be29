//! A line of `health.log`, in JSON. A key that this version does not know is one
//! of a later version's and passed over.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::Transition;
use crate::config::model::{RealId, ServiceId};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Changed(ServiceId, RealId, Transition),
    /// The real was deleted; what is in front is not its successor's.
    Forgotten(ServiceId, RealId),
}

/// As it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    /// Since 1970, UTC; none where nothing depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at_ms: Option<u64>,
    service: String,
    real: SocketAddr,
    event: Event,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    check: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Event {
    Up,
    Down,
    Forgotten,
}

impl Line {
    /// Without the end of the line.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let written: Written =
            serde_json::from_slice(bytes).map_err(|error| format!("not of health.log: {error}"))?;
        let service: ServiceId = written.service.parse()?;
        let real = RealId {
            address: written.real.ip(),
            port: written.real.port(),
        };
        if written.event == Event::Forgotten {
            return Ok(Self::Forgotten(service, real));
        }
        let since = Duration::from_millis(written.at_ms.ok_or("at_ms is missing")?);
        let transition = Transition {
            at: UNIX_EPOCH.checked_add(since).ok_or("at_ms is no time")?,
            is_up: written.event == Event::Up,
            reason: written.reason,
            check: written.check,
        };
        Ok(Self::Changed(service, real, transition))
    }

    /// With the end of the line.
    pub(super) fn write_to(&self, text: &mut Vec<u8>) {
        let (service, real) = match self {
            Self::Changed(service, real, _) | Self::Forgotten(service, real) => (service, real),
        };
        let mut written = Written {
            at_ms: None,
            service: service.to_string(),
            real: SocketAddr::new(real.address, real.port),
            event: Event::Forgotten,
            reason: String::new(),
            check: String::new(),
        };
        if let Self::Changed(_, _, transition) = self {
            written.at_ms = Some(milliseconds(transition.at));
            written.event = if transition.is_up {
                Event::Up
            } else {
                Event::Down
            };
            written.reason.clone_from(&transition.reason);
            written.check.clone_from(&transition.check);
        }
        serde_json::to_writer(&mut *text, &written).expect("plain data, to memory");
        text.push(b'\n');
    }
}

/// A clock that is before 1970 reads 0.
fn milliseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
