//! Generic Routing Encapsulation, version 0 (RFC 2784; key and sequence
//! number are RFC 2890's, routing is RFC 1701's). In IPv6: RFC 7676.

use crate::addr::Be16;

/// The header without optional fields, 4 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug)]
pub struct Gre {
    /// Which optional fields there are, reserved bits, and the version (the
    /// last 3 bits).
    pub flags: Be16,
    /// EtherType of what follows.
    pub protocol: Be16,
}

/// The header with a checksum, 8 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug)]
pub struct GreChecksum {
    pub header: Gre,
    /// Internet checksum over GRE header and payload.
    pub checksum: u16,
    /// Zero to send; not looked at by receivers.
    pub reserved: u16,
}

/// Length of a header without optional fields.
pub const HEADER_BYTES: u16 = 4;
/// Length of a header with a checksum.
pub const CHECKSUM_HEADER_BYTES: u16 = 8;

/// In [`Gre::flags`], host order: there is a checksum.
pub const CHECKSUM: u16 = 0x8000;
/// In [`Gre::flags`], host order: key.
pub const KEY: u16 = 0x2000;
/// In [`Gre::flags`], host order: sequence number.
pub const SEQUENCE: u16 = 0x1000;
/// In [`Gre::flags`], host order: what makes a packet not RFC 2784's, hence
/// one for a receiver that knows more (its section 2.3: bits 1 to 5, of which
/// 2 and 3 became [`KEY`] and [`SEQUENCE`]; 2.3.1: the version). Bits 6 to 12
/// are not looked at.
pub const FOREIGN: u16 = 0x7c07;

impl Gre {
    #[inline(always)]
    #[must_use]
    pub const fn new(protocol: Be16, checksum: bool) -> Self {
        let flags = if checksum { CHECKSUM } else { 0 };
        Self {
            flags: Be16::new(flags),
            protocol,
        }
    }

    /// Whether a receiver of RFC 2784 alone understands the header.
    #[inline(always)]
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.flags.get() & FOREIGN == 0
    }

    #[inline(always)]
    #[must_use]
    pub const fn has_checksum(&self) -> bool {
        self.flags.get() & CHECKSUM != 0
    }

    /// Length of a plain header, bytes: 4 or 8.
    #[inline(always)]
    #[must_use]
    pub const fn header_bytes(&self) -> u16 {
        if self.has_checksum() {
            CHECKSUM_HEADER_BYTES
        } else {
            HEADER_BYTES
        }
    }
}

const _: () = assert!(size_of::<Gre>() == HEADER_BYTES as usize);
const _: () = assert!(size_of::<GreChecksum>() == CHECKSUM_HEADER_BYTES as usize);
