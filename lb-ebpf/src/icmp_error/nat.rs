//! Errors under nat: the outer and the quoted header are translated, and the
//! message's checksum follows.

use core::ptr::NonNull;

use lb_common::{
    addr::Addr,
    checksum,
    connection::Connection,
    parse::{Datagram, Family, Flow, Frame as _, Quoted, V4, V6},
    verdict::DropReason,
    wire::{icmp::Icmp, ipv4::Ipv4, ipv6::Ipv6},
};

use crate::{
    family,
    forward::{self, nat},
    packet::Packet,
    stats, transmit,
    verifier::settled,
};

/// About what the real sent: the destination becomes the real.
#[inline(always)]
pub fn to_real<F: family::Family>(
    packet: &Packet,
    flow: &Flow<F>,
    connection: &Connection,
    datagram: &Datagram<F>,
    quoted: &Quoted<F>,
) -> u32 {
    let hop = match forward::next_hop(connection.next_hop) {
        Ok(hop) => hop,
        Err(verdict) => return verdict,
    };
    if let Some(verdict) = forward::too_big(packet, flow, hop, 0) {
        return verdict;
    }
    // SAFETY: the parser checked the bounds; the fields are byte-aligned.
    let sender = F::source(unsafe { datagram.header.as_ref() });
    let ends = (&sender, &connection.new_destination);
    if translate(packet, connection, datagram, quoted, ends).is_none() {
        return stats::drop_packet(DropReason::Inconsistent);
    }
    transmit::by_hop(packet, hop)
}

/// About what the client sent, from the real or a router before it: it comes
/// from the VIP.
#[inline(always)]
pub fn to_client<F: family::Family>(
    packet: &Packet,
    flow: &Flow<F>,
    connection: &Connection,
    datagram: &Datagram<F>,
    quoted: &Quoted<F>,
) -> u32 {
    let hop = match nat::way_to_client(packet, flow, connection) {
        Ok(hop) => hop,
        Err(verdict) => return verdict,
    };
    let ends = (&connection.new_source, &connection.new_destination);
    if translate(packet, connection, datagram, quoted, ends).is_none() {
        return stats::drop_packet(DropReason::Inconsistent);
    }
    transmit::to_client(packet, hop)
}

/// Writes the outer addresses and, into the quotation, what its receiver sent:
/// the entry's translation turned round. The quoted segment's own checksum
/// stays, as IPVS leaves it; nobody verifies it.
#[inline(always)]
fn translate<F: family::Family>(
    packet: &Packet,
    connection: &Connection,
    datagram: &Datagram<F>,
    quoted: &Quoted<F>,
    (source, destination): (&Addr, &Addr),
) -> Option<()> {
    let mut message = packet.at::<Icmp>(datagram.payload)?;
    let mut ports = quoted.ports(packet)?;
    let mut outer = datagram.header;
    let inner = quoted.header;
    // SAFETY: every pointer was checked, they do not overlap, and nothing moved
    // the packet; the fields are byte-aligned.
    unsafe {
        F::decrement_ttl(outer.as_mut());
        let mut delta = F::readdress(outer, source, destination);
        delta += F::readdress(inner, &connection.new_destination, &connection.new_source);
        let ports = ports.as_mut();
        delta += checksum::replace_u16(ports.source.raw(), connection.new_destination_port.raw())
            + checksum::replace_u16(ports.destination.raw(), connection.new_source_port.raw());
        ports.source = connection.new_destination_port;
        ports.destination = connection.new_source_port;
        let message = message.as_mut();
        message.checksum = checksum::apply(message.checksum, delta);
    }
    Some(())
}

/// A family whose headers can be given other addresses.
pub trait Readdress: Family {
    /// Returns what that adds to a sum over the header, or over a pseudo
    /// header with the same addresses.
    ///
    /// # Safety
    /// `header` was checked, and nothing moved the packet.
    unsafe fn readdress(header: NonNull<Self::Header>, source: &Addr, destination: &Addr) -> u64;
}

impl Readdress for V4 {
    /// Nothing: the header's checksum makes up for the addresses.
    #[inline(always)]
    unsafe fn readdress(mut header: NonNull<Ipv4>, source: &Addr, destination: &Addr) -> u64 {
        // SAFETY: the caller's; the fields are byte-aligned.
        let header = unsafe { header.as_mut() };
        let delta = checksum::replace_u32(header.source.raw(), source.v4().raw())
            + checksum::replace_u32(header.destination.raw(), destination.v4().raw());
        V4::translate(header, *source, *destination, checksum::fold(delta));
        0
    }
}

impl Readdress for V6 {
    #[inline(always)]
    unsafe fn readdress(mut header: NonNull<Ipv6>, source: &Addr, destination: &Addr) -> u64 {
        // SAFETY: the caller's; the fields are byte-aligned.
        let header = unsafe { header.as_mut() };
        let mut delta = 0;
        for word in 0..4 {
            let (old, new) = (header.source[word], source.0[word]);
            delta = settled(delta + checksum::replace_u32(old.raw(), new.raw()));
            header.source[word] = new;
            let (old, new) = (header.destination[word], destination.0[word]);
            delta = settled(delta + checksum::replace_u32(old.raw(), new.raw()));
            header.destination[word] = new;
        }
        delta
    }
}
