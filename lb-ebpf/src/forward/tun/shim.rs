//! What stands between the outer IP header and the inner packet: UDP with GUE,
//! or GRE.

use lb_common::{
    abi::Tunnel,
    addr::Be16,
    checksum,
    wire::{
        gre::{self, Gre, GreChecksum},
        gue, protocol,
        udp::Udp,
    },
};

/// UDP and GUE, 12 bytes.
#[repr(C, packed)]
pub struct Gue {
    udp: Udp,
    gue: gue::Gue,
}

impl Gue {
    /// `length` with both headers, bytes; no checksum, which RFC 768 and RFC
    /// 6935 allow.
    #[inline(always)]
    pub fn new(tunnel: &Tunnel, length: u16, inner_protocol: u8) -> Self {
        Self {
            udp: Udp {
                source_port: tunnel.source_port,
                destination_port: tunnel.destination_port,
                length: Be16::new(length),
                checksum: 0,
            },
            gue: gue::Gue::data(inner_protocol),
        }
    }

    /// `sum`: of the outer addresses and the inner packet.
    #[inline(always)]
    pub fn fill_checksum(&mut self, sum: u64) {
        let udp = self.udp;
        let length = u64::from(udp.length.raw());
        let sum = sum
            + u64::from(Be16::new(protocol::UDP as u16).raw())
            + length
            + u64::from(udp.source_port.raw())
            + u64::from(udp.destination_port.raw())
            + length
            + u64::from(u16::from_ne_bytes([self.gue.first, self.gue.protocol]));
        self.udp.checksum = match !checksum::fold(sum) {
            0 => 0xffff,
            checksum => checksum,
        };
    }
}

#[inline(always)]
pub fn gre(ethertype: Be16) -> Gre {
    Gre::new(ethertype, false)
}

/// `sum`: of the inner packet.
#[inline(always)]
pub fn gre_with_checksum(ethertype: Be16, sum: u64) -> GreChecksum {
    let flags = u64::from(Be16::new(gre::CHECKSUM).raw());
    GreChecksum {
        header: Gre::new(ethertype, true),
        checksum: !checksum::fold(sum + flags + u64::from(ethertype.raw())),
        reserved: 0,
    }
}
