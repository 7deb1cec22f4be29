//! ICMP (RFC 792, RFC 1191) and ICMPv6 (RFC 4443), error messages only.

use crate::addr::Be16;

/// The header of an error message, 8 bytes; the quoted datagram follows.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug)]
pub struct Icmp {
    pub kind: u8,
    pub code: u8,
    pub checksum: u16,
    pub unused: Be16,
    /// Next-hop MTU in "fragmentation needed", and in "packet too big" the
    /// lower half of it; else 0.
    pub mtu: Be16,
}

pub const HEADER_BYTES: u16 = 8;

pub const DESTINATION_UNREACHABLE: u8 = 3;
pub const PORT_UNREACHABLE: u8 = 3;
pub const FRAGMENTATION_NEEDED: u8 = 4;
pub const SOURCE_QUENCH: u8 = 4;
pub const TIME_EXCEEDED: u8 = 11;

/// Types and codes of ICMPv6 (RFC 4443).
pub mod v6 {
    pub const DESTINATION_UNREACHABLE: u8 = 1;
    pub const PORT_UNREACHABLE: u8 = 4;
    pub const PACKET_TOO_BIG: u8 = 2;
    pub const TIME_EXCEEDED: u8 = 3;
}

const _: () = assert!(size_of::<Icmp>() == 8);
