//! Fragments: what the first one of a datagram leaves for the others, which
//! carry no ports.

use crate::addr::{Addr, Be16};

/// Key of `FRAGMENTS`, an LRU hash, 40 bytes: RFC 791's and RFC 8200's identity
/// of a datagram.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FragmentKey {
    pub source: Addr,
    pub destination: Addr,
    /// IPv4: 16 bits; IPv6: 32; as on the wire.
    pub identification: u32,
    /// [`crate::parse::Fragment::protocol`].
    pub protocol: u8,
    pub pad: [u8; 3],
}

/// Value of `FRAGMENTS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentVerdict {
    /// When the first fragment came: coarse monotonic clock, ns.
    pub seen_ns: u64,
    /// The ports and the protocol of the connection's key.
    pub source_port: Be16,
    pub destination_port: Be16,
    pub protocol: u8,
    /// [`verdict`].
    pub verdict: u8,
    pub pad: [u8; 2],
}

/// Values of [`FragmentVerdict::verdict`].
pub mod verdict {
    /// It went to the kernel.
    pub const PASS: u8 = 0;
    /// It went the connection's way.
    pub const FORWARD: u8 = 1;
}

const _: () = assert!(size_of::<FragmentKey>() == 40);
const _: () = assert!(size_of::<FragmentVerdict>() == 16);
