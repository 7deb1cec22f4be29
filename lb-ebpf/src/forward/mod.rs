//! Forwarding a packet of a connection, by the method in its entry.

pub mod dr;
pub mod nat;
pub mod tun;

use lb_common::{
    abi::event_kind,
    addr::Addr,
    connection::{Connection, ForwardingMethod, direction},
    real::NextHop,
    verdict::DropReason,
    wire::icmp,
};

use crate::{connection, maps::NEXT_HOPS, packet::Packet, parse::Flow, stage, stats};

/// Counts the packet on its entry and sends it on its way.
#[inline(always)]
pub fn run(packet: &Packet, flow: &Flow, entry: *mut Connection) -> u32 {
    connection::see(entry, flow);
    if flow.ttl <= 1 {
        return stage::answer(packet, DropReason::TtlExceeded, icmp::TIME_EXCEEDED, 0, 0);
    }
    // SAFETY: map values stay readable while the program runs.
    let connection = unsafe { &*entry };
    if connection.direction == direction::REVERSE {
        return nat::to_client(packet, flow, connection);
    }
    let Some(hop) = next_hop(connection.next_hop) else {
        return stats::drop_packet(DropReason::NextHopUnresolved);
    };
    match ForwardingMethod::from_number(connection.method) {
        Some(ForwardingMethod::Dr) => dr::to_real(packet, flow, hop),
        Some(ForwardingMethod::Nat) => nat::to_real(packet, flow, connection, hop),
        Some(ForwardingMethod::Tun) => tun::to_real(packet, flow, connection, hop),
        None => stats::drop_packet(DropReason::Inconsistent),
    }
}

/// The next hop in a slot, if it is resolved; else the daemon is asked.
#[inline(always)]
fn next_hop(slot: u32) -> Option<&'static NextHop> {
    // SAFETY: an array's values live as long as the program.
    let hop = unsafe { &*NEXT_HOPS.get_ptr(slot)? };
    if hop.resolved == 0 {
        stage::request(event_kind::NEXT_HOP_UNRESOLVED, slot, Addr::UNSPECIFIED);
        return None;
    }
    Some(hop)
}

/// "Fragmentation needed" where the packet with `overhead` does not fit the
/// hop's MTU. Also without DF: a fragmenting director would be a slow one, and
/// every stack of today heeds the message.
#[inline(always)]
fn too_big(packet: &Packet, flow: &Flow, hop: &NextHop, overhead: u16) -> Option<u32> {
    if u32::from(flow.length) + u32::from(overhead) <= u32::from(hop.mtu) {
        return None;
    }
    Some(stage::answer(
        packet,
        DropReason::FragmentationNeeded,
        icmp::DESTINATION_UNREACHABLE,
        icmp::FRAGMENTATION_NEEDED,
        hop.mtu.saturating_sub(overhead),
    ))
}

/// Decrements the TTL in place.
#[inline(always)]
fn decrement_ttl(flow: &Flow) {
    // SAFETY: the parser checked the bounds, and nothing moved the packet.
    unsafe { (*flow.ipv4.as_ptr()).decrement_ttl() };
}
