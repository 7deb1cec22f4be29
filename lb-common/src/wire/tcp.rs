//! TCP (RFC 9293), as far as a director looks.

use crate::addr::Be16;

/// The header without options, 20 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug)]
pub struct Tcp {
    pub source_port: Be16,
    pub destination_port: Be16,
    pub sequence: [u8; 4],
    pub acknowledgment: [u8; 4],
    pub data_offset: u8,
    /// [`crate::tcp_state::flag`].
    pub flags: u8,
    pub window: Be16,
    pub checksum: u16,
    pub urgent: Be16,
}

impl Tcp {
    /// Header length with options, bytes; below 20 is malformed.
    #[inline(always)]
    #[must_use]
    pub const fn header_bytes(&self) -> u16 {
        (self.data_offset >> 4) as u16 * 4
    }
}

const _: () = assert!(size_of::<Tcp>() == 20);
