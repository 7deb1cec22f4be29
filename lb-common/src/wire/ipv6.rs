//! IPv6 (RFC 8200).

use crate::addr::{Addr, Be16, Be32};

/// The fixed header, 40 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug)]
pub struct Ipv6 {
    /// Version (4 bits), traffic class (8), flow label (20).
    pub version_class_flow: [u8; 4],
    pub payload_length: Be16,
    pub next_header: u8,
    pub hop_limit: u8,
    pub source: [Be32; 4],
    pub destination: [Be32; 4],
}

/// Length of the fixed header.
pub const HEADER_BYTES: u16 = 40;

impl Ipv6 {
    #[inline(always)]
    #[must_use]
    pub const fn traffic_class(&self) -> u8 {
        self.version_class_flow[0] << 4 | self.version_class_flow[1] >> 4
    }

    #[inline(always)]
    #[must_use]
    pub const fn source(&self) -> Addr {
        Addr(self.source)
    }

    /// RFC 3168: sets both ECN bits of the traffic class.
    #[inline(always)]
    pub const fn set_congestion_experienced(&mut self) {
        self.version_class_flow[1] |= 0x30;
    }
}

const _: () = assert!(size_of::<Ipv6>() == 40);
