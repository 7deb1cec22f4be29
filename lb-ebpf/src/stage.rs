//! Going from one program to the next by tail call, with what the next one
//! needs left in this CPU's scratch.

use aya_ebpf::{
    bindings::xdp_action::XDP_PASS, helpers::bpf_ktime_get_coarse_ns, programs::XdpContext,
};
use lb_common::{
    abi::{Event, Scratch, stage},
    addr::Addr,
    parse::Flow,
    verdict::DropReason,
};

use crate::{
    family::Family,
    link,
    maps::{EVENTS, SCRATCH, STAGES},
    packet::Packet,
    stats,
};

/// Least time between two requests to the daemon from one CPU, ns.
const EVENT_INTERVAL_NS: u64 = 10_000_000;

/// This CPU's scratch.
#[inline(always)]
pub fn scratch() -> Option<&'static mut Scratch> {
    scratch_of::<PACKETS>()
}

/// Whose scratch: packets' programs, which nothing interrupts that uses it, and the
/// sweep's, which packets do on Linux 6.1 (`bpf_test_run` of net/bpf/test_run.c
/// leaves softirqs on there).
pub const PACKETS: u32 = 0;
pub const SWEEP: u32 = 1;

/// This CPU's scratch of these programs.
#[inline(always)]
pub fn scratch_of<const WHOSE: u32>() -> Option<&'static mut Scratch> {
    // SAFETY: a per-CPU value, and nothing else that uses it runs on this CPU
    // meanwhile.
    SCRATCH
        .get_ptr_mut(WHOSE)
        .map(|scratch| unsafe { &mut *scratch })
}

/// The coarse monotonic clock, ns: the kernel's tick is its resolution.
#[inline(always)]
pub fn now_ns() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// Runs a stage that looks into the packet. The program before it did too, so
/// nothing passes here unless the packet has changed meanwhile.
#[inline(always)]
pub fn with(context: XdpContext, run: impl FnOnce(&Packet) -> u32) -> u32 {
    match link::packet(context) {
        Some((packet, _)) => run(&packet),
        None => XDP_PASS,
    }
}

/// Runs the program at `index`; comes back only when there is none.
#[inline(always)]
pub fn go(packet: &Packet, index: u32) -> u32 {
    // SAFETY: nothing of this program is needed after it.
    unsafe { STAGES.tail_call(packet.context(), index) };
    stats::drop_packet(DropReason::TailCallFailed)
}

/// Counts the drop and answers the packet with an ICMP message
/// ([`lb_common::abi::message`]), unless nobody is to be told.
///
/// `mtu`, host order, is [`TOO_BIG`](lb_common::abi::message::TOO_BIG)'s;
/// else 0.
#[inline(always)]
pub fn answer<F: Family>(
    packet: &Packet,
    flow: &Flow<F>,
    reason: DropReason,
    message: u8,
    mtu: u16,
) -> u32 {
    if flow.is_silent {
        return stats::drop_packet(reason);
    }
    answer_family(packet, F::NUMBER, reason, message, mtu)
}

/// As [`answer`], where the family is known as its number alone.
#[inline(always)]
pub fn answer_family(
    packet: &Packet,
    family: u8,
    reason: DropReason,
    message: u8,
    mtu: u16,
) -> u32 {
    stats::count(reason as u32);
    let Some(scratch) = scratch() else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    scratch.icmp_message = message;
    scratch.icmp_mtu = mtu;
    go(packet, stage::ICMP_REPLY_V4 + u32::from(family & 1))
}

/// Asks the daemon to look at a next hop or neighbour. Rate-limited; one that
/// is left out comes with a later packet.
#[inline(always)]
pub fn request(kind: u32, index: u32, address: Addr) {
    let Some(scratch) = scratch() else { return };
    let now = now_ns();
    if now.wrapping_sub(scratch.last_event_ns) < EVENT_INTERVAL_NS {
        return;
    }
    scratch.last_event_ns = now;
    let _ = tell(kind, index, address);
}

/// Tells the daemon of what happens seldom enough. False: the ring is full, for
/// which nobody waits.
#[inline(always)]
pub fn tell(kind: u32, index: u32, address: Addr) -> bool {
    let Some(mut event) = EVENTS.reserve::<Event>(0) else {
        return false;
    };
    event.write(Event {
        kind,
        index,
        address,
    });
    event.submit(0);
    true
}
