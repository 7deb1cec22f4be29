//! What is no director's business, and what is nobody's.

use fastrand::Rng;

use super::{
    conversation::Conversation,
    segment::any_family,
    shape::{self, Shape},
};
use crate::{
    draft::{Draft, number},
    world::{DIRECTOR_MAC, Family, ROUTER_MAC},
};

/// Echo requests, neighbour discovery, other protocols to a VIP, tunnels that
/// come in, ARP.
pub fn packet(draft: &mut Draft, rng: &mut Rng) {
    let conversation = Conversation::any(rng);
    let shape = Shape::any(rng, conversation.family);
    let icmp = if conversation.family == Family::V6 {
        number::ICMPV6
    } else {
        number::ICMP
    };
    let protocol = match rng.u8(..8) {
        0..3 => icmp,
        3 => number::IPIP,
        4 => number::IPV6,
        5 => number::GRE,
        _ => rng.u8(..),
    };
    if rng.u8(..8) == 0 {
        draft.ethernet([0xff; 6], ROUTER_MAC, &[], 0x0806);
        draft.put(&[0, 1, 8, 0, 6, 4, 0, 1]);
        draft.data(20, rng.u8(..));
        return shape::padding(draft, rng);
    }
    let header = shape.header(conversation.client, conversation.vip(), protocol);
    shape::ethernet(draft, rng, conversation.family);
    let ip = draft.ip(&header);
    if protocol == icmp {
        let kind = [8, 0, 13, 128, 129, 135, 136][rng.usize(..7)];
        let message = draft.icmp(kind, 0, rng.u32(..));
        shape::payload_of(draft, rng);
        draft.close_transport(message, &header, false);
    } else {
        shape::payload_of(draft, rng);
    }
    draft.close_ip(ip);
}

/// Random octets behind a plausible EtherType.
pub fn noise(draft: &mut Draft, rng: &mut Rng) {
    let ether_type = match rng.u8(..4) {
        0 => rng.u16(..),
        _ => shape::ether_type(any_family(rng)),
    };
    draft.ethernet(DIRECTOR_MAC, ROUTER_MAC, &[], ether_type);
    let bytes = if rng.bool() {
        rng.usize(..80)
    } else {
        shape::payload(rng)
    };
    let start = draft.len();
    draft.data(bytes, 0);
    for octet in draft.bytes[start..].iter_mut().take(80) {
        *octet = rng.u8(..);
    }
    if draft.len() > start && rng.bool() {
        draft.bytes[start] = [0x45, 0x46, 0x60][rng.usize(..3)];
    }
}
