//! "Fragmentation needed" and "packet too big" about our own tunnels: a router
//! between director and real has a smaller MTU. The next hop takes it over, so
//! that the client hears of it at its next packet that is too long; the daemon
//! puts the link's MTU back after a while.

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use lb_common::{
    abi::event_kind,
    addr::{Addr, Be16},
    connection::{Connection, ForwardingMethod, direction},
    limits::{MIN_PATH_MTU_V4, MIN_PATH_MTU_V6},
    parse::{Family as _, Frame as _, Quoted, V4, V6},
    real::TunnelKind,
    wire::{
        ethernet::ethertype,
        gre::Gre,
        gue::Gue,
        icmp::{self, Icmp, v6},
        protocol,
        udp::Udp,
    },
};

use crate::{family::Family, forward::tun, maps::NEXT_HOPS, packet::Packet, stage, table};

/// The stage for errors that are about no connection's packet as such. The
/// kernel gets them too.
#[inline(always)]
pub fn run<F: Family>(packet: &Packet) -> u32 {
    if let Some(datagram) = F::datagram(packet, packet.network())
        && let Some(message) = packet.at::<Icmp>(datagram.payload)
        && let Some(quoted) = datagram.quoted(packet)
    {
        // SAFETY: `at` checked the bounds; the fields are byte-aligned.
        let message = unsafe { message.as_ref() };
        // SAFETY: the parser checked the bounds; the fields are byte-aligned.
        let told = F::destination(unsafe { datagram.header.as_ref() });
        learn(packet, message, told, &quoted);
    }
    XDP_PASS
}

/// Takes over the MTU that `message` tells `told` of, if it is about a tunnel of
/// a connection that began there, and about a packet that did not fit (RFC 5927
/// section 7).
#[inline(always)]
fn learn<F: Family>(packet: &Packet, message: &Icmp, told: Addr, quoted: &Quoted<F>) {
    let (kind, code, least) = if F::NUMBER == 0 {
        (
            icmp::DESTINATION_UNREACHABLE,
            icmp::FRAGMENTATION_NEEDED,
            MIN_PATH_MTU_V4,
        )
    } else {
        (v6::PACKET_TOO_BIG, 0, MIN_PATH_MTU_V6)
    };
    let mtu = message.mtu.get();
    // A router of before RFC 1191 tells none. In IPv6 the MTU has 32 bits; in
    // IPv4 the other half is the quotation's length, if anything (RFC 4884).
    let is_huge = F::NUMBER != 0 && message.unused.get() != 0;
    if message.kind != kind || message.code != code || mtu == 0 || is_huge {
        return;
    }
    // SAFETY: the parser checked the bounds; the fields are byte-aligned.
    let outer = unsafe { quoted.header.as_ref() };
    let (director, real) = (F::source(outer), F::destination(outer));
    if told != director || F::length(outer) <= mtu {
        return;
    }
    if let Some(connection) = connection_in(packet, quoted)
        && connection.tunnel == kind_of(quoted.protocol) as u8
        && connection.method == ForwardingMethod::Tun as u8
        && connection.direction == direction::FORWARD
        && connection.new_destination == real
    {
        lower(connection, director, mtu.max(least));
    }
}

/// The kind of tunnel that has a protocol.
#[inline(always)]
fn kind_of(protocol: u8) -> TunnelKind {
    match protocol {
        protocol::GRE => TunnelKind::Gre,
        protocol::UDP => TunnelKind::Gue,
        _ => TunnelKind::Ipip,
    }
}

/// The connection of the packet that a tunnel's packet carries.
#[inline(always)]
fn connection_in<F: Family>(packet: &Packet, quoted: &Quoted<F>) -> Option<&'static Connection> {
    let (ethertype, at) = inner(packet, quoted)?;
    match ethertype {
        ethertype::IPV4 => connection::<V4>(packet, at, quoted.end),
        ethertype::IPV6 => connection::<V6>(packet, at, quoted.end),
        _ => None,
    }
}

/// Kind and offset of what the quoted packet carries.
#[inline(always)]
fn inner<F: Family>(packet: &Packet, quoted: &Quoted<F>) -> Option<(Be16, usize)> {
    let at = quoted.payload;
    match quoted.protocol {
        protocol::GRE => {
            let gre = packet.at::<Gre>(at)?;
            // SAFETY: `at` checked the bounds; the fields are byte-aligned.
            let gre = unsafe { gre.as_ref() };
            Some((gre.protocol, at + usize::from(gre.header_bytes())))
        }
        protocol::UDP => {
            let gue = packet.at::<Gue>(at + size_of::<Udp>())?;
            // SAFETY: as above.
            let carried = unsafe { gue.as_ref() }.protocol;
            Some((in_ip(carried)?, at + size_of::<Udp>() + size_of::<Gue>()))
        }
        carried => Some((in_ip(carried)?, at)),
    }
}

/// The family of an IP packet in another.
#[inline(always)]
fn in_ip(protocol: u8) -> Option<Be16> {
    match protocol {
        V4::IN_IP => Some(ethertype::IPV4),
        V6::IN_IP => Some(ethertype::IPV6),
        _ => None,
    }
}

#[inline(always)]
fn connection<I: Family>(packet: &Packet, at: usize, end: usize) -> Option<&'static Connection> {
    let key = I::quoted(packet, at, end)?.key(packet)?;
    let entry = table::find_rarely::<I, { stage::PACKETS }>(&key)?;
    // SAFETY: a map's values live as long as the program.
    Some(unsafe { &(*entry).connection })
}

/// Lowers the MTU of the connection's next hop, if the tunnel that the message
/// is about really began at this director.
#[inline(always)]
fn lower(connection: &Connection, director: Addr, mtu: u16) {
    let slot = connection.next_hop;
    let Some(hop) = NEXT_HOPS.get_ptr_mut(slot) else {
        return;
    };
    // SAFETY: map values stay writable while the program runs; the daemon
    // writes the whole hop when anything else about it changes.
    unsafe {
        let source = tun::source(connection.new_source, &*hop);
        let before = (*hop).mtu;
        if source != director || before <= mtu {
            return;
        }
        (*hop).mtu = mtu;
        // Who puts it back has to know; the next message tries again.
        if !stage::tell(event_kind::PATH_MTU, slot, Addr::UNSPECIFIED) {
            (*hop).mtu = before;
        }
    }
}
