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
    abi::{event_kind, message},
    addr::{Addr, Be32},
    connection::Connection,
    flow::FlowKey as _,
    parse::Flow,
    real::{self, CLIENT_HOP_LIFE, ClientHop, Egress, NextHop, hop_time, vlan},
    verdict::DropReason,
};

use crate::{
    family::Family,
    maps::{CLIENT_HOPS, PORTS},
    packet::Packet,
    stage, stats, table, transmit,
    verifier::{self, compare_and_swap_u32},
};

/// `AF_INET` and `AF_INET6` of socket(2).
const AF: [u8; 2] = [2, 10];

/// The client's half: destination VIP becomes the real's address and port.
#[inline(always)]
pub fn to_real<F: Family>(
    packet: &Packet,
    flow: &Flow<F>,
    connection: &Connection,
    hop: &NextHop,
) -> u32 {
    if let Some(verdict) = super::too_big(packet, flow, hop, 0) {
        return verdict;
    }
    translate(flow, connection);
    transmit::by_hop(packet, hop)
}

/// The real's half: source becomes the VIP. The way there is as it was a moment
/// ago, or asked for.
#[inline(always)]
pub fn to_client<F: Family>(packet: &Packet, flow: &Flow<F>, connection: &Connection) -> u32 {
    let now = hop_time(connection.last_seen_ns);
    if now.wrapping_sub(connection.looked_up) < CLIENT_HOP_LIFE
        && let Some(hop) = way_of_before(connection.next_hop)
        && flow.length <= hop.mtu
    {
        return to_client_by(packet, flow, connection, hop);
    }
    match way_to_client(packet, flow, connection) {
        Ok(hop) => {
            if remember(hop) {
                remember_for::<F>(&flow.key, hop.id, now);
            }
            to_client_by(packet, flow, connection, hop)
        }
        Err(verdict) => verdict,
    }
}

/// The way with this number, if there is one, in the scratch.
#[inline(always)]
fn way_of_before(id: u32) -> Option<&'static ClientHop> {
    let hop = CLIENT_HOPS.get_ptr(id % real::CLIENT_HOPS)?;
    let copy = &mut stage::scratch()?.client_hop;
    // SAFETY: an array's values live as long as the program. Who writes one takes
    // its number away first and gives it back last: between two looks that find
    // the same number it was whole.
    unsafe {
        if verifier::load(&raw const (*hop).id) != id {
            return None;
        }
        verifier::copy(&raw mut *copy, hop);
        if verifier::load(&raw const (*hop).id) != id {
            return None;
        }
    }
    Some(copy)
}

/// Notes a way for the packets of the next moment. False: its place is another's,
/// or somebody is writing there.
#[inline(always)]
fn remember(hop: &ClientHop) -> bool {
    let Some(place) = CLIENT_HOPS.get_ptr_mut(hop.id % real::CLIENT_HOPS) else {
        return false;
    };
    // SAFETY: map values stay writable while the program runs; aligned.
    unsafe {
        let id = &raw mut (*place).id;
        let old = verifier::load(id);
        if old == hop.id && *place == *hop {
            return true;
        }
        if old == real::WRITING || !compare_and_swap_u32(id, old, real::WRITING) {
            return false;
        }
        verifier::copy(
            &raw mut (*place).destination_mac,
            &raw const hop.destination_mac,
        );
        verifier::copy(&raw mut (*place).source_mac, &raw const hop.source_mac);
        verifier::copy(&raw mut (*place).egress, &raw const hop.egress);
        (*place).mtu = hop.mtu;
        compare_and_swap_u32(id, real::WRITING, hop.id)
    }
}

/// Notes a way in the connection's entry, as the table has it now: since the packet
/// came in its place may have become a forward entry, whose `next_hop` is another
/// thing.
#[inline(always)]
fn remember_for<F: Family>(key: &F::Key, id: u32, now: u32) {
    let Some(entry) = table::find_rarely::<F, { stage::PACKETS }>(key) else {
        return;
    };
    // SAFETY: map values stay writable while the program runs; aligned. No forward
    // entry has a next hop that is a way's number.
    unsafe {
        let next_hop = &raw mut (*entry).connection.next_hop;
        let old = verifier::load(next_hop);
        if old & HIGHEST_BIT != 0 && compare_and_swap_u32(next_hop, old, id) {
            (*entry).connection.looked_up = now;
        }
    }
}

/// What every way's number has, and [`real::NO_WAY`], and no next-hop slot.
const HIGHEST_BIT: u32 = 1 << 31;

/// By this way.
#[inline(always)]
pub fn to_client_by<F: Family>(
    packet: &Packet,
    flow: &Flow<F>,
    connection: &Connection,
    hop: &ClientHop,
) -> u32 {
    translate(flow, connection);
    transmit::to_client(packet, hop)
}

/// A number for a way, not [`real::NO_WAY`].
#[inline(always)]
fn number(hop: &ClientHop) -> u32 {
    let [a, b, c, d, e, f] = hop.destination_mac;
    let [.., g, h, i, j] = hop.source_mac;
    let Egress { tags, vlan, .. } = hop.egress;
    let words = [
        u32::from_ne_bytes([a, b, c, d]),
        u32::from_ne_bytes([e, f, vlan, 0]) ^ u32::from(hop.mtu) << 8,
        u32::from_ne_bytes([g, h, i, j]),
        u32::from(tags[0].tci.raw()) << 16 | u32::from(tags[1].tci.raw()),
        hop.egress.ifindex,
    ];
    let mut hash = 0u32;
    for word in words {
        hash = (hash ^ word).wrapping_mul(0x9e37_79b1);
        hash ^= hash >> 15;
    }
    (hash | HIGHEST_BIT) & !(1 << 30)
}

/// The kernel's routes and neighbours say how to reach the client of a reverse
/// entry: unlike reals, clients are too many for a table of their own. Without
/// a way, the packet's verdict.
#[inline(always)]
pub fn way_to_client<F: Family>(
    packet: &Packet,
    flow: &Flow<F>,
    connection: &Connection,
) -> Result<&'static ClientHop, u32> {
    let inconsistent = DropReason::Inconsistent;
    let Some(scratch) = stage::scratch() else {
        return Err(stats::drop_packet(inconsistent));
    };
    // SAFETY: this CPU's own, as large and as aligned; plain data.
    let route: &mut FibLookup = unsafe {
        let words = &raw mut scratch.route;
        for word in 0..size_of::<FibLookup>() / 8 {
            words.cast::<u64>().add(word).write_volatile(0);
        }
        &mut *words.cast()
    };
    route.family = AF[F::NUMBER as usize];
    route.l4_protocol = flow.key.protocol();
    route.sport = connection.new_source_port.raw();
    route.dport = connection.new_destination_port.raw();
    route.__bindgen_anon_1.tot_len = flow.length;
    route.ifindex = packet.ingress_ifindex();
    let (source, destination) = (connection.new_source, connection.new_destination);
    if F::NUMBER == 0 {
        route.__bindgen_anon_3.ipv4_src = source.v4().raw();
        route.__bindgen_anon_4.ipv4_dst = destination.v4().raw();
    } else {
        route.__bindgen_anon_3.ipv6_src = source.0.map(Be32::raw);
        route.__bindgen_anon_4.ipv6_dst = destination.0.map(Be32::raw);
    }
    // SAFETY: the context is this program's own, and `route` is as long as
    // its length says.
    let outcome = unsafe {
        bpf_fib_lookup(
            packet.raw_context(),
            core::ptr::from_mut(route),
            size_of::<FibLookup>() as i32,
            0,
        )
    };
    match outcome as u32 {
        BPF_FIB_LKUP_RET_SUCCESS => {
            let hop = &mut scratch.client_hop;
            hop.destination_mac = route.dmac;
            hop.source_mac = route.smac;
            hop.egress = egress(route.ifindex);
            // SAFETY: the helper left the route's MTU in the union (Linux 5.12).
            hop.mtu = unsafe { route.__bindgen_anon_1.mtu_result };
            hop.pad = 0;
            hop.id = number(hop);
            Ok(hop)
        }
        BPF_FIB_LKUP_RET_FRAG_NEEDED => {
            // SAFETY: the helper left the MTU in the union.
            let mtu = unsafe { route.__bindgen_anon_1.mtu_result };
            let reason = DropReason::FragmentationNeeded;
            Err(stage::answer(packet, flow, reason, message::TOO_BIG, mtu))
        }
        BPF_FIB_LKUP_RET_NO_NEIGH => {
            // SAFETY: the helper left the gateway, or the client itself; an
            // IPv4 route may have a gateway of IPv6.
            let neighbour = unsafe {
                if route.family == AF[0] {
                    Addr::from_v4(Be32::from_raw(route.__bindgen_anon_4.ipv4_dst))
                } else {
                    Addr(route.__bindgen_anon_4.ipv6_dst.map(Be32::from_raw))
                }
            };
            stage::request(event_kind::NEIGHBOUR_MISSING, route.ifindex, neighbour);
            Err(stats::drop_packet(DropReason::ClientNeighbourMissing))
        }
        _ => Err(stats::drop_packet(DropReason::ClientUnreachable)),
    }
}

const _: () = assert!(size_of::<FibLookup>() == 64);

/// By the interface itself, or by the lower port of a VLAN interface.
#[inline(always)]
fn egress(ifindex: u32) -> Egress {
    // SAFETY: the value is copied at once.
    let port = unsafe { PORTS.get(ifindex) }.copied();
    port.unwrap_or(Egress {
        ifindex,
        vlan: vlan::KEEP,
        ..Egress::default()
    })
}

/// Writes the entry's addresses and ports, with their checksums, and
/// decrements the TTL.
#[inline(always)]
fn translate<F: Family>(flow: &Flow<F>, connection: &Connection) {
    super::decrement_ttl(flow);
    let mut header = flow.header;
    // SAFETY: the parser checked the bounds, and nothing moved the packet.
    F::translate(
        unsafe { header.as_mut() },
        connection.new_source,
        connection.new_destination,
        connection.l3_delta,
    );
    flow.transport.translate(
        connection.new_source_port,
        connection.new_destination_port,
        connection.l4_delta,
    );
}
