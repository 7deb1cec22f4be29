//! The sum of the packet that goes into a tunnel with a checksum. Nearly
//! always it follows from the packet's own checksums: an IPv4 header sums up
//! to nothing, and a TCP segment or UDP datagram to the complement of its
//! pseudo header.

use lb_common::{
    addr::Be16,
    checksum,
    flow::FlowKey as _,
    parse::{Flow, Frame as _, Part, Transport},
};

use crate::{family::Family, packet::Packet};

/// Of the whole IP packet, with its headers.
#[inline(always)]
pub fn of_packet<F: Family>(packet: &Packet, flow: &Flow<F>) -> Option<u64> {
    let payload = flow.length - flow.header_bytes;
    // Extension headers would have to be summed, and options may have another
    // destination in them, for which the checksum is; nobody sends them.
    let is_plain = flow.header_bytes == F::HEADER_BYTES;
    // A UDP datagram without a checksum, or one that is shorter than what IP
    // carries, says nothing of the whole.
    let is_covered = flow.part == Part::Whole
        && match flow.transport {
            Transport::Tcp(_) => true,
            Transport::Udp(udp) => {
                // SAFETY: the parser checked the bounds, and nothing moved the
                // packet.
                let udp = unsafe { udp.as_ref() };
                udp.checksum != 0 && udp.length.get() == payload
            }
            Transport::Sctp(_) | Transport::Absent(_) => false,
        };
    if !is_plain || !is_covered {
        return packet.sum(packet.network(), flow.length);
    }
    // SAFETY: as above.
    let header = unsafe { flow.header.as_ref() };
    let addresses =
        checksum::of_address(F::source(header)) + checksum::of_address(F::destination(header));
    let pseudo = addresses
        + u64::from(Be16::new(u16::from(flow.key.protocol())).raw())
        + u64::from(Be16::new(payload).raw());
    let segment = u64::from(!checksum::fold(pseudo));
    Some(segment + header_sum::<F>(packet)?)
}

/// IPv4's adds up to nothing; IPv6's has no checksum.
#[inline(always)]
fn header_sum<F: Family>(packet: &Packet) -> Option<u64> {
    if F::NUMBER == 0 {
        return Some(0);
    }
    let words = packet.at::<[[u8; 4]; 10]>(packet.network())?;
    // SAFETY: `at` checked the bounds.
    let words = unsafe { words.as_ref() };
    let mut sum = 0;
    for word in words {
        sum += u64::from(u32::from_ne_bytes(*word));
    }
    Some(sum)
}
