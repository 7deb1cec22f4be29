//! The way of health probes that ask a real by its service's address
//! (`via = "service"`). The probe's socket is connected to the real's own address,
//! so that the kernel finds route and neighbour, and bears a mark. On the way out
//! the destination becomes the VIP, under tun inside a packet to the real; on the
//! way in the answer's source, the VIP, becomes the real's address again:
//!
//! ```text
//! socket ─ director → real ─ lbd_probe_out ─ director → VIP ─ real
//! socket ─ real → director ─ lbd_probe_in ── VIP → director ─┘
//! ```
//!
//! Both are of traffic control, on egress and on ingress: after XDP, and before the
//! stack, which would drop what comes from an address of its own.

#![no_std]
#![no_main]

#[path = "probe_path/answer.rs"]
mod answer;
#[path = "probe_path/network.rs"]
mod network;
#[path = "../forward/tun/outer.rs"]
mod outer;
#[path = "probe_path/packet.rs"]
mod packet;
#[path = "probe_path/question.rs"]
mod question;
#[path = "../forward/tun/shim.rs"]
mod shim;
#[path = "probe_path/tunnel.rs"]
mod tunnel;

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC},
    macros::{classifier, map},
    maps::{HashMap, LruHashMap, PerCpuArray},
    programs::TcContext,
};
use lb_common::{
    parse::{V4, V6},
    probe_path::{self, Asked, Ends, OUTCOMES, Outcome, Redirect},
    wire::ethernet::ethertype,
};
use packet::Packet;

/// By mark.
#[map]
static REDIRECTS: HashMap<u32, Redirect> =
    HashMap::with_max_entries(probe_path::REDIRECTS, 1 /* BPF_F_NO_PREALLOC */);

/// The probes whose answers may come.
#[map]
static ANSWERS: LruHashMap<Ends, Asked> = LruHashMap::with_max_entries(probe_path::ANSWERS, 0);

/// Packets by [`Outcome`].
#[map]
static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(OUTCOMES, 0);

/// On egress. What bears a mark and has no redirect is dropped: sent to the real's
/// own address it would be answered, and say nothing of the service.
#[classifier]
pub fn lbd_probe_out(context: TcContext) -> i32 {
    let packet = Packet::new(context);
    let mark = packet.mark();
    if !probe_path::is_mark(mark) {
        return TC_ACT_UNSPEC;
    }
    let outcome = match packet.ethertype() {
        ethertype::IPV4 => question::run::<V4>(&packet, mark),
        ethertype::IPV6 => question::run::<V6>(&packet, mark),
        _ => None,
    };
    finish(outcome)
}

/// On ingress.
#[classifier]
pub fn lbd_probe_in(context: TcContext) -> i32 {
    let packet = Packet::new(context);
    let outcome = match packet.ethertype() {
        ethertype::IPV4 => answer::run::<V4>(&packet),
        ethertype::IPV6 => answer::run::<V6>(&packet),
        _ => None,
    };
    finish(outcome)
}

/// Counts it; other programs of the interface see what is not dropped.
#[inline(always)]
fn finish(outcome: Option<Outcome>) -> i32 {
    let Some(outcome) = outcome else {
        return TC_ACT_UNSPEC;
    };
    if let Some(count) = COUNTS.get_ptr_mut(outcome as u32) {
        // SAFETY: a per-CPU value. What interrupts this program between load and
        // store can cost one count.
        unsafe { *count += 1 };
    }
    match outcome {
        Outcome::Dropped => TC_ACT_SHOT,
        Outcome::Redirected | Outcome::Answered => TC_ACT_UNSPEC,
    }
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
