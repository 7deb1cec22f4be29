//! Where a packet goes: along its connection, to a scheduler, to one of the
//! rarer stages, or to the kernel.

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use lb_common::{
    parse::{self, Flow, Frame as _, Part},
    verdict::DropReason,
    wire::icmp::Icmp,
};

use crate::{
    connection::{self, Found},
    family::Family,
    forward,
    packet::Packet,
    service, stage, stats,
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
    match connection::find::<F>(&flow) {
        Found::Live(entry) => forward::run(packet, &flow, entry),
        Found::Ending => stats::drop_packet(DropReason::Inconsistent),
        Found::Nothing => arrive(packet, &flow),
    }
}

/// A packet without a connection: to the scheduler of its service, if it may
/// begin one.
#[inline(always)]
pub fn arrive<F: Family>(packet: &Packet, flow: &Flow<F>) -> u32 {
    let Some(service) = service::find(flow) else {
        return XDP_PASS;
    };
    if !service::may_create(flow) {
        return XDP_PASS;
    }
    let Some(scratch) = stage::scratch() else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    scratch.service = service.service;
    scratch.plan = service.plan;
    scratch.family = F::NUMBER;
    stage::go(packet, service.scheduler)
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
