//! The last stage: MAC addresses, and out by the interface of the next hop.

use aya_ebpf::{bindings::xdp_action::XDP_TX, helpers::bpf_redirect};
use lb_common::{real::NextHop, verdict::DropReason, wire::ethernet::Ethernet};

use crate::{packet::Packet, stats};

/// To a next hop of the table.
#[inline(always)]
pub fn by_hop(packet: &Packet, hop: &NextHop) -> u32 {
    by_address(packet, hop.destination_mac, hop.source_mac, hop.ifindex)
}

/// To a MAC address behind interface `ifindex`.
#[inline(always)]
pub fn by_address(packet: &Packet, destination: [u8; 6], source: [u8; 6], ifindex: u32) -> u32 {
    let Some(ethernet) = packet.at::<Ethernet>(0) else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    // SAFETY: `at` checked the bounds; the fields are byte-aligned.
    unsafe {
        (*ethernet.as_ptr()).destination = destination;
        (*ethernet.as_ptr()).source = source;
    }
    if ifindex == packet.ingress_ifindex() {
        return XDP_TX;
    }
    // SAFETY: a helper that takes numbers.
    unsafe { bpf_redirect(ifindex, 0) as u32 }
}
