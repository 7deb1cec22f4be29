//! Network address translation: the entry holds the addresses and ports of
//! the translated packet and what the change adds to the checksums.

use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS,
        bpf_fib_lookup as FibLookup,
    },
    helpers::bpf_fib_lookup,
};
use lb_common::{
    abi::event_kind,
    addr::{Addr, Be32},
    checksum,
    connection::Connection,
    real::NextHop,
    verdict::DropReason,
    wire::icmp,
};

use crate::{packet::Packet, parse::Flow, stage, stats, transmit};

/// `AF_INET` of socket(2).
const AF_INET: u8 = 2;

/// The client's half: destination VIP becomes the real's address and port.
#[inline(always)]
pub fn to_real(packet: &Packet, flow: &Flow, connection: &Connection, hop: &NextHop) -> u32 {
    if let Some(verdict) = super::too_big(packet, flow, hop, 0) {
        return verdict;
    }
    translate(flow, connection);
    transmit::by_hop(packet, hop)
}

/// The real's half: source becomes the VIP, and the kernel's routes and
/// neighbours say how to reach the client. Unlike reals, clients are too many
/// for a table of their own.
#[inline(always)]
pub fn to_client(packet: &Packet, flow: &Flow, connection: &Connection) -> u32 {
    // SAFETY: plain data; every field is an integer.
    let mut route: FibLookup = unsafe { core::mem::zeroed() };
    route.family = AF_INET;
    route.l4_protocol = flow.key.protocol;
    route.sport = connection.new_source_port.raw();
    route.dport = connection.new_destination_port.raw();
    route.__bindgen_anon_1.tot_len = flow.length;
    route.ifindex = packet.ingress_ifindex();
    route.__bindgen_anon_3.ipv4_src = connection.new_source.v4().raw();
    route.__bindgen_anon_4.ipv4_dst = connection.new_destination.v4().raw();
    // SAFETY: the context is this program's own, and `route` is as long as
    // its length says.
    let outcome = unsafe {
        bpf_fib_lookup(
            packet.raw_context(),
            &raw mut route,
            size_of::<FibLookup>() as i32,
            0,
        )
    };
    match outcome as u32 {
        BPF_FIB_LKUP_RET_SUCCESS => {}
        BPF_FIB_LKUP_RET_FRAG_NEEDED => {
            // SAFETY: the helper left the MTU in the union.
            let mtu = unsafe { route.__bindgen_anon_1.mtu_result };
            return stage::answer(
                packet,
                DropReason::FragmentationNeeded,
                icmp::DESTINATION_UNREACHABLE,
                icmp::FRAGMENTATION_NEEDED,
                mtu,
            );
        }
        BPF_FIB_LKUP_RET_NO_NEIGH => {
            // SAFETY: the helper left the gateway, or the client itself.
            let neighbour = unsafe { route.__bindgen_anon_4.ipv4_dst };
            let neighbour = Addr::from_v4(Be32::from_raw(neighbour));
            stage::request(event_kind::NEIGHBOUR_MISSING, route.ifindex, neighbour);
            return stats::drop_packet(DropReason::ClientNeighbourMissing);
        }
        _ => return stats::drop_packet(DropReason::ClientUnreachable),
    }
    translate(flow, connection);
    transmit::by_address(packet, route.dmac, route.smac, route.ifindex)
}

/// Writes the entry's addresses and ports, with their checksums, and
/// decrements the TTL.
#[inline(always)]
fn translate(flow: &Flow, connection: &Connection) {
    super::decrement_ttl(flow);
    // SAFETY: the parser checked the bounds, and nothing moved the packet.
    let ipv4 = unsafe { &mut *flow.ipv4.as_ptr() };
    ipv4.source = connection.new_source.v4();
    ipv4.destination = connection.new_destination.v4();
    ipv4.checksum = checksum::apply(ipv4.checksum, u64::from(connection.l3_delta));
    flow.transport.translate(
        connection.new_source_port,
        connection.new_destination_port,
        connection.l4_delta,
    );
}
