//! Ethernet II.

use crate::addr::Be16;

/// 14 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug)]
pub struct Ethernet {
    pub destination: [u8; 6],
    pub source: [u8; 6],
    pub ethertype: Be16,
}

/// EtherTypes (IANA).
pub mod ethertype {
    use crate::addr::Be16;
    pub const IPV4: Be16 = Be16::new(0x0800);
    pub const IPV6: Be16 = Be16::new(0x86dd);
}

const _: () = assert!(size_of::<Ethernet>() == 14);
