//! The pinned programs and maps: loading, adopting, attaching, and typed
//! access. Nothing here decides anything; `reconcile` does.

pub mod attach;
mod attempt;
pub mod bpffs;
pub mod buckets;
pub mod connection_table;
mod device;
mod displaced;
pub mod error;
mod features;
mod held_signals;
mod kept;
pub mod load;
pub mod localities;
mod mapped;
pub mod migrate;
mod netlink;
pub mod object;
mod offload;
pub mod pinned;
pub mod privilege;
pub mod probe_path;
pub mod sizes;
pub mod survey;
pub mod sweep;
mod syscall;
pub mod tables;
mod values;

pub use error::DataPlaneError;
pub use load::{Loaded, Programs};
pub use sizes::{PORTS, Sizes};
pub use tables::Tables;
