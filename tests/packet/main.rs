//! Packet tests: frames through the real XDP programs, by `BPF_PROG_TEST_RUN`.
//!
//! ```text
//! packet, world   a packet as a value, and who is who; IPv6's extension headers
//! sender          its frame, made by etherparse; checksums that it does not have
//! rig, kernel     a data plane of its own for each test, and one run of it
//! judge, layers   what came out, read by etherparse
//! row             a table's row
//! ways, shapes    every forwarding method in every family, and what a packet can
//!                 look like: the matrix is one by the other
//! quotations      ICMP errors about packets
//! cpus            two of them at once
//! wires           a namespace with routes, for what nat asks the kernel
//! ```
//!
//! Plans, slots and settings are written by the daemon's own code; packets are
//! made and judged by code that shares nothing with lbd.

mod cpus;
mod extension;
mod judge;
mod kernel;
mod layers;
mod packet;
mod quotations;
mod rig;
mod row;
mod sender;
mod shapes;
mod sums;
mod ways;
mod wires;
mod world;

mod admission;
mod adoption;
mod associations;
mod counters;
mod cutting;
mod direct;
mod eligible;
mod expiry;
mod extension_headers;
mod firewall_marks;
mod fragments;
mod icmp_errors;
mod listing;
mod local;
mod localities;
mod malformed;
mod masquerade;
mod matrix;
mod mistakes;
mod nat;
mod nat_pairs;
mod nat_replies;
mod next_hop;
mod one_packet;
mod path_mtu;
mod persistence;
mod probe_path;
mod races;
mod replay;
mod schedulers;
mod sctp;
mod segments;
mod stateless;
mod states;
mod sweep;
mod table;
mod translated_sums;
mod tunnel;
mod tunnel_spread;
mod turns;
mod untouched;
mod vlan;
