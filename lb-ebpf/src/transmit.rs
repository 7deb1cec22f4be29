//! The last stage: MAC addresses, and out by the interface of the next hop.

use aya_ebpf::{bindings::xdp_action::XDP_TX, helpers::bpf_redirect};
use lb_common::{
    abi::stage as stages,
    parse::Frame as _,
    real::{ClientHop, Egress, NextHop, vlan},
    verdict::DropReason,
    wire::ethernet::Ethernet,
};

use crate::{packet::Packet, stage, stats, verifier::copy};

/// To a next hop of the table.
#[inline(always)]
pub fn by_hop(packet: &Packet, hop: &NextHop) -> u32 {
    by_address(packet, &hop.destination_mac, &hop.source_mac, &hop.egress)
}

/// To a client under nat.
#[inline(always)]
pub fn to_client(packet: &Packet, hop: &ClientHop) -> u32 {
    by_address(packet, &hop.destination_mac, &hop.source_mac, &hop.egress)
}

/// To a MAC address.
#[inline(always)]
fn by_address(packet: &Packet, destination: &[u8; 6], source: &[u8; 6], egress: &Egress) -> u32 {
    let Some(ethernet) = packet.at::<Ethernet>(0) else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    // SAFETY: `at` checked the bounds; the fields are byte-aligned.
    unsafe {
        copy(&raw mut (*ethernet.as_ptr()).destination, destination);
        copy(&raw mut (*ethernet.as_ptr()).source, source);
    }
    if packet.tags() != 0 || egress.vlan > vlan::UNTAGGED {
        let Some(scratch) = stage::scratch() else {
            return stats::drop_packet(DropReason::Inconsistent);
        };
        scratch.egress = *egress;
        return stage::go(packet, stages::VLAN);
    }
    out(packet, egress.ifindex)
}

/// Out by an interface, as it is.
#[inline(always)]
pub fn out(packet: &Packet, ifindex: u32) -> u32 {
    if ifindex == packet.ingress_ifindex() {
        return XDP_TX;
    }
    // SAFETY: a helper that takes numbers.
    unsafe { bpf_redirect(ifindex, 0) as u32 }
}
