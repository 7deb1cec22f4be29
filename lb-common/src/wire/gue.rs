//! Generic UDP Encapsulation, variant 0 (draft-ietf-intarea-gue, section 3;
//! the receiver of Linux is `gue_udp_recv` in net/ipv4/fou_core.c, its header
//! is in include/net/gue.h). It lies behind a UDP header.

use crate::addr::Be16;

/// The header without extension fields, 4 bytes. With all octets of
/// `first` and `flags` 0 it is what a director writes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug)]
pub struct Gue {
    /// Variant (2 bits), control (1), length of the extension fields in
    /// 32-bit words (5).
    pub first: u8,
    /// In a data message the IP protocol number of what follows.
    pub protocol: u8,
    /// Which extension fields there are.
    pub flags: Be16,
}

/// Length of a header without extension fields.
pub const HEADER_BYTES: u16 = 4;
/// Of UDP. IANA's, service name "gue".
pub const PORT: u16 = 6080;

/// Mask of the variant in [`Gue::first`]. Variant 1 (the bits 01) has no
/// header: these are the first bits of an IP version of 4 or 6.
pub const VARIANT_MASK: u8 = 0xc0;
/// In [`Gue::first`]: a control message, not a packet.
pub const CONTROL: u8 = 0x20;
/// Mask of the extension fields' length in [`Gue::first`].
pub const LENGTH_MASK: u8 = 0x1f;

impl Gue {
    /// A header without extension fields before a packet of `protocol`.
    #[inline(always)]
    #[must_use]
    pub const fn data(protocol: u8) -> Self {
        Self {
            first: 0,
            protocol,
            flags: Be16::new(0),
        }
    }

    /// Variant 0, and a data message.
    #[inline(always)]
    #[must_use]
    pub const fn is_data(&self) -> bool {
        self.first & (VARIANT_MASK | CONTROL) == 0
    }

    /// Length with extension fields, bytes: 4 to 128.
    #[inline(always)]
    #[must_use]
    pub const fn header_bytes(&self) -> u16 {
        HEADER_BYTES + (self.first & LENGTH_MASK) as u16 * 4
    }
}

const _: () = assert!(size_of::<Gue>() == HEADER_BYTES as usize);
