//! SCTP (RFC 9260), as far as a director looks.

use crate::addr::{Be16, Be32};

/// The common header and the head of the first chunk, 16 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug)]
pub struct Sctp {
    pub source_port: Be16,
    pub destination_port: Be16,
    pub verification_tag: Be32,
    /// CRC32c over the packet, without any pseudo header.
    pub checksum: [u8; 4],
    /// [`INIT`] and others.
    pub chunk_type: u8,
    pub chunk_flags: u8,
    pub chunk_length: Be16,
}

/// Chunk type of the first packet of an association.
pub const INIT: u8 = 1;

const _: () = assert!(size_of::<Sctp>() == 16);
