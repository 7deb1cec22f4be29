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

/// Chunk types (RFC 9260 section 3.2). INIT is the first packet of an
/// association.
pub const DATA: u8 = 0;
pub const INIT: u8 = 1;
pub const INIT_ACK: u8 = 2;
pub const SACK: u8 = 3;
pub const ABORT: u8 = 6;
pub const SHUTDOWN: u8 = 7;
pub const SHUTDOWN_ACK: u8 = 8;
pub const ERROR: u8 = 9;
pub const COOKIE_ECHO: u8 = 10;
pub const COOKIE_ACK: u8 = 11;
pub const SHUTDOWN_COMPLETE: u8 = 14;

const _: () = assert!(size_of::<Sctp>() == 16);
