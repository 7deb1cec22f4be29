//! Packet tests: frames through the real XDP programs, by `BPF_PROG_TEST_RUN`.
//!
//! ```text
//! packet, world   a frame as a value, and who is who
//! rig, kernel     a data plane of its own for each test, and one run of it
//! judge, row      what came out, read by etherparse; a table's row
//! cpus            two of them at once
//! wires           a namespace with routes, for what nat asks the kernel
//! ```
//!
//! Plans, slots and settings are written by the daemon's own code; packets are
//! made and judged by code that shares nothing with lbd.

mod cpus;
mod judge;
mod kernel;
mod packet;
mod rig;
mod row;
mod wires;
mod world;

mod adoption;
mod counters;
mod direct;
mod eligible;
mod nat;
mod nat_pairs;
mod nat_replies;
mod next_hop;
mod races;
mod replay;
mod segments;
mod states;
mod sweep;
mod tunnel;
mod turns;
mod untouched;
