//! The API socket: HTTP and JSON over a unix socket. [`bind`] makes the
//! socket, [`serve`] answers on it, [`wire`] is what is said.

mod connections;
mod extract;
mod fields;
mod problem;
mod requests;
mod routes;
mod serve;
mod socket;
mod timeouts;
pub mod wire;

pub use connections::MAX_LIMIT;
pub use extract::service_ref;
pub use serve::serve;
pub use socket::{BindError, Socket, bind};
