//! The desired state and the one task that owns it.

mod addresses;
mod connections;
pub mod desired;
mod differences;
pub mod director;
pub mod etag;
mod events;
pub mod footprint;
pub mod handle;
mod interfaces;
pub mod marks;
mod merge;
mod metrics;
mod next_hops;
mod path_mtu;
mod rates;
mod reload;
pub mod scheduling;
mod slow_start;
pub mod start;
pub mod store;
mod stored;
pub mod timeouts;
mod transaction;
mod view;
mod warnings;
