//! What the XDP program and the daemon share: the layout of every map, and
//! the pure algorithms, so that the code which runs per packet in the kernel
//! is the very code that the tests run on the host.
//!
//! Nothing here blocks or panics on input. Only what the daemon lays out for the
//! programs (feature `user`) allocates.

#![cfg_attr(not(test), no_std)]

#[cfg(feature = "user")]
extern crate alloc;

pub mod abi;
pub mod addr;
pub mod bench;
pub mod checksum;
pub mod connection;
pub mod connection_state;
pub mod decap;
pub mod defence;
pub mod filter;
pub mod firewall_mark;
pub mod flow;
pub mod fragment;
pub mod limits;
pub mod parse;
pub mod persistence;
pub mod prefix;
pub mod probe_path;
pub mod rate_limit;
pub mod real;
pub mod scheduler;
pub mod sctp_state;
pub mod service;
pub mod stats;
pub mod sweep;
pub mod table;
pub mod tcp_state;
pub mod traffic;
pub mod transition;
pub mod verdict;
pub mod wire;
