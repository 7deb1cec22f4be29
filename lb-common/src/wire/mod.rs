//! Headers as they lie in a packet: `repr(C)` overlays with byte-aligned
//! fields, so that a pointer to any byte of a packet may be read as one. Who
//! makes such a pointer has checked the length; accessors then cannot fail.

pub mod ethernet;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod tcp;
pub mod udp;

/// IP protocol numbers (IANA).
pub mod protocol {
    pub const ICMP: u8 = 1;
    /// IPv4 in IP (RFC 2003).
    pub const IPIP: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    /// IPv6 in IP (RFC 2473).
    pub const IPV6: u8 = 41;
}
