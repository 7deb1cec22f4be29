//! The real servers' half of tun: takes the outer headers off IPv4 or IPv6 in
//! IPv4 or IPv6, bare (RFC 2003, RFC 2473, RFC 4213), in GRE (RFC 2784) or in
//! GUE (draft-ietf-intarea-gue), from directors that are allowed, and hands the
//! inner packet to the stack. All else passes as it is.

#![no_std]
#![no_main]

#[path = "decap/checksum.rs"]
mod checksum;
#[path = "decap/frame.rs"]
mod frame;
#[path = "decap/inner.rs"]
mod inner;
#[path = "decap/outer.rs"]
mod outer;

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    macros::{map, xdp},
    maps::{
        PerCpuArray,
        lpm_trie::{Key, LpmTrie},
    },
    programs::XdpContext,
};
use frame::Frame;
use lb_common::{
    addr::Addr,
    decap::{OUTCOMES, Outcome},
};
use outer::Outer;

/// Networks that outer sources must be in; IPv4 ones mapped into IPv6.
#[map]
static ALLOWED: LpmTrie<[u8; 16], u8> =
    LpmTrie::with_max_entries(1024, 1 /* BPF_F_NO_PREALLOC */);

/// Packets by [`Outcome`].
#[map]
static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(OUTCOMES, 0);

#[xdp(frags)]
pub fn decap(context: XdpContext) -> u32 {
    let frame = Frame::new(context);
    let Some(outcome) = take_off(&frame) else {
        return XDP_PASS;
    };
    if let Some(count) = COUNTS.get_ptr_mut(outcome as u32) {
        // SAFETY: a per-CPU value, and nothing else on this CPU runs meanwhile.
        unsafe { *count += 1 };
    }
    match outcome {
        Outcome::Unwrapped => XDP_PASS,
        Outcome::Refused | Outcome::Malformed | Outcome::Congested => XDP_DROP,
    }
}

/// None: not for us, and unchanged.
#[inline(always)]
fn take_off(frame: &Frame) -> Option<Outcome> {
    let outer = Outer::parse(frame)?;
    // First, so that nobody else has checksums computed here.
    if !is_allowed(outer.source) {
        return Some(Outcome::Refused);
    }
    if !inner::is_sound(frame, &outer)? {
        return Some(Outcome::Malformed);
    }
    inner::unwrap(frame, &outer)
}

#[inline(always)]
fn is_allowed(source: Addr) -> bool {
    // SAFETY: sixteen bytes either way.
    let bytes: [u8; 16] = unsafe { core::mem::transmute(source) };
    ALLOWED.get(Key::new(128, bytes)).is_some()
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
