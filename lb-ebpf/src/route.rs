//! Where a packet goes: along its connection, to a scheduler, to one of the
//! rarer stages, or to the kernel.

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use lb_common::{
    parse::{self, Frame as _, Part},
    wire::icmp::Icmp,
};

use crate::{
    arrive,
    connection::{self, Found},
    family::Family,
    filter, forward,
    packet::Packet,
    stage,
};

/// A family's packet from its network header on.
#[inline(always)]
pub fn run<F: Family>(packet: &Packet) -> u32 {
    let Some(datagram) = F::datagram(packet, packet.network()) else {
        return XDP_PASS;
    };
    if datagram.fragment.part != Part::Whole {
        return stage::go(packet, F::FRAGMENT);
    }
    if datagram.protocol == F::ICMP {
        return icmp::<F>(packet, datagram.payload);
    }
    let Some(flow) = parse::flow(packet, &datagram) else {
        return XDP_PASS;
    };
    if !filter::is_interesting(&flow.key) {
        return XDP_PASS;
    }
    match connection::find::<F>(&flow) {
        Found::Live(entry) => forward::run(packet, &flow, entry),
        Found::Over(over) => over.verdict::<F>(packet),
        Found::Nothing => arrive::go(packet, &flow),
    }
}

/// Errors may be about a packet of a connection; all else is the kernel's.
#[inline(always)]
fn icmp<F: Family>(packet: &Packet, offset: usize) -> u32 {
    let Some(message) = packet.at::<Icmp>(offset) else {
        return XDP_PASS;
    };
    // SAFETY: `at` checked the bounds; the fields are byte-aligned.
    if F::is_icmp_error(unsafe { message.as_ref() }.kind) {
        return stage::go(packet, F::ICMP_ERROR);
    }
    XDP_PASS
}
