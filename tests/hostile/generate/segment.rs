//! Packets of conversations, whole and in pieces.

use std::net::IpAddr;

use fastrand::Rng;

use super::{
    conversation::Conversation,
    shape::{self, Shape},
};
use crate::{
    draft::{Draft, Fragment, Header, number},
    judge::Sent,
    world::{DIRECTOR_MAC, FAMILIES, ROUTER_MAC},
};

pub const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
/// FIN+ACK, RST, SYN+ACK, none, all.
const RARE_FLAGS: [u8; 5] = [0x11, 0x04, 0x12, 0x00, 0x3f];
/// INIT, DATA, ABORT, SHUTDOWN, COOKIE ECHO (RFC 9260 section 3.2).
const CHUNKS: [u8; 5] = [1, 0, 6, 7, 10];

/// Fragments' identifications: few, so that pieces find each other, and those
/// of somebody else's datagram too.
const IDS: u32 = 256;

/// The first packet of a conversation, as plain as can be.
pub fn opening(draft: &mut Draft, conversation: Conversation) {
    let family = conversation.family;
    draft.ethernet(DIRECTOR_MAC, ROUTER_MAC, &[], shape::ether_type(family));
    let shape = Shape::plain();
    let header = shape.header(
        conversation.client,
        conversation.vip(),
        conversation.protocol,
    );
    let ip = draft.ip(&header);
    let ports = [conversation.client_port, conversation.port];
    let start = match conversation.protocol {
        number::TCP => draft.tcp(ports, SYN, 0),
        number::UDP => draft.udp(ports),
        _ => draft.sctp(ports, CHUNKS[0]),
    };
    draft.close_transport(start, &header, false);
    draft.close_ip(ip);
}

pub fn request(draft: &mut Draft, rng: &mut Rng, conversation: Conversation) {
    let source = if rng.u8(..64) == 0 {
        shape::special(rng, conversation.family)
    } else {
        conversation.client
    };
    let ports = [conversation.client_port, conversation.port];
    whole(
        draft,
        rng,
        [source, conversation.vip()],
        ports,
        conversation.protocol,
    );
}

/// From the real, as it sees the conversation.
pub fn reply(draft: &mut Draft, rng: &mut Rng, conversation: Conversation, sent: Sent) {
    let [far, near] = sent.ports.unwrap_or_default();
    whole(
        draft,
        rng,
        [sent.destination, sent.source],
        [near, far],
        conversation.protocol,
    );
}

/// From anybody to anybody.
pub fn stray(draft: &mut Draft, rng: &mut Rng) {
    let conversation = Conversation::any(rng);
    let mut end = |usual: IpAddr| match rng.u8(..4) {
        0 => shape::special(rng, conversation.family),
        1 => shape::address(rng, conversation.family),
        _ => usual,
    };
    let ends = [end(conversation.client), end(conversation.vip())];
    let ports = [
        rng.u16(..),
        if rng.bool() {
            conversation.port
        } else {
            rng.u16(..)
        },
    ];
    whole(draft, rng, ends, ports, conversation.protocol);
}

fn whole(draft: &mut Draft, rng: &mut Rng, ends: [IpAddr; 2], ports: [u16; 2], protocol: u8) {
    let shape = Shape::any(rng, crate::world::family(ends[0]));
    let header = shape.header(ends[0], ends[1], protocol);
    shape::ethernet(draft, rng, shape::of(&header));
    let ip = draft.ip(&header);
    transport(draft, rng, &header, ports);
    draft.close_ip(ip);
    shape::padding(draft, rng);
}

/// A transport header and what it carries.
pub fn transport(draft: &mut Draft, rng: &mut Rng, header: &Header<'_>, ports: [u16; 2]) {
    let start = match header.protocol {
        number::TCP => {
            let flags = match rng.u8(..16) {
                0..4 => SYN,
                4..6 => RARE_FLAGS[rng.usize(..RARE_FLAGS.len())],
                _ => ACK,
            };
            let options = if rng.u8(..4) == 0 { rng.u8(..=10) } else { 0 };
            draft.tcp(ports, flags, options)
        }
        number::UDP => draft.udp(ports),
        _ => draft.sctp(
            ports,
            CHUNKS[if rng.bool() {
                0
            } else {
                rng.usize(..CHUNKS.len())
            }],
        ),
    };
    shape::payload_of(draft, rng);
    // Padding of a chunk: RFC 9260 section 3.2.
    let unsummed = rng.u8(..8) == 0;
    draft.close_transport(start, header, unsummed);
}

pub fn fragment(draft: &mut Draft, rng: &mut Rng, conversation: Conversation) {
    let ends = [conversation.client, conversation.vip()];
    let ports = [conversation.client_port, conversation.port];
    piece(draft, rng, ends, ports, conversation);
}

pub fn fragment_of_reply(draft: &mut Draft, rng: &mut Rng, conversation: Conversation, sent: Sent) {
    let [far, near] = sent.ports.unwrap_or_default();
    piece(
        draft,
        rng,
        [sent.destination, sent.source],
        [near, far],
        conversation,
    );
}

/// The first piece, or a later one, whatever it should overlap with.
fn piece(
    draft: &mut Draft,
    rng: &mut Rng,
    ends: [IpAddr; 2],
    ports: [u16; 2],
    conversation: Conversation,
) {
    let shape = Shape::any(rng, conversation.family);
    let mut header = shape.header(ends[0], ends[1], conversation.protocol);
    header.df = false;
    header.id = rng.u32(..IDS);
    let is_first = rng.u8(..5) < 2;
    header.fragment = Some(Fragment {
        units: if is_first {
            0
        } else {
            [1, 3, 185, rng.u16(1..1 << 13)][rng.usize(..4)]
        },
        is_last: !is_first && rng.bool(),
    });
    shape::ethernet(draft, rng, conversation.family);
    let ip = draft.ip(&header);
    if is_first {
        transport(draft, rng, &header, ports);
    } else {
        shape::payload_of(draft, rng);
    }
    draft.close_ip(ip);
    shape::padding(draft, rng);
}

/// A family, as often the one as the other.
pub fn any_family(rng: &mut Rng) -> crate::world::Family {
    FAMILIES[rng.usize(..FAMILIES.len())]
}
