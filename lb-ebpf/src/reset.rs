//! Answers a segment of a connection that was cut with RST (RFC 9293 section
//! 3.10.7.1, a closed connection): the packet turns round on the interface that
//! it came by, cut to its headers.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_TX};
use lb_common::{
    checksum,
    parse::{self, Flow, Frame as _, Transport},
    verdict::DropReason,
    wire::{
        ethernet::Ethernet,
        protocol,
        tcp::{HEADER_BYTES, Tcp},
    },
};

use crate::{family::Family, packet::Packet, stats};

/// The stage. The packet itself is counted.
#[inline(always)]
pub fn run<F: Family>(packet: &Packet) -> u32 {
    // Before the parser's look: the verifier does not conclude from a longer
    // check that this one holds, LLVM does.
    let Some(ethernet) = packet.at::<Ethernet>(0) else {
        return XDP_DROP;
    };
    // SAFETY: `at` checked the bounds; the value is copied before the packet
    // moves.
    let ethernet = unsafe { ethernet.read() };
    let Some(datagram) = F::datagram(packet, packet.network()) else {
        return XDP_DROP;
    };
    let Some(flow) = parse::flow(packet, &datagram) else {
        return XDP_DROP;
    };
    match turn_round::<F>(packet, &flow, &ethernet) {
        Some(()) => XDP_TX,
        None => stats::drop_packet(DropReason::Inconsistent),
    }
}

#[inline(always)]
fn turn_round<F: Family>(packet: &Packet, flow: &Flow<F>, ethernet: &Ethernet) -> Option<()> {
    let Transport::Tcp(tcp) = flow.transport else {
        return None;
    };
    // SAFETY: the parser checked the bounds; the values are copied before the
    // packet moves.
    let (original, segment) = unsafe { (flow.header.read(), tcp.read()) };
    let payload = flow
        .length
        .wrapping_sub(flow.header_bytes)
        .wrapping_sub(segment.header_bytes());
    let mut reset = Tcp::reset(&segment, payload);
    let header = F::reply_header(&original, HEADER_BYTES, protocol::TCP);
    let sum = F::pseudo_sum(&original, HEADER_BYTES, protocol::TCP) + reset.sum();
    reset.checksum = !checksum::fold(sum);
    let network = packet.network();
    let transport = network + F::HEADER_BYTES as usize;
    let is_written = packet.set_length(transport as u64 + u64::from(HEADER_BYTES))
        && packet.write(0, (ethernet.source, ethernet.destination))
        && packet.write(network, header)
        && packet.write(transport, reset);
    is_written.then_some(())
}
