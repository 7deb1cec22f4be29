//! The pinned programs and maps: loading, adopting, attaching, and typed
//! access. Nothing here decides anything; `reconcile` does.

pub mod attach;
pub mod bpffs;
pub mod error;
pub mod load;
pub mod object;
pub mod pinned;
pub mod privilege;
pub mod sweep;
mod syscall;
pub mod tables;

pub use error::DataPlaneError;
pub use load::{Loaded, Programs, Sizes};
pub use tables::Tables;
