//! ICMP messages that the director makes itself (RFC 792, RFC 1191, RFC 4443):
//! the packet turns round on the interface that it came by, from the address
//! that it was sent to, and quotes as much as RFC 1812 section 4.3.2.3 and RFC
//! 4443 section 3 allow.

pub mod message;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_TX};
use lb_common::{
    abi::Scratch,
    checksum,
    parse::Frame as _,
    verdict::{DropReason, ICMP_SUPPRESSED_SLOT},
    wire::{
        ethernet::Ethernet,
        icmp::{self, Icmp},
    },
};

use crate::{
    family::Family,
    maps::SETTINGS,
    packet::Packet,
    stage::{self, now_ns},
    stats,
};

/// Length of the two MAC addresses.
const ADDRESSES_BYTES: usize = 12;

/// Answers the packet as the scratch says. The drop itself is counted.
#[inline(always)]
pub fn run<F: Family>(packet: &Packet) -> u32 {
    let Some(scratch) = stage::scratch() else {
        return XDP_DROP;
    };
    let Some(datagram) = F::datagram(packet, packet.network()) else {
        return XDP_DROP;
    };
    // SAFETY: the parser checked the bounds; the value is copied before the
    // packet moves.
    let original = unsafe { datagram.header.read() };
    if !F::source(&original).is_unicast() || !allowed(scratch) {
        stats::count(ICMP_SUPPRESSED_SLOT);
        return XDP_DROP;
    }
    match turn_round::<F>(packet, scratch, &original, datagram.length) {
        Ok(()) => XDP_TX,
        Err(reason) => stats::drop_packet(reason),
    }
}

#[inline(always)]
fn turn_round<F: Family>(
    packet: &Packet,
    scratch: &Scratch,
    original: &F::Header,
    length: u16,
) -> Result<(), DropReason> {
    let inconsistent = DropReason::Inconsistent;
    let ethernet = packet.at::<Ethernet>(0).ok_or(inconsistent)?;
    // SAFETY: `at` checked the bounds; the value is copied before the packet
    // moves.
    let ethernet = unsafe { ethernet.read() };
    let overhead = F::HEADER_BYTES + icmp::HEADER_BYTES;
    let room = F::MAX_DATAGRAM_BYTES - overhead;
    let quote = if length > room { room } else { length };
    let network = packet.network();
    if !packet.set_length(network as u64 + u64::from(quote))
        || !packet.insert(overhead, F::ETHERTYPE)
    {
        return Err(DropReason::NoHeadroom);
    }
    let addresses = (ethernet.source, ethernet.destination);
    let header = F::reply_header(original, quote + icmp::HEADER_BYTES, F::ICMP);
    let at = network + F::HEADER_BYTES as usize;
    let mut message = F::message(scratch);
    let words = u64::from(u16::from_ne_bytes([message.kind, message.code]))
        + u64::from(message.mtu.raw())
        + F::pseudo_sum(original, quote + icmp::HEADER_BYTES, F::ICMP);
    let quoted = packet
        .sum(at + icmp::HEADER_BYTES as usize, quote)
        .ok_or(inconsistent)?;
    message.checksum = !checksum::fold(words + quoted);
    const _: () = assert!(size_of::<([u8; 6], [u8; 6])>() == ADDRESSES_BYTES);
    let is_written = packet.write(0, addresses)
        && packet.write(network, header)
        && packet.write::<Icmp>(at, message);
    is_written.then_some(()).ok_or(inconsistent)
}

/// Whether this CPU may make another message in this second.
#[inline(always)]
fn allowed(scratch: &mut Scratch) -> bool {
    let second = (now_ns() / 1_000_000_000) as u32;
    if scratch.icmp_second != second {
        scratch.icmp_second = second;
        scratch.icmp_made = 0;
    }
    let rate = SETTINGS.get(0).map_or(0, |settings| settings.icmp_rate);
    if scratch.icmp_made >= rate {
        return false;
    }
    scratch.icmp_made += 1;
    true
}
