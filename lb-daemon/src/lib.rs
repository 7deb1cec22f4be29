//! The daemon's parts. `bin/lbd.rs` starts them, `bin/lbctl.rs` talks to them.
//!
//! ```text
//! lbd.toml ── config ─┐
//! lbctl ───── api ────┴─ state (one task owns the desired state)
//!                          └─ reconcile: plan (pure) → apply ── dataplane (maps)
//! netlink ─── net (next hops) ─┘
//! ```

pub mod api;
pub mod args;
pub mod config;
pub mod connections;
pub mod dataplane;
pub mod decap;
pub mod health;
pub mod import;
pub mod ipvsadm;
pub mod lbctl;
pub mod net;
pub mod reconcile;
pub mod simulate;
pub mod state;
