//! ICMP errors about packets of connections, which the quoted header leads to:
//! from the client's side to the real, under nat from the real's side to the
//! client.

pub mod nat;

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use lb_common::{
    abi::follower,
    connection::{Connection, ForwardingMethod, direction},
    flow::FlowKey as _,
    parse::Flow,
};

use crate::{family::Family, follow, forward, packet::Packet, stage, table};

/// The stage for what [`crate::route`] found to be an ICMP error. What leads
/// to no connection may be about a tunnel.
#[inline(always)]
pub fn run<F: Family>(packet: &Packet) -> u32 {
    let Some(datagram) = F::datagram(packet, packet.network()) else {
        return XDP_PASS;
    };
    let Some(quoted) = datagram.quoted(packet) else {
        return XDP_PASS;
    };
    // The quoted packet went the other way: its key turned round is an entry's.
    let Some(key) = quoted.key(packet).map(|key| key.reversed()) else {
        return XDP_PASS;
    };
    let Some(entry) = table::find_rarely::<F, { stage::PACKETS }>(&key) else {
        return stage::go(packet, F::TUNNEL_ERROR);
    };
    // SAFETY: the parser checked the bounds; the fields are byte-aligned.
    let header = unsafe { datagram.header.as_ref() };
    // An error goes to who sent what it quotes.
    if F::destination(header) != key.destination().address {
        return XDP_PASS;
    }
    // SAFETY: map values stay readable while the program runs.
    let connection: &Connection = unsafe { &(*entry).connection };
    if connection.method == ForwardingMethod::Local as u8 {
        return XDP_PASS;
    }
    if connection.method != ForwardingMethod::Nat as u8 {
        return follow::go::<F>(packet, &key, follower::MESSAGE);
    }
    let flow = Flow::silent(&datagram, key);
    if let Some(verdict) = forward::outlived(packet, &flow) {
        return verdict;
    }
    if connection.direction == direction::FORWARD {
        nat::to_real(packet, &flow, connection, &datagram, &quoted)
    } else {
        nat::to_client(packet, &flow, connection, &datagram, &quoted)
    }
}
