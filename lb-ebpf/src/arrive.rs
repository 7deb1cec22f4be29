//! A packet without a connection, before a scheduler: what it is to the
//! services, who may begin a connection, and who goes where he went before.

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use lb_common::{
    abi::{Scratch, entryless, settings_flag, stage as stages},
    defence::Defence,
    flow::FlowKey as _,
    parse::{Flow, Headers, Part as Fragmented},
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
    let service = service::exact(flow, flow.key.destination().port);
    if service.is_none() && !service::settings(NOT_BY_ADDRESS) {
        return XDP_PASS;
    }
    let Some(scratch) = stage::scratch() else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    // SAFETY: this CPU's own, large enough for either family's key.
    unsafe {
        (&raw mut scratch.arriving.key)
            .cast::<F::Key>()
            .write(flow.key);
    };
    scratch.arriving.length = flow.length;
    scratch.arriving.segment = flow.segment;
    scratch.arriving.is_fragment = u8::from(flow.part == Fragmented::First);
    scratch.arriving.service = service.map_or(0, |slot| slot + 1);
    stage::go(packet, F::ARRIVE)
}

/// What [`go`] left.
#[inline(always)]
pub fn headers<F: Family>(scratch: &Scratch) -> Headers<F::Key> {
    let arriving = &scratch.arriving;
    Headers {
        // SAFETY: `go` wrote it.
        key: unsafe { (&raw const arriving.key).cast::<F::Key>().read() },
        length: arriving.length,
        header_bytes: F::HEADER_BYTES,
        segment: arriving.segment,
        part: if arriving.is_fragment == 0 {
            Fragmented::Whole
        } else {
            Fragmented::First
        },
        is_silent: false,
    }
}

/// The stage.
#[inline(always)]
pub fn run<F: Family>(packet: &Packet) -> u32 {
    let Some(scratch) = stage::scratch() else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    let flow = headers::<F>(scratch);
    if one_packet::is_reply(&flow) {
        return without_entry::<F>(packet, entryless::REPLY);
    }
    let exactly = scratch.arriving.service.checked_sub(1);
    let Some(service) = service::find_with(&flow, exactly) else {
        return XDP_PASS;
    };
    let Some((slot, plan)) = service::plan(service) else {
        return XDP_PASS;
    };
    let part = service::part(&flow);
    if part == Part::Other {
        return XDP_PASS;
    }
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
