//! One-packet scheduling under nat: no entry leads a reply back, so it is known
//! by the real that it comes from.

use lb_common::{
    abi::settings_flag, flow::FlowKey as _, parse::Flow, service::ReplyEnd, wire::protocol,
};

use crate::{family::Family, maps::ONE_PACKET_REALS, service};

/// Where the reply is to come from, if the packet is one.
#[inline(always)]
pub fn service_end<F: Family>(flow: &Flow<F>) -> Option<ReplyEnd> {
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
pub fn is_reply<F: Family>(flow: &Flow<F>) -> bool {
    flow.key.protocol() == protocol::UDP
        && service::settings(settings_flag::ONE_PACKET_REALS)
        && service_end(flow).is_some()
}
