//! From the desired state to the contents of the maps.
//!
//! [`Image`] is what the maps hold. [`plan`] works out, without I/O, which
//! writes make one service what it should be; [`apply`] carries them out in
//! that order: reals, then the plan, then the word that makes it current,
//! then the service; the reverse to remove. What a real or a service needs
//! beside itself (next hop, pool, `ADDRESSES`) is there before it and goes
//! after it. Services are reconciled one by
//! one, so what did not change is not touched.

mod addresses;
pub mod adopt;
pub mod apply;
pub mod image;
pub mod plan;
pub mod policy;
pub mod ranges;
pub mod retire;
mod slow_start;
pub mod standing;

pub use apply::{ReconcileError, Reconciler};
pub use image::Image;
pub use plan::{NoRoom, Op};
