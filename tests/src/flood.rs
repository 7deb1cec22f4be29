//! Floods of TCP segments from a million senders, on a service that is in use: what
//! the test of the defences and the benchmark of floods share.
//!
//! ```text
//! site ─┬─ attacker ─┬─ segment   what is sent
//!       │            └─ wire      by a packet socket
//!       ├─ downloads              who is there already
//!       ├─ others                 who want to get in
//!       └─ shield                 what the reals do with the attack
//! ```

pub mod attacker;
pub mod downloads;
pub mod others;
pub mod segment;
pub mod shield;
pub mod site;
mod wire;
