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

pub use self::{host::Host, report::Report, run::run, scenario::Scenario};
