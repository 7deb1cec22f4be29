//! The data plane. A packet's way, in the order of the files:
//!
//! ```text
//! director ─ link ─ parse ─ connection ──hit──────────────── forward ─ transmit
//!                     │         └─miss─ arrive ─ schedule ─ connect ┐      └ vlan
//!                     │      service, admission,  └ stateless       │
//!                     │       persistence            (no entry)     │
//!                     ├ fragment    ports for those that have none  │
//!                     └ icmp_error  about packets of connections  director
//! ```
//!
//! `director` is attached to each interface; IPv6 goes on in `ipv6`. The other
//! stages are reached by tail calls and keep what is rare out of the hot
//! programs. `icmp_reply` answers packets that get no further. The sweep's are
//! run by the daemon.

#![no_std]
#![no_main]
#![expect(internal_features, reason = "atomics: see verifier.rs")]
#![feature(core_intrinsics, asm_experimental_arch)]

mod admission;
mod arrive;
mod connect;
mod connection;
mod expiry;
mod family;
mod fill;
mod filter;
mod follow;
mod forward;
mod fragment;
mod free;
mod half_open;
mod icmp_error;
mod icmp_reply;
mod link;
mod load;
mod maps;
mod one_packet;
mod packet;
mod persistence;
mod reset;
mod route;
mod schedule;
mod service;
mod stage;
mod stateless;
mod stats;
mod sweep;
mod table;
mod transmit;
mod tunnel_error;
mod verifier;
mod vlan;
mod walk;

use aya_ebpf::{bindings::xdp_action::XDP_PASS, macros::xdp, programs::XdpContext};
use lb_common::{
    abi::stage as stages,
    parse::{V4, V6},
    wire::ethernet::ethertype,
};

use crate::{forward::tun::encapsulate, packet::Packet};

/// Entry: established packets over IPv4 leave from here.
#[xdp(frags)]
pub fn director(context: XdpContext) -> u32 {
    let Some((packet, ethertype)) = link::packet(context) else {
        return XDP_PASS;
    };
    match ethertype {
        ethertype::IPV4 => route::run::<V4>(&packet),
        ethertype::IPV6 => stage::go(&packet, stages::IPV6),
        _ => XDP_PASS,
    }
}

#[xdp(frags)]
pub fn ipv6(context: XdpContext) -> u32 {
    stage::with(context, route::run::<V6>)
}

#[xdp(frags)]
pub fn fragment_v4(context: XdpContext) -> u32 {
    stage::with(context, fragment::run::<V4>)
}

#[xdp(frags)]
pub fn fragment_v6(context: XdpContext) -> u32 {
    stage::with(context, fragment::run::<V6>)
}

#[xdp(frags)]
pub fn icmp_error_v4(context: XdpContext) -> u32 {
    stage::with(context, icmp_error::run::<V4>)
}

#[xdp(frags)]
pub fn icmp_error_v6(context: XdpContext) -> u32 {
    stage::with(context, icmp_error::run::<V6>)
}

#[xdp(frags)]
pub fn follow_v4(context: XdpContext) -> u32 {
    stage::with(context, follow::run::<V4>)
}

#[xdp(frags)]
pub fn follow_v6(context: XdpContext) -> u32 {
    stage::with(context, follow::run::<V6>)
}

#[xdp(frags)]
pub fn encapsulate_v4(context: XdpContext) -> u32 {
    stage::with(context, encapsulate::run::<V4>)
}

#[xdp(frags)]
pub fn encapsulate_v6(context: XdpContext) -> u32 {
    stage::with(context, encapsulate::run::<V6>)
}

#[xdp(frags)]
pub fn tunnel_error_v4(context: XdpContext) -> u32 {
    stage::with(context, tunnel_error::run::<V4>)
}

#[xdp(frags)]
pub fn tunnel_error_v6(context: XdpContext) -> u32 {
    stage::with(context, tunnel_error::run::<V6>)
}

macro_rules! schedulers {
    ($($number:literal $name:ident $module:ident $program:ident;)*) => {
        $(
            #[xdp(frags)]
            pub fn $program(context: XdpContext) -> u32 {
                schedule::$module::run(&Packet::new(context))
            }
        )*
    };
}
lb_common::schedulers!(schedulers);

#[xdp(frags)]
pub fn arrive_v4(context: XdpContext) -> u32 {
    arrive::run::<V4>(&Packet::new(context))
}

#[xdp(frags)]
pub fn arrive_v6(context: XdpContext) -> u32 {
    arrive::run::<V6>(&Packet::new(context))
}

#[xdp(frags)]
pub fn stateless_v4(context: XdpContext) -> u32 {
    stage::with(context, stateless::run::<V4>)
}

#[xdp(frags)]
pub fn stateless_v6(context: XdpContext) -> u32 {
    stage::with(context, stateless::run::<V6>)
}

#[xdp(frags)]
pub fn reset_v4(context: XdpContext) -> u32 {
    stage::with(context, reset::run::<V4>)
}

#[xdp(frags)]
pub fn reset_v6(context: XdpContext) -> u32 {
    stage::with(context, reset::run::<V6>)
}

#[xdp(frags)]
pub fn over_v4(context: XdpContext) -> u32 {
    stage::with(context, connection::run::<V4>)
}

#[xdp(frags)]
pub fn over_v6(context: XdpContext) -> u32 {
    stage::with(context, connection::run::<V6>)
}

#[xdp(frags)]
pub fn make_room_v4(context: XdpContext) -> u32 {
    half_open::make_room::<V4>(&Packet::new(context))
}

#[xdp(frags)]
pub fn make_room_v6(context: XdpContext) -> u32 {
    half_open::make_room::<V6>(&Packet::new(context))
}

#[xdp(frags)]
pub fn template(context: XdpContext) -> u32 {
    one_packet::under_template(&Packet::new(context))
}

#[xdp(frags)]
pub fn connect_v4(context: XdpContext) -> u32 {
    connect::run::<V4>(&Packet::new(context))
}

#[xdp(frags)]
pub fn connect_v6(context: XdpContext) -> u32 {
    connect::run::<V6>(&Packet::new(context))
}

#[xdp(frags)]
pub fn icmp_reply_v4(context: XdpContext) -> u32 {
    stage::with(context, icmp_reply::run::<V4>)
}

#[xdp(frags)]
pub fn icmp_reply_v6(context: XdpContext) -> u32 {
    stage::with(context, icmp_reply::run::<V6>)
}

#[xdp(frags)]
pub fn vlan(context: XdpContext) -> u32 {
    stage::with(context, vlan::run)
}

#[xdp(frags)]
pub fn sweep_v4(context: XdpContext) -> u32 {
    sweep::run::<V4>(&Packet::new(context))
}

#[xdp(frags)]
pub fn sweep_v6(context: XdpContext) -> u32 {
    sweep::run::<V6>(&Packet::new(context))
}

#[xdp(frags)]
pub fn sweep_templates(context: XdpContext) -> u32 {
    sweep::templates(&Packet::new(context))
}

#[xdp(frags)]
pub fn repair(context: XdpContext) -> u32 {
    sweep::repair(&Packet::new(context))
}

/// An iterator over `TEMPLATES`.
///
/// # Safety
/// For the kernel alone, on this table.
#[unsafe(link_section = "iter/walk_templates")]
#[unsafe(no_mangle)]
pub unsafe fn walk_templates(element: *const walk::Element) -> i32 {
    // SAFETY: the daemon makes iterators over this table alone.
    unsafe { walk::template(element) }
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
