//! What checks say, and when a service counts as up.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{api::openapi::values, config::model};

/// When a service counts as up, by the weights of its reals that are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Quorum {
    pub up: u32,
    pub hysteresis: u32,
    #[schema(schema_with = values::command)]
    pub notify_up: Vec<String>,
    #[schema(schema_with = values::command)]
    pub notify_down: Vec<String>,
}

impl From<&model::Quorum> for Quorum {
    fn from(quorum: &model::Quorum) -> Self {
        let model::Quorum {
            up,
            hysteresis,
            notify_up,
            notify_down,
        } = quorum.clone();
        Self {
            up,
            hysteresis,
            notify_up,
            notify_down,
        }
    }
}

/// A check of a real, in `/v1/health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    #[schema(schema_with = values::service_id)]
    pub service: String,
    #[schema(schema_with = values::real_id)]
    pub real: String,
    #[serde(rename = "type")]
    #[schema(schema_with = values::probe_type)]
    pub of_type: String,
    /// What this check thinks: `up` or `down`. With others beside it that need not be
    /// what is held of the real.
    #[schema(schema_with = values::health)]
    pub health: String,
    /// Since when. RFC 3339, UTC.
    #[schema(format = DateTime)]
    pub since: String,
    /// The last answer; absent before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub last: Option<Answer>,
}

/// What a real answered to a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Answer {
    pub ok: bool,
    /// Why it did not count, or what will make it fail before long; empty: nothing.
    pub reason: String,
    pub duration_ms: u64,
}

/// A real that went down or came up, in `/v1/health/history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Transition {
    #[schema(schema_with = values::service_id)]
    pub service: String,
    #[schema(schema_with = values::real_id)]
    pub real: String,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    pub time: String,
    #[schema(schema_with = values::health)]
    pub health: String,
    /// The types of the checks that failed; empty when it came up.
    pub check: String,
    pub reason: String,
}
