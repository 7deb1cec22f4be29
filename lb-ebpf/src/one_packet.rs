//! One-packet scheduling: a datagram that has its real goes there without an
//! entry. Under nat none leads a reply back, so it is known by the real that it
//! comes from.

use lb_common::{
    abi::{Scratch, entryless, settings_flag, stage as stages},
    flow::FlowKey,
    parse::Headers,
    service::ReplyEnd,
    verdict::DropReason,
    wire::protocol,
};

use crate::{maps::ONE_PACKET_REALS, packet::Packet, persistence, service, stage, stats};

/// On with the real in the scratch.
#[inline(always)]
pub fn go(packet: &Packet, scratch: &mut Scratch) -> u32 {
    scratch.entryless = entryless::ONE_PACKET;
    let family = u32::from(scratch.family & 1);
    stage::go(packet, stages::STATELESS_V4 + family)
}

/// The stage for persistent clients: the template is made or renewed first.
#[inline(always)]
pub fn under_template(packet: &Packet) -> u32 {
    let Some(scratch) = stage::scratch() else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    persistence::renew(scratch);
    go(packet, scratch)
}

/// Where the reply is to come from, if the packet is one.
#[inline(always)]
pub fn service_end<K: FlowKey>(flow: &Headers<K>) -> Option<ReplyEnd> {
    let source = flow.key.source();
    let key = ReplyEnd {
        address: source.address,
        port: source.port,
        pad: [0; 2],
    };
    // SAFETY: the value is copied at once.
    unsafe { ONE_PACKET_REALS.get(key) }.copied()
}

#[inline(always)]
pub fn is_reply<K: FlowKey>(flow: &Headers<K>) -> bool {
    flow.key.protocol() == protocol::UDP
        && service::settings(settings_flag::ONE_PACKET_REALS)
        && service_end(flow).is_some()
}
