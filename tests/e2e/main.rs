//! End-to-end tests: real clients, real servers and lbd in namespaces, one
//! network a test, in parallel.
//!
//! They need root, BPF and the programs that `privilege::network` looks for:
//! without these they are skipped with a reason, and fail when `CI=true`. lbd
//! and lbctl are taken from `LBD_BIN_DIR`, which `cargo xtask test` sets.

mod checksums;
mod counters;
mod distribution;
mod forwarding;
mod harness;
mod lbctl;
mod neighbour;
mod refusals;
mod reload;
mod restart;
mod site;
mod transfers;
mod udp;
mod untouched;
