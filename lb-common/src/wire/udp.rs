//! UDP (RFC 768).

use crate::addr::Be16;

/// 8 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug)]
pub struct Udp {
    pub source_port: Be16,
    pub destination_port: Be16,
    pub length: Be16,
    pub checksum: u16,
}

const _: () = assert!(size_of::<Udp>() == 8);
