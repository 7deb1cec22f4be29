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
    /// IEEE 802.1Q tag, and 802.1ad's outer one.
    pub const VLAN: Be16 = Be16::new(0x8100);
    pub const SERVICE_VLAN: Be16 = Be16::new(0x88a8);
    pub const IPV6: Be16 = Be16::new(0x86dd);
}

const _: () = assert!(size_of::<Ethernet>() == 14);
