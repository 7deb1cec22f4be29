//! The link layer: where the network header lies, and what it is.

use aya_ebpf::programs::XdpContext;
use lb_common::{addr::Be16, parse::link};

use crate::{packet::Packet, stage};

/// Most VLAN tags, as a mask.
const TAGS_MASK: u32 = 3;

/// The packet, and the EtherType of its network layer.
#[inline(always)]
pub fn packet(context: XdpContext) -> Option<(Packet, Be16)> {
    let packet = Packet::new(context);
    let link = link(&packet)?;
    if link.tags == 0 {
        return Some((packet, link.ethertype));
    }
    Some((packet.with_tags(unknown(link.tags)?), link.ethertype))
}

/// The same number, of which the verifier forgets what it knows: it would
/// follow all that comes for one tag and for two.
#[inline(always)]
fn unknown(tags: usize) -> Option<usize> {
    let place = &raw mut stage::scratch()?.tags;
    // SAFETY: this CPU's own.
    unsafe {
        place.write_volatile(tags as u32);
        Some((place.read_volatile() & TAGS_MASK) as usize)
    }
}
