//! Fragments. The first one of a datagram has the ports: it goes the way of
//! any packet and leaves word for the others, which are looked up by the
//! datagram's identification.

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use lb_common::{
    abi::{follower, settings_flag},
    addr::{Addr, Be16},
    flow::{Endpoint, FlowKey as _},
    fragment::{FragmentKey, FragmentVerdict, verdict},
    limits::FRAGMENT_LIFE_NS,
    parse::{self, Datagram, Flow, Part},
    service::{AddressKey, role},
    verdict::DropReason,
};

use crate::{
    arrive,
    connection::{self, Found},
    family::Family,
    follow,
    maps::{ADDRESSES, FRAGMENTS},
    one_packet,
    packet::Packet,
    service::{self, Part as Arrival},
    stage::now_ns,
    stats,
};

/// The stage for what [`route`] found to be a fragment.
#[inline(always)]
pub fn run<F: Family>(packet: &Packet) -> u32 {
    let Some(datagram) = F::datagram(packet, packet.network()) else {
        return XDP_PASS;
    };
    if datagram.fragment.part == Part::Later {
        return later(packet, &datagram);
    }
    let Some(flow) = parse::flow(packet, &datagram) else {
        return XDP_PASS;
    };
    let key = key(&datagram);
    match connection::find_rarely::<F>(&flow) {
        Found::Live(_) => {
            remember(&key, &flow, verdict::FORWARD);
            return follow::go::<F>(packet, &flow.key, follower::FIRST_FRAGMENT);
        }
        Found::Over(over) => return over.verdict::<F>(packet),
        Found::Nothing => {}
    }
    // Before the tail call, which does not come back; a scheduler's pick brings
    // the packet here again, with a connection. Without a pick it is dropped,
    // and the others with it.
    if service::find(&flow).is_some() && service::part(&flow) == Arrival::Beginning {
        let _ = FRAGMENTS.remove(key);
    } else if one_packet::is_reply(&flow) {
        // Nothing leads the others to the client: they are dropped.
        let _ = FRAGMENTS.remove(key);
    } else if is_watched(&key, datagram.protocol) {
        remember(&key, &flow, verdict::PASS);
    }
    arrive::go(packet, &flow)
}

#[inline(always)]
fn key<F: Family>(datagram: &Datagram<F>) -> FragmentKey {
    // SAFETY: the parser checked the bounds; the fields are byte-aligned.
    let header = unsafe { datagram.header.as_ref() };
    FragmentKey {
        source: F::source(header),
        destination: F::destination(header),
        identification: datagram.fragment.identification,
        protocol: datagram.fragment.protocol,
        pad: [0; 3],
    }
}

#[inline(always)]
fn remember<F: Family>(key: &FragmentKey, flow: &Flow<F>, verdict: u8) {
    let value = FragmentVerdict {
        seen_ns: now_ns(),
        source_port: flow.key.source().port,
        destination_port: flow.key.destination().port,
        protocol: flow.key.protocol(),
        verdict,
        pad: [0; 2],
    };
    // An LRU makes room for itself.
    let _ = FRAGMENTS.insert(key, value, 0);
}

/// A fragment without ports.
#[inline(always)]
fn later<F: Family>(packet: &Packet, datagram: &Datagram<F>) -> u32 {
    let fragment = key(datagram);
    // SAFETY: the value is copied at once.
    let known = unsafe { FRAGMENTS.get(fragment) }.copied();
    let Some(first) = known.filter(is_fresh) else {
        if is_watched(&fragment, fragment.protocol) {
            return stats::drop_packet(DropReason::FragmentWithoutFirst);
        }
        return XDP_PASS;
    };
    if first.verdict == verdict::PASS {
        return XDP_PASS;
    }
    let end = |address: Addr, port: Be16| Endpoint { address, port };
    let key = F::Key::new(
        end(fragment.source, first.source_port),
        end(fragment.destination, first.destination_port),
        first.protocol,
    );
    follow::go::<F>(packet, &key, follower::LATER_FRAGMENT)
}

#[inline(always)]
fn is_fresh(first: &FragmentVerdict) -> bool {
    now_ns().wrapping_sub(first.seen_ns) < FRAGMENT_LIFE_NS
}

/// Whether a later fragment without its first would be lost: to a service's
/// address, or from a nat real, which has datagrams of its own, too.
#[inline(always)]
fn is_watched(fragment: &FragmentKey, protocol: u8) -> bool {
    is_known(fragment.destination, protocol, role::SERVICE)
        || (service::settings(settings_flag::MARKS)
            && service::marks(protocol, fragment.destination).is_some())
        || is_known(fragment.source, protocol, role::NAT_REAL)
}

/// Whether an address plays a role for a protocol.
#[inline(always)]
fn is_known(address: Addr, protocol: u8, role: u8) -> bool {
    let key = AddressKey {
        address,
        protocol,
        role,
        pad: [0; 2],
    };
    // SAFETY: the value is not looked at.
    unsafe { ADDRESSES.get(key) }.is_some()
}
