//! Headers as they lie in a packet: `repr(C)` overlays with byte-aligned
//! fields, so that a pointer to any byte of a packet may be read as one. Who
//! makes such a pointer has checked the length; accessors then cannot fail.

pub mod ethernet;
pub mod gre;
pub mod gue;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod sctp;
pub mod tcp;
pub mod udp;

/// IP protocol numbers (IANA).
pub mod protocol {
    /// Hop-by-hop options (RFC 8200), an extension header of IPv6.
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    /// IPv4 in IP (RFC 2003).
    pub const IPIP: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    /// IPv6 in IP (RFC 2473).
    pub const IPV6: u8 = 41;
    /// Routing header (RFC 8200), an extension header of IPv6.
    pub const ROUTING: u8 = 43;
    /// Fragment header (RFC 8200), an extension header of IPv6.
    pub const FRAGMENT: u8 = 44;
    /// RFC 2784.
    pub const GRE: u8 = 47;
    /// Authentication header (RFC 4302), in IPv6 an extension header.
    pub const AUTHENTICATION: u8 = 51;
    pub const ICMPV6: u8 = 58;
    /// Destination options (RFC 8200), an extension header of IPv6.
    pub const DESTINATION_OPTIONS: u8 = 60;
    /// RFC 9260.
    pub const SCTP: u8 = 132;
}
