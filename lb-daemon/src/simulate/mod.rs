//! Schedulers without a network: connections that are numbers, in virtual time.
//! `lbctl simulate` and the replay of IPVS's decisions run on it.

pub mod chance;
pub mod event;
pub mod host;
pub mod lifetime;
mod moves;
pub mod real;
pub mod report;
mod run;
pub mod scenario;
mod tally;

use std::time::Duration;

pub use self::{host::Host, report::Report, run::run, scenario::Scenario};

/// As many as there can be, if there are more.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
