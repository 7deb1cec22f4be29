//! A packet without a connection, before a scheduler: what it is to the
//! services, who may begin a connection, and who goes where he went before.

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use lb_common::{
    abi::{Scratch, entryless, settings_flag, stage as stages},
    defence::Defence,
    flow::FlowKey as _,
    parse::{self, Flow, Part as Fragmented},
    scheduler::Key,
    service::policy,
    verdict::DropReason,
};

use crate::{
    admission,
    family::Family,
    fill,
    maps::{POLICIES, SETTINGS},
    one_packet,
    packet::Packet,
    persistence,
    service::{self, Part},
    stage, stats,
};

/// On to the stage, if the packet can be of interest to it.
#[inline(always)]
pub fn go<F: Family>(packet: &Packet, flow: &Flow<F>) -> u32 {
    const NOT_BY_ADDRESS: u32 =
        settings_flag::MARKS | settings_flag::PORT_ZERO | settings_flag::ONE_PACKET_REALS;
    let port = flow.key.destination().port;
    if service::exact(flow, port).is_none() && !service::settings(NOT_BY_ADDRESS) {
        return XDP_PASS;
    }
    stage::go(packet, F::ARRIVE)
}

/// The stage.
#[inline(always)]
pub fn run<F: Family>(packet: &Packet) -> u32 {
    let Some(datagram) = F::datagram(packet, packet.network()) else {
        return XDP_PASS;
    };
    let Some(flow) = parse::flow(packet, &datagram) else {
        return XDP_PASS;
    };
    if one_packet::is_reply(&flow) {
        return without_entry::<F>(packet, entryless::REPLY);
    }
    let Some(service) = service::find(&flow) else {
        return XDP_PASS;
    };
    let Some((slot, plan)) = service::plan(service) else {
        return XDP_PASS;
    };
    let part = service::part(&flow);
    if part == Part::Other {
        return XDP_PASS;
    }
    let Some(scratch) = stage::scratch() else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    scratch.service = service;
    scratch.plan = slot;
    scratch.family = F::NUMBER;
    scratch.has_room = 0;
    let defences = fill::judge(F::NUMBER);
    let can_do_without = plan.table_length != 0 && service::settings(settings_flag::STATELESS);
    let is_stateless = can_do_without && defences & Defence::Stateless.bit() != 0;
    let client = flow.key.source().address;
    if part == Part::Middle {
        let is_adopted = is_stateless || (can_do_without && fill::was_stateless(F::NUMBER));
        let Some(settings) = SETTINGS.get(0).filter(|_| is_adopted) else {
            return XDP_PASS;
        };
        if admission::is_denied(settings, client) {
            return stats::drop_packet(DropReason::Denied);
        }
        return without_entry::<F>(packet, entryless::MIDDLE);
    }
    let refusal = admission::refusal(client, service, F::NUMBER, defences, can_do_without);
    if let Some(reason) = refusal {
        return stats::drop_packet(reason);
    }
    let Some(policy) = POLICIES.get(service) else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    scratch.policy = policy.flags;
    if flow.part == Fragmented::First {
        scratch.policy |= policy::FRAGMENT;
    }
    scratch.joining.is_under = 0;
    if policy.flags & policy::PERSISTENT != 0 {
        scratch.joining.key = persistence::key(service, policy.prefix, client, F::NUMBER);
        scratch.joining.timeout_s = policy.persistence_s;
        if let Some(real) = persistence::real(&scratch.joining.key) {
            scratch.real = real;
            return picked(packet, scratch);
        }
    }
    if is_stateless && scratch.policy & (policy::ONE_PACKET | policy::FRAGMENT) == 0 {
        return without_entry::<F>(packet, entryless::BEGINNING);
    }
    scratch.key = Key {
        source: client,
        destination: flow.key.destination().address,
        source_port: u32::from(flow.key.source().port.get()),
    };
    stage::go(packet, plan.scheduler)
}

#[inline(always)]
fn without_entry<F: Family>(packet: &Packet, why: u32) -> u32 {
    let Some(scratch) = stage::scratch() else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    scratch.entryless = why;
    stage::go(packet, F::STATELESS)
}

/// On with the real in the scratch: the connection is made, if the service's
/// policy has any.
#[inline(always)]
pub fn picked(packet: &Packet, scratch: &mut Scratch) -> u32 {
    let is_one_packet =
        scratch.policy & (policy::ONE_PACKET | policy::FRAGMENT) == policy::ONE_PACKET;
    if !is_one_packet {
        let family = u32::from(scratch.family & 1);
        return stage::go(packet, stages::CONNECT_V4 + family);
    }
    if scratch.policy & policy::PERSISTENT != 0 {
        return stage::go(packet, stages::TEMPLATE);
    }
    one_packet::go(packet, scratch)
}
