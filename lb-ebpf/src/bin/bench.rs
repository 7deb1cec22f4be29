//! Programs for the benchmark, run by `BPF_PROG_TEST_RUN` with `repeat`.
//!
//! A repeated run finds the packet as the last one left it, so a wrapper
//! restores it first, gives it the next of 2^k client addresses, with the
//! checksums that belong to it, and tail-calls the program under test. There is
//! a wrapper for each length of packets. `transmit` is the least a program can
//! do, `reference` what an established packet costs at least.

#![no_std]
#![no_main]
#![expect(internal_features, reason = "atomics: see verifier.rs")]
#![feature(core_intrinsics, asm_experimental_arch)]

#[path = "../packet.rs"]
#[expect(dead_code, reason = "the director uses more of it")]
mod packet;
#[path = "../verifier.rs"]
#[expect(dead_code, reason = "the director uses more of it")]
mod verifier;

use aya_ebpf::{
    bindings::xdp_action::{XDP_ABORTED, XDP_PASS, XDP_TX},
    helpers::bpf_ktime_get_coarse_ns,
    macros::{map, xdp},
    maps::{Array, HashMap, ProgramArray},
    programs::XdpContext,
};
use lb_common::{
    addr::Be32,
    bench::{Checksum, MOST_PACKET_BYTES, Template},
    checksum,
    flow::FlowKeyV4,
    limits::ETHERNET_HEADER_BYTES,
    parse::Frame as _,
    wire::{ipv4::Ipv4, tcp::Tcp},
};
use packet::Packet;

/// Offset of the network header: the packets have no tags.
const NETWORK_OFFSET: usize = ETHERNET_HEADER_BYTES;

/// The packet to restore.
#[map]
static TEMPLATE: Array<Template> = Array::with_max_entries(1, 0);

/// The program under test, at 0.
#[map]
static UNDER_TEST: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// The reference program's table, as large as the director's.
#[map]
static FLOWS: HashMap<FlowKeyV4, [u64; 12]> = HashMap::with_max_entries(1 << 21, 0);

#[xdp(frags)]
pub fn wrapper_64(context: XdpContext) -> u32 {
    restore::<{ 64 / 8 }>(&Packet::new(context)).unwrap_or(XDP_ABORTED)
}

#[xdp(frags)]
pub fn wrapper_80(context: XdpContext) -> u32 {
    restore::<{ 80 / 8 }>(&Packet::new(context)).unwrap_or(XDP_ABORTED)
}

#[xdp(frags)]
pub fn wrapper_112(context: XdpContext) -> u32 {
    restore::<{ 112 / 8 }>(&Packet::new(context)).unwrap_or(XDP_ABORTED)
}

#[inline(always)]
fn restore<const WORDS: usize>(packet: &Packet) -> Option<u32> {
    let template = TEMPLATE.get_ptr_mut(0)?;
    // SAFETY: a map value; the benchmark runs on one CPU.
    let template = unsafe { &mut *template };
    let context = packet.context();
    let grown = context.data_end() - context.data() - WORDS * 8;
    if grown != 0 && !packet.move_head(grown as i32) {
        return None;
    }
    let words = template.packet.first_chunk::<WORDS>()?;
    if !packet.write(0, *words) {
        return None;
    }
    let turn = template.turn;
    template.turn = turn.wrapping_add(1);
    let first = Be32::new(template.first_client);
    let flow = turn.wrapping_mul(template.stride) & template.flow_mask;
    let client = Be32::new(template.first_client.wrapping_add(flow));
    // Nothing is read from the packet: a load that overlaps a store of another
    // width would wait for it.
    let delta = checksum::replace_u32(first.raw(), client.raw());
    if !packet.write(place(template.client_at), client) {
        return None;
    }
    for Checksum { at, value, is_udp } in template.checksums {
        let value = match checksum::apply(value, delta) {
            0 if is_udp != 0 => 0xffff,
            value => value,
        };
        if at != 0 && !packet.write(place(at), value) {
            return None;
        }
    }
    // SAFETY: nothing of this program is needed after it.
    unsafe { UNDER_TEST.tail_call(context, 0) };
    None
}

/// An offset that the verifier knows the bounds of.
#[inline(always)]
const fn place(offset: u32) -> usize {
    const MASK: usize = MOST_PACKET_BYTES.next_power_of_two() - 1;
    offset as usize & MASK
}

#[xdp(frags)]
pub fn transmit(_: XdpContext) -> u32 {
    XDP_TX
}

#[xdp(frags)]
pub fn reference(context: XdpContext) -> u32 {
    hit(&Packet::new(context)).unwrap_or(XDP_PASS)
}

/// Parse, one look-up, one write-back with the coarse clock.
#[inline(always)]
fn hit(packet: &Packet) -> Option<u32> {
    let ipv4 = packet.at::<Ipv4>(NETWORK_OFFSET)?;
    let tcp = packet.at::<Tcp>(NETWORK_OFFSET + size_of::<Ipv4>())?;
    // SAFETY: `at` checked the bounds; the fields are byte-aligned.
    let (ipv4, tcp) = unsafe { (&*ipv4.as_ptr(), &*tcp.as_ptr()) };
    let key = FlowKeyV4 {
        source: ipv4.source,
        destination: ipv4.destination,
        source_port: tcp.source_port,
        destination_port: tcp.destination_port,
        protocol: u32::from(ipv4.protocol),
    };
    // Written at once: LLVM 22 would write parts of it to odd words of the stack.
    let key = &core::hint::black_box(key);
    if let Some(entry) = FLOWS.get_ptr_mut(key) {
        // SAFETY: a map value; a helper without arguments.
        unsafe {
            (*entry)[0] = bpf_ktime_get_coarse_ns();
            (*entry)[1] = (*entry)[1].wrapping_add(1);
        }
        return Some(XDP_TX);
    }
    let _ = FLOWS.insert(key, [0; 12], 0);
    Some(XDP_PASS)
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
