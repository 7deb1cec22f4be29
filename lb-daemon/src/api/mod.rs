//! The API socket: HTTP and JSON over a unix socket. [`bind`] makes the
//! socket, [`serve`] answers on it, [`wire`] is what is said.

mod accept;
pub(crate) mod checks;
mod commands;
mod config;
mod connections;
mod events;
mod extract;
mod fields;
mod health;
mod metrics;
mod openapi;
mod problem;
mod requests;
mod routes;
mod serve;
mod socket;
mod timeouts;
pub mod wire;

pub use config::MAX_CONFIRM_WITHIN_S;
pub use connections::MAX_LIMIT;
pub use extract::service_ref;
pub use metrics::serve_metrics;
pub use serve::serve;
pub use socket::{BindError, Socket, bind};
