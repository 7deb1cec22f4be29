//! Bounds that configuration, maps and the programs' loops agree on.

/// Reals of one virtual service.
pub const MAX_REALS_PER_SERVICE: u32 = 1024;

/// Largest weight, as ipvsadm's.
pub const MAX_WEIGHT: u32 = 65_535;

/// Keys that one run of the sweep program takes.
pub const SWEEP_BATCH: usize = 64;

/// Largest ICMP message that we make: RFC 1812 section 4.3.2.3.
pub const MAX_ICMP_DATAGRAM_BYTES: u16 = 576;

/// VLAN-free Ethernet header, bytes.
pub const ETHERNET_HEADER_BYTES: usize = 14;
