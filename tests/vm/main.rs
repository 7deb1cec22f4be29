//! End-to-end tests with devices that a machine's kernel need not have: VLANs,
//! bonds, bridges of the director's own, the kernel's tunnels on the real.
//!
//! `cargo xtask vm` runs them in a virtual machine with Debian's kernel, which has
//! all of them; elsewhere they are skipped where a module is missing.

mod arm;
mod bond;
mod bridge;
mod pair;
mod tunnel_devices;
mod vlan;
