//! Encapsulation: the whole packet becomes the payload of one to the real's
//! address. Here what most tunnels are, IPv4 in IPv4 and IPv6 in IPv6 (RFC
//! 2003, RFC 2473); all else is [`encapsulate`]'s.

pub mod encapsulate;
pub mod outer;
mod shim;
mod sum;

use lb_common::{
    abi::Tunnel,
    addr::Addr,
    connection::Connection,
    parse::Flow,
    real::{NextHop, TunnelKind},
    verdict::DropReason,
};

use crate::{family::Family, packet::Packet, stage, stats, transmit};
use outer::Ends;

#[inline(always)]
pub fn to_real<F: Family>(
    packet: &Packet,
    flow: &Flow<F>,
    connection: &Connection,
    hop: &NextHop,
) -> u32 {
    let is_own_family = connection.new_destination.is_v4() == (F::NUMBER == 0);
    if connection.tunnel != TunnelKind::Ipip as u8 || !is_own_family {
        return otherwise(packet, flow, connection);
    }
    if let Some(verdict) = super::too_big(packet, flow, hop, F::HEADER_BYTES) {
        return verdict;
    }
    super::decrement_ttl(flow);
    // SAFETY: the parser checked the bounds, and nothing moved the packet.
    let fields = F::fields(unsafe { flow.header.as_ref() });
    let ends = Ends {
        source: source(connection.new_source, hop),
        destination: connection.new_destination,
    };
    if !packet.insert(F::HEADER_BYTES, F::ETHERTYPE) {
        return stats::drop_packet(DropReason::NoHeadroom);
    }
    let length = flow.length + F::HEADER_BYTES;
    let header = F::outer(&fields, &ends, length, F::IN_IP);
    if !packet.write(packet.network(), header) {
        return stats::drop_packet(DropReason::Inconsistent);
    }
    transmit::by_hop(packet, hop)
}

/// On to the stage for all other tunnels.
#[inline(always)]
fn otherwise<F: Family>(packet: &Packet, flow: &Flow<F>, connection: &Connection) -> u32 {
    let Some(scratch) = stage::scratch() else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    scratch.tunnel = Tunnel {
        source: connection.new_source,
        destination: connection.new_destination,
        source_port: connection.new_source_port,
        destination_port: connection.new_destination_port,
        next_hop: connection.next_hop,
        kind: connection.tunnel,
        flags: connection.flags,
        is_silent: u8::from(flow.is_silent),
        pad: 0,
    };
    stage::go(packet, F::ENCAPSULATE)
}

/// The outer source: of the flow's own where sources are spread, else the
/// egress address by route.
#[inline(always)]
pub fn source(own: Addr, hop: &NextHop) -> Addr {
    if own == Addr::UNSPECIFIED {
        hop.local_address
    } else {
        own
    }
}
