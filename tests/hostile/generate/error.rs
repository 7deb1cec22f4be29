//! ICMP errors, most of them about packets that the director really sent.

use std::net::IpAddr;

use fastrand::Rng;

use super::{
    conversation::Conversation,
    segment,
    shape::{self, Shape},
};
use crate::{
    draft::{Draft, Header, IPV4, IPV6, number},
    judge::Sent,
    method::{Encapsulation, Method},
    world::{Family, family, local, real_index, router},
};

/// About a packet of the VIP to the client.
pub fn to_vip(draft: &mut Draft, rng: &mut Rng, conversation: Conversation) {
    let ends = [conversation.vip(), conversation.client];
    let ports = [conversation.port, conversation.client_port];
    about(draft, rng, conversation, conversation.vip(), ends, ports);
}

/// About a packet of the client, or of the masquerading director, to the real.
pub fn to_client(draft: &mut Draft, rng: &mut Rng, conversation: Conversation, sent: Sent) {
    let ports = sent
        .ports
        .unwrap_or([conversation.client_port, conversation.port]);
    about(
        draft,
        rng,
        conversation,
        sent.source,
        [sent.source, sent.destination],
        ports,
    );
}

fn about(
    draft: &mut Draft,
    rng: &mut Rng,
    conversation: Conversation,
    to: IpAddr,
    quoted: [IpAddr; 2],
    quoted_ports: [u16; 2],
) {
    message(draft, rng, to, |draft, rng| {
        let shape = Shape::any(rng, family(quoted[0]));
        let header = shape.header(quoted[0], quoted[1], conversation.protocol);
        let start = draft.ip(&header);
        segment::transport(draft, rng, &header, quoted_ports);
        draft.close_ip(start);
    });
}

/// About a tunnel's packet, to the director.
pub fn to_tunnel(
    draft: &mut Draft,
    rng: &mut Rng,
    method: Method,
    conversation: Conversation,
    sent: Sent,
) {
    let source = if method.spreads_sources() {
        sent.source
    } else {
        local(family(sent.destination))
    };
    let index = real_index(sent.destination).unwrap_or(0);
    let tunnel = method.tunnel(index);
    let encapsulation = tunnel.map_or(Encapsulation::Ipip, |tunnel| tunnel.encapsulation);
    let inner = if conversation.family == Family::V6 {
        number::IPV6
    } else {
        number::IPIP
    };
    let protocol = match encapsulation {
        Encapsulation::Ipip => inner,
        Encapsulation::Gue => number::UDP,
        Encapsulation::Gre => number::GRE,
    };
    message(draft, rng, source, |draft, rng| {
        let outer = Shape::any(rng, family(source));
        let outer = outer.header(source, sent.destination, protocol);
        let start = draft.ip(&outer);
        shim(
            draft,
            rng,
            &outer,
            encapsulation,
            inner,
            tunnel.map_or(0, |tunnel| tunnel.port),
        );
        let shape = Shape::any(rng, conversation.family);
        let header = shape.header(
            conversation.client,
            conversation.vip(),
            conversation.protocol,
        );
        let inside = draft.ip(&header);
        segment::transport(
            draft,
            rng,
            &header,
            [conversation.client_port, conversation.port],
        );
        draft.close_ip(inside);
        draft.close_ip(start);
    });
}

fn shim(
    draft: &mut Draft,
    rng: &mut Rng,
    outer: &Header<'_>,
    encapsulation: Encapsulation,
    inner: u8,
    port: u16,
) {
    match encapsulation {
        Encapsulation::Ipip => {}
        Encapsulation::Gue => {
            let start = draft.udp([rng.u16(49_152..), port]);
            draft.put(&[0, inner, 0, 0]);
            draft.close_transport(start, outer, true);
        }
        Encapsulation::Gre => {
            let flags = if rng.bool() { 0x8000 } else { 0 };
            draft.put_u16(flags);
            draft.put_u16(if inner == number::IPIP { IPV4 } else { IPV6 });
            if flags != 0 {
                draft.put(&[0; 4]);
            }
        }
    }
}

/// An error to `to` that quotes what `quote` writes, or the beginning of it.
fn message(draft: &mut Draft, rng: &mut Rng, to: IpAddr, quote: impl FnOnce(&mut Draft, &mut Rng)) {
    let of = family(to);
    let shape = Shape::any(rng, of);
    let protocol = if of == Family::V6 {
        number::ICMPV6
    } else {
        number::ICMP
    };
    let source = if rng.u8(..32) == 0 {
        shape::special(rng, of)
    } else {
        router(of)
    };
    let header = shape.header(source, to, protocol);
    shape::ethernet(draft, rng, of);
    let ip = draft.ip(&header);
    let mtu = [0, 68, 576, 1280, 1400, 1480, rng.u32(..)][rng.usize(..7)];
    let (kind, code, word) = match (of, rng.u8(..8)) {
        (Family::V4, 0..3) => (3, 4, mtu & 0xffff),
        (Family::V4, 3..5) => (3, rng.u8(..16), 0),
        (Family::V4, 5) => (11, rng.u8(..2), 0),
        (Family::V4, 6) => (4, 0, 0),
        (Family::V6, 0..3) => (2, 0, mtu),
        (Family::V6, 3..5) => (1, rng.u8(..8), 0),
        (Family::V6, 5) => (3, rng.u8(..2), 0),
        (Family::V6, 6) => (4, rng.u8(..3), rng.u32(..64)),
        _ => (rng.u8(..), rng.u8(..), rng.u32(..)),
    };
    let message = draft.icmp(kind, code, word);
    let quoted = draft.len();
    quote(draft, rng);
    let whole = draft.len() - quoted;
    let keep = match rng.u8(..8) {
        // The least that RFC 792 asks for, and less.
        0..3 => 28,
        3 => rng.usize(..64),
        // An offender's lengths may also be true.
        4 => whole,
        _ => 528,
    };
    draft.bytes.truncate(quoted + keep.min(whole));
    let end = draft.len();
    draft.claims.retain(|at| *at < end);
    draft.close_transport(message, &header, false);
    draft.close_ip(ip);
    shape::padding(draft, rng);
}
