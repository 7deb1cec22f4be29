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

/// The beginning of every extension header but the fragment header.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug)]
pub struct ExtensionHeader {
    pub next_header: u8,
    /// In units that depend on the header.
    pub length: u8,
    pub kind: u8,
    /// Of a routing header: destinations that are still to come (RFC 8200
    /// section 4.4).
    pub segments_left: u8,
}

/// The fragment header, 8 bytes (RFC 8200 section 4.5).
#[repr(C, packed)]
#[derive(Clone, Copy, Debug)]
pub struct FragmentHeader {
    pub next_header: u8,
    pub reserved: u8,
    /// Offset in 8-octet units (13 bits), reserved (2), more fragments (1).
    pub offset_and_more: Be16,
    pub identification: Be32,
}

impl FragmentHeader {
    /// In 8-octet units.
    #[inline(always)]
    #[must_use]
    pub const fn offset(&self) -> u16 {
        self.offset_and_more.get() >> 3
    }

    #[inline(always)]
    #[must_use]
    pub const fn has_more(&self) -> bool {
        self.offset_and_more.get() & 1 != 0
    }
}

impl Ipv6 {
    #[inline(always)]
    #[must_use]
    pub const fn is_version_6(&self) -> bool {
        self.version_class_flow[0] >> 4 == 6
    }

    /// The first four octets with this traffic class and flow label 0.
    #[inline(always)]
    #[must_use]
    pub const fn first_word(traffic_class: u8) -> [u8; 4] {
        [0x60 | traffic_class >> 4, traffic_class << 4, 0, 0]
    }

    #[inline(always)]
    #[must_use]
    pub const fn destination(&self) -> Addr {
        Addr(self.destination)
    }

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
const _: () = assert!(size_of::<FragmentHeader>() == 8);
