//! End-to-end tests: real clients, real servers and lbd in namespaces, one
//! network a test, in parallel.
//!
//! They need root, BPF and the programs that `privilege::network` looks for:
//! without these they are skipped with a reason, and fail when `CI=true`. lbd
//! and lbctl are taken from `LBD_BIN_DIR`, which `cargo xtask test` sets.

mod addresses;
mod admission;
mod chaos;
mod checksums;
mod configuration;
mod connections;
mod counters;
mod deletion;
mod distribution;
mod drain;
mod forwarding;
mod fragments;
mod ftp;
mod harness;
mod health;
mod icmp;
mod interfaces;
mod ipv6;
mod ipvsadm;
mod lbctl;
mod local;
mod masquerade;
mod nat_udp;
mod neighbour;
mod one_client_one_real;
mod one_packet;
mod openapi;
mod ownership;
mod path_mtu;
mod port_zero;
mod probe_path;
mod refusals;
mod reload;
mod restart;
mod schedulers;
mod sctp;
mod site;
mod timeouts;
mod transfers;
mod tunnels;
mod udp;
mod untouched;
