//! Programs for the benchmark that sends frames over wires: `generate` is run by
//! `BPF_PROG_TEST_RUN` with live frames and sends each of them by an interface;
//! `sink` sits at the far end of the wires and ends them.
//!
//! The kernel gives a frame back to `generate` as the wire's far end left it, so it
//! is written anew each time (net/bpf/test_run.c: `reset_ctx` resets the pointers
//! alone).

#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS},
    helpers::bpf_redirect,
    macros::{map, xdp},
    maps::Array,
    programs::XdpContext,
};
use lb_common::traffic::{BALANCE_OFFSET, FRAME_BYTES, SOURCE_PORT_OFFSET, Stream};

/// What to send.
#[map]
static STREAM: Array<Stream> = Array::with_max_entries(1, 0);

/// EtherType of IPv4, as a little-endian load reads it.
const IPV4: u16 = 0x0800_u16.to_be();

#[expect(clippy::needless_pass_by_value, reason = "the macro's form")]
#[xdp(frags)]
pub fn generate(context: XdpContext) -> u32 {
    write_next(&context).unwrap_or(XDP_ABORTED)
}

/// Writes the next flow's frame and sends it.
#[inline(always)]
fn write_next(context: &XdpContext) -> Option<u32> {
    let stream = STREAM.get_ptr_mut(0)?;
    // SAFETY: a map value; one thread at a time generates.
    let stream = unsafe { &mut *stream };
    let start = context.data();
    if start + FRAME_BYTES > context.data_end() {
        return None;
    }
    let turn = stream.turn;
    stream.turn = turn.wrapping_add(1);
    let port = stream.first_port.wrapping_add(turn & stream.flow_mask) as u16;
    let start = start as *mut u8;
    // SAFETY: the bounds were checked above. A live frame begins on a boundary of eight
    // octets: at the head of its page are a `xdp_page_head` and XDP_PACKET_HEADROOM.
    unsafe {
        start.cast::<[u64; FRAME_BYTES / 8]>().write(stream.frame);
        start
            .add(SOURCE_PORT_OFFSET)
            .cast::<u16>()
            .write(port.to_be());
        start.add(BALANCE_OFFSET).cast::<u16>().write(!port.to_be());
        Some(bpf_redirect(stream.egress, 0) as u32)
    }
}

/// Drops IPv4, and lets the stack have the rest: it answers ARP.
#[expect(clippy::needless_pass_by_value, reason = "the macro's form")]
#[xdp(frags)]
pub fn sink(context: XdpContext) -> u32 {
    let start = context.data();
    if start + 14 > context.data_end() {
        return XDP_PASS;
    }
    // SAFETY: the bounds were checked above; drivers align frames to two octets at least.
    let ether_type = unsafe { ((start + 12) as *const u16).read() };
    if ether_type == IPV4 {
        XDP_DROP
    } else {
        XDP_PASS
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
