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
    real::{Egress, NextHop, vlan},
    verdict::DropReason,
};

use crate::{family::Family, maps::PORTS, packet::Packet, stage, stats, transmit};

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

/// The real's half: source becomes the VIP.
#[inline(always)]
pub fn to_client<F: Family>(packet: &Packet, flow: &Flow<F>, connection: &Connection) -> u32 {
    match way_to_client(packet, flow, connection) {
        Ok(way) => {
            translate(flow, connection);
            way.transmit(packet)
        }
        Err(verdict) => verdict,
    }
}

/// How frames reach a client.
pub struct Way {
    destination_mac: [u8; 6],
    source_mac: [u8; 6],
    egress: Egress,
}

impl Way {
    #[inline(always)]
    pub fn transmit(&self, packet: &Packet) -> u32 {
        transmit::by_address(packet, self.destination_mac, self.source_mac, &self.egress)
    }
}

/// The kernel's routes and neighbours say how to reach the client of a reverse
/// entry: unlike reals, clients are too many for a table of their own. Without
/// a way, the packet's verdict.
#[inline(always)]
pub fn way_to_client<F: Family>(
    packet: &Packet,
    flow: &Flow<F>,
    connection: &Connection,
) -> Result<Way, u32> {
    // SAFETY: plain data; every field is an integer.
    let mut route: FibLookup = unsafe { core::mem::zeroed() };
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
            &raw mut route,
            size_of::<FibLookup>() as i32,
            0,
        )
    };
    match outcome as u32 {
        BPF_FIB_LKUP_RET_SUCCESS => Ok(Way {
            destination_mac: route.dmac,
            source_mac: route.smac,
            egress: egress(route.ifindex),
        }),
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
