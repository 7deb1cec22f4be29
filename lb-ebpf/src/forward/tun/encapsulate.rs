//! The stage for tunnels that cost more: of either family in the other (RFC
//! 2473, RFC 4213), over UDP and GUE, or over GRE.

use lb_common::{
    abi::Tunnel,
    parse::{self, Flow, V4, V6},
    real::{TunnelKind, flag},
    verdict::DropReason,
    wire::protocol,
};

use super::{
    outer::{Ends, Outer},
    shim, source, sum,
};
use crate::{family::Family, forward, packet::Packet, stage, stats, transmit};

#[inline(always)]
pub fn run<F: Family>(packet: &Packet) -> u32 {
    let Some(scratch) = stage::scratch() else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    let tunnel = &scratch.tunnel;
    let Some(flow) = flow::<F>(packet, tunnel) else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    if tunnel.destination.is_v4() {
        wrap::<F, V4>(packet, &flow, tunnel)
    } else {
        wrap::<F, V6>(packet, &flow, tunnel)
    }
}

/// The packet once more, with its transport header if it has one.
#[inline(always)]
fn flow<F: Family>(packet: &Packet, tunnel: &Tunnel) -> Option<Flow<F>> {
    let datagram = F::datagram(packet, packet.network())?;
    if tunnel.is_silent != 0 {
        return Some(Flow::silent(&datagram, F::Key::default()));
    }
    parse::flow(packet, &datagram)
}

/// An `F` packet into an `O` one.
#[inline(always)]
fn wrap<F: Family, O: Outer>(packet: &Packet, flow: &Flow<F>, tunnel: &Tunnel) -> u32 {
    let hop = match forward::next_hop(tunnel.next_hop) {
        Ok(hop) => hop,
        Err(verdict) => return verdict,
    };
    let kind = TunnelKind::from_number(tunnel.kind);
    let with_checksum = tunnel.flags & flag::TUNNEL_CHECKSUM != 0;
    let overhead = O::HEADER_BYTES + kind.header_bytes(with_checksum);
    if let Some(verdict) = forward::too_big(packet, flow, hop, overhead) {
        return verdict;
    }
    forward::decrement_ttl(flow);
    // SAFETY: the parser checked the bounds, and nothing moved the packet.
    let fields = F::fields(unsafe { flow.header.as_ref() });
    let mut inner_sum = 0;
    if with_checksum && kind != TunnelKind::Ipip {
        let Some(sum) = sum::of_packet(packet, flow) else {
            return stats::drop_packet(DropReason::Inconsistent);
        };
        inner_sum = sum;
    }
    if !packet.insert(overhead, O::ETHERTYPE) {
        return stats::drop_packet(DropReason::NoHeadroom);
    }
    let ends = Ends {
        source: source(tunnel.source, hop),
        destination: tunnel.destination,
    };
    let length = flow.length + overhead;
    let at = packet.network();
    let behind = at + O::HEADER_BYTES as usize;
    let (protocol, is_written) = match kind {
        TunnelKind::Ipip => (F::IN_IP, true),
        TunnelKind::Gue => {
            let mut shim = shim::Gue::new(tunnel, length - O::HEADER_BYTES, F::IN_IP);
            if with_checksum {
                shim.fill_checksum(ends.sum() + inner_sum);
            }
            (protocol::UDP, packet.write(behind, shim))
        }
        TunnelKind::Gre if with_checksum => {
            let gre = shim::gre_with_checksum(F::ETHERTYPE, inner_sum);
            (protocol::GRE, packet.write(behind, gre))
        }
        TunnelKind::Gre => (protocol::GRE, packet.write(behind, shim::gre(F::ETHERTYPE))),
    };
    let header = O::outer(&fields, &ends, length, protocol);
    if !is_written || !packet.write(at, header) {
        return stats::drop_packet(DropReason::Inconsistent);
    }
    transmit::by_hop(packet, hop)
}
