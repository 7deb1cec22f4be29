//! VLAN tags on the way out (IEEE 802.1Q): a frame for a VLAN interface leaves
//! by its lower port with the tags written here, because a driver's XDP knows
//! no VLAN interfaces.

use lb_common::{
    addr::Be16,
    limits::VLAN_TAG_BYTES,
    parse::Frame as _,
    real::{Egress, VlanTag, vlan},
    verdict::DropReason,
};

use crate::{packet::Packet, stage, stats, transmit};

/// Priority and drop eligibility, in a tag's control information.
const PRIORITY_MASK: u16 = 0xf000;
/// Length of the two MAC addresses.
const ADDRESSES_BYTES: usize = 12;

/// The stage for frames that have tags or are to get some.
#[inline(always)]
pub fn run(packet: &Packet) -> u32 {
    let Some(scratch) = stage::scratch() else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    let egress = scratch.egress;
    let wanted = match egress.vlan {
        vlan::KEEP if egress.ifindex == packet.ingress_ifindex() => {
            return transmit::out(packet, egress.ifindex);
        }
        vlan::ONE_TAG => 1,
        vlan::TWO_TAGS => 2,
        _ => 0,
    };
    match retag(packet, &egress, wanted) {
        Some(()) => transmit::out(packet, egress.ifindex),
        None => stats::drop_packet(DropReason::NoHeadroom),
    }
}

/// Puts `wanted` tags in the place of those that the frame has.
#[inline(always)]
fn retag(packet: &Packet, egress: &Egress, wanted: usize) -> Option<()> {
    let front = packet.at::<([u8; ADDRESSES_BYTES], [u8; VLAN_TAG_BYTES])>(0)?;
    let ethertype = packet.at::<[u8; 2]>(packet.network() - 2)?;
    // SAFETY: `at` checked the bounds.
    let ((addresses, [_, _, high, low]), ethertype) =
        unsafe { (*front.as_ref(), *ethertype.as_ref()) };
    let priority = if packet.tags() == 0 {
        0
    } else {
        u16::from_be_bytes([high, low]) & PRIORITY_MASK
    };
    let surplus = (packet.tags() as i32 - wanted as i32) * VLAN_TAG_BYTES as i32;
    if surplus != 0 && !packet.move_head(surplus) {
        return None;
    }
    let [outer, inner] = egress.tags.map(|tag| tag_octets(tag, priority));
    let is_written = packet.write(0, addresses)
        && match wanted {
            0 => packet.write(ADDRESSES_BYTES, ethertype),
            1 => packet.write(ADDRESSES_BYTES, (outer, ethertype)),
            _ => packet.write(ADDRESSES_BYTES, (outer, inner, ethertype)),
        };
    is_written.then_some(())
}

#[inline(always)]
fn tag_octets(tag: VlanTag, priority: u16) -> [u8; VLAN_TAG_BYTES] {
    let [a, b] = tag.protocol.raw().to_ne_bytes();
    let tci = Be16::new(tag.tci.get() & !PRIORITY_MASK | priority);
    let [c, d] = tci.raw().to_ne_bytes();
    [a, b, c, d]
}
