//! The data plane. A packet's way, in the order of the files:
//!
//! ```text
//! director ─ parse ─ connection ──hit──────────────── forward ─ transmit
//!                        └─miss─ service ─ schedule ─ connect ───┘
//!                                  └─ none: XDP_PASS        icmp: answers
//! ```
//!
//! `director` is attached to each interface. `schedule_*`, `connect` and
//! `icmp_reply` are reached by tail calls and keep what is rare out of the
//! hot program. `sweep` is run by the daemon.

#![no_std]
#![no_main]
#![expect(internal_features, reason = "atomics: see verifier.rs")]
#![feature(core_intrinsics)]

mod connect;
mod connection;
mod forward;
mod icmp;
mod maps;
#[expect(dead_code, reason = "the decapsulator and the benchmark use the rest")]
mod packet;
mod parse;
mod schedule;
mod service;
mod stage;
mod stats;
mod sweep;
mod transmit;
mod verifier;

use aya_ebpf::{bindings::xdp_action::XDP_PASS, macros::xdp, programs::XdpContext};
use lb_common::verdict::DropReason;

use crate::packet::Packet;

/// Entry: established packets leave from here.
#[xdp(frags)]
pub fn director(context: XdpContext) -> u32 {
    let packet = Packet::new(context);
    let Some(flow) = parse::flow(&packet) else {
        return XDP_PASS;
    };
    if let Some(entry) = connection::find(&flow) {
        return forward::run(&packet, &flow, entry);
    }
    let Some(service) = service::find(&flow) else {
        return XDP_PASS;
    };
    if !service::may_create(&flow) {
        return XDP_PASS;
    }
    let Some(scratch) = stage::scratch() else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    scratch.service = service.service;
    scratch.plan = service.plan;
    stage::go(&packet, service.scheduler)
}

#[xdp(frags)]
pub fn schedule_rr(context: XdpContext) -> u32 {
    schedule::rr::run(&Packet::new(context))
}

#[xdp(frags)]
pub fn schedule_wrr(context: XdpContext) -> u32 {
    schedule::wrr::run(&Packet::new(context))
}

#[xdp(frags)]
pub fn connect(context: XdpContext) -> u32 {
    connect::run(&Packet::new(context))
}

#[xdp(frags)]
pub fn icmp_reply(context: XdpContext) -> u32 {
    icmp::reply(&Packet::new(context))
}

#[xdp(frags)]
pub fn sweep(context: XdpContext) -> u32 {
    sweep::run(&Packet::new(context))
}

/// The helpers are for programs under a GPL-compatible licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier has proved that nothing gets here.
    loop {}
}
