//! What a simulation has come to. The names of the fields are those of
//! `lbctl simulate --json`, which docs/schedulers.md lists.

use serde::Serialize;

use super::moves;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub scheduler: &'static str,
    pub scheduler_flags: Vec<String>,
    pub seed: u64,
    /// Connections that came.
    pub connections: u32,
    /// Those of them that found no real.
    pub refused: u32,
    /// From the beginning to the last of them.
    pub duration_s: f64,
    /// Active connections of all reals.
    pub peak_active: u32,
    pub mean_active: f64,
    /// Whose moves: clients, or destinations where these decide.
    pub moves_of: &'static str,
    pub moves: moves::Counts,
    /// Events that would have come after the last connection.
    pub events_after_end: u32,
    /// Every real that was ever there.
    pub reals: Vec<RealReport>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RealReport {
    pub real: String,
    /// In the end; none: removed.
    pub weight: Option<u32>,
    /// In the end: ready, drain, down or removed.
    pub state: &'static str,
    pub connections: u32,
    /// Its part of those that found a real, 0 to 1.
    pub share: f64,
    /// Its part by the weights of the reals that were ready as each connection
    /// came.
    pub share_by_weight: f64,
    pub peak_active: u32,
    pub mean_active: f64,
}

/// To four digits behind the point.
pub(super) fn round(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}
