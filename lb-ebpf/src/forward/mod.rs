//! Forwarding a packet of a connection, by the method in its entry.

pub mod dr;
pub mod nat;
pub mod tun;

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use lb_common::{
    abi::{event_kind, message},
    addr::Addr,
    connection::{Connection, ForwardingMethod, direction},
    parse::Flow,
    real::NextHop,
    verdict::DropReason,
};

use crate::{
    connection, family::Family, maps::NEXT_HOPS, packet::Packet, stage, stats, table::Entry,
};

/// Counts the packet on its entry and sends it on its way.
#[inline(always)]
pub fn run<F: Family>(packet: &Packet, flow: &Flow<F>, entry: *mut Entry<F>) -> u32 {
    connection::see(entry, flow);
    // SAFETY: map values stay readable while the program runs.
    along(packet, flow, unsafe { &(*entry).connection })
}

/// Sends the packet on its connection's way.
#[inline(always)]
pub fn along<F: Family>(packet: &Packet, flow: &Flow<F>, connection: &Connection) -> u32 {
    if connection.method == ForwardingMethod::Local as u8 {
        return XDP_PASS;
    }
    if let Some(verdict) = outlived(packet, flow) {
        return verdict;
    }
    if connection.direction == direction::REVERSE {
        return nat::to_client(packet, flow, connection);
    }
    to_real(packet, flow, connection)
}

/// Towards the connection's real.
#[inline(always)]
fn to_real<F: Family>(packet: &Packet, flow: &Flow<F>, connection: &Connection) -> u32 {
    let hop = match next_hop(connection.next_hop) {
        Ok(hop) => hop,
        Err(verdict) => return verdict,
    };
    match ForwardingMethod::from_number(connection.method) {
        Some(ForwardingMethod::Dr) => dr::to_real(packet, flow, hop),
        Some(ForwardingMethod::Nat) => nat::to_real(packet, flow, connection, hop),
        Some(ForwardingMethod::Tun) => tun::to_real(packet, flow, connection, hop),
        Some(ForwardingMethod::Local) | None => stats::drop_packet(DropReason::Inconsistent),
    }
}

/// "Time exceeded" where the TTL would become 0 here.
#[inline(always)]
pub fn outlived<F: Family>(packet: &Packet, flow: &Flow<F>) -> Option<u32> {
    // SAFETY: the parser checked the bounds; the fields are byte-aligned.
    if F::ttl(unsafe { flow.header.as_ref() }) > 1 {
        return None;
    }
    let reason = DropReason::TtlExceeded;
    Some(stage::answer(
        packet,
        flow,
        reason,
        message::TIME_EXCEEDED,
        0,
    ))
}

/// The next hop in a slot, if it is resolved; else the daemon is asked,
/// and this is the packet's verdict.
#[inline(always)]
pub fn next_hop(slot: u32) -> Result<&'static NextHop, u32> {
    let Some(hop) = NEXT_HOPS.get_ptr(slot) else {
        return Err(stats::drop_packet(DropReason::NextHopUnresolved));
    };
    // SAFETY: an array's values live as long as the program.
    let hop = unsafe { &*hop };
    if hop.resolved == 0 {
        stage::request(event_kind::NEXT_HOP_UNRESOLVED, slot, Addr::UNSPECIFIED);
        return Err(stats::drop_packet(DropReason::NextHopUnresolved));
    }
    Ok(hop)
}

/// "Fragmentation needed" or "packet too big" where the packet with `overhead`
/// does not fit the hop's MTU. Also without DF:
/// docs/decisions/0006-datagrams-without-df.md.
#[inline(always)]
pub fn too_big<F: Family>(
    packet: &Packet,
    flow: &Flow<F>,
    hop: &NextHop,
    overhead: u16,
) -> Option<u32> {
    // A smaller one than the least that the family has would be ignored, and the
    // sender be lost for ever.
    let mtu = hop.mtu.saturating_sub(overhead).max(F::MIN_MTU);
    if flow.length <= mtu {
        return None;
    }
    Some(stage::answer(
        packet,
        flow,
        DropReason::FragmentationNeeded,
        message::TOO_BIG,
        mtu,
    ))
}

/// Decrements the TTL in place.
#[inline(always)]
pub fn decrement_ttl<F: Family>(flow: &Flow<F>) {
    let mut header = flow.header;
    // SAFETY: the parser checked the bounds, and nothing moved the packet.
    F::decrement_ttl(unsafe { header.as_mut() });
}
