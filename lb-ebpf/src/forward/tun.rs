//! IP encapsulation (RFC 2003): the whole packet becomes the payload of one
//! to the real's address.

use lb_common::{
    addr::Be16,
    connection::Connection,
    real::NextHop,
    verdict::DropReason,
    wire::{
        ethernet::{Ethernet, ethertype},
        ipv4::{DF, HEADER_BYTES, Ipv4},
        protocol,
    },
};

use crate::{
    packet::{NETWORK_OFFSET, Packet},
    parse::Flow,
    stats, transmit,
};

#[inline(always)]
pub fn to_real(packet: &Packet, flow: &Flow, connection: &Connection, hop: &NextHop) -> u32 {
    if let Some(verdict) = super::too_big(packet, flow, hop, HEADER_BYTES) {
        return verdict;
    }
    super::decrement_ttl(flow);
    // SAFETY: the parser checked the bounds, and nothing moved the packet.
    let inner = unsafe { *flow.ipv4.as_ptr() };
    let outer = outer_header(&inner, connection, hop);
    if !packet.grow_head(HEADER_BYTES) {
        return stats::drop_packet(DropReason::NoHeadroom);
    }
    let (Some(ethernet), Some(header)) =
        (packet.at::<Ethernet>(0), packet.at::<Ipv4>(NETWORK_OFFSET))
    else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    // SAFETY: `at` checked the bounds; the fields are byte-aligned.
    unsafe {
        *header.as_ptr() = outer;
        (*ethernet.as_ptr()).ethertype = ethertype::IPV4;
    }
    transmit::by_hop(packet, hop)
}

/// TTL, DSCP and ECN from the inner header (RFC 6040 section 4.1, normal
/// mode), DF copied, ID 0 with DF (RFC 6864).
#[inline(always)]
fn outer_header(inner: &Ipv4, connection: &Connection, hop: &NextHop) -> Ipv4 {
    let df = inner.fragment.get() & DF;
    let mut outer = Ipv4 {
        version_ihl: 0x45,
        tos: inner.tos,
        total_length: Be16::new(inner.total_length.get() + HEADER_BYTES),
        identification: if df == 0 {
            inner.identification
        } else {
            Be16::new(0)
        },
        fragment: Be16::new(df),
        ttl: inner.ttl,
        protocol: protocol::IPIP,
        checksum: 0,
        source: hop.local_address.v4(),
        destination: connection.new_destination.v4(),
    };
    outer.fill_checksum();
    outer
}
