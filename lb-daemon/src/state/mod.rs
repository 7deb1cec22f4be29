//! The desired state and the one task that owns it.

pub mod desired;
pub mod director;
pub mod footprint;
pub mod handle;
mod interfaces;
mod next_hops;
mod path_mtu;
mod reload;
pub mod start;
pub mod store;
mod view;
mod warnings;
