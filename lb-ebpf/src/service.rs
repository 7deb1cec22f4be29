//! The virtual service of a packet that belongs to no connection.

use aya_ebpf::maps::lpm_trie::Key;
use lb_common::{
    abi::settings_flag,
    addr::{Addr, Be16},
    firewall_mark::{MarkKey, MarkPorts},
    flow::FlowKey,
    parse::Headers,
    service::{Plan, ServiceKey},
    tcp_state::flag,
    wire::{protocol, sctp},
};

use crate::maps::{CURRENT_PLANS, MARKS, PLANS, SERVICES, SETTINGS};

/// Length of a whole key of `MARKS`, bits.
const MARK_KEY_BITS: u32 = size_of::<MarkKey>() as u32 * 8;

/// What a packet without a connection is to its service.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It may begin a connection.
    Beginning,
    /// It belongs to one that began before.
    Middle,
    /// Neither: nothing is answered to it.
    Other,
}

/// Bits of `Settings::flags`.
#[inline(always)]
pub fn settings(flags: u32) -> bool {
    SETTINGS.get(0).is_some_and(|s| s.flags & flags != 0)
}

/// The slot of the packet's service: by firewall mark, by address and port, by
/// address alone.
#[inline(always)]
pub fn find<K: FlowKey>(flow: &Headers<K>) -> Option<u32> {
    find_with(flow, exact(flow, flow.key.destination().port))
}

/// The same, where the service of exactly that destination is known.
#[inline(always)]
pub fn find_with<K: FlowKey>(flow: &Headers<K>, exactly: Option<u32>) -> Option<u32> {
    let destination = flow.key.destination();
    if settings(settings_flag::MARKS)
        && let Some(ports) = marks(flow.key.protocol(), destination.address)
        && let Some(service) = ports.service(destination.port.get())
    {
        return Some(service);
    }
    if exactly.is_some() {
        return exactly;
    }
    if settings(settings_flag::PORT_ZERO) {
        return exact(flow, Be16::new(0));
    }
    None
}

/// The service of the packet's destination with this port.
#[inline(always)]
pub fn exact<K: FlowKey>(flow: &Headers<K>, port: Be16) -> Option<u32> {
    let key = ServiceKey {
        address: flow.key.destination().address,
        port,
        protocol: flow.key.protocol(),
        family: 0,
    };
    // SAFETY: a service's slot never changes while it exists, and a key's
    // element that is freed meanwhile holds another valid slot.
    unsafe { SERVICES.get(key) }.copied()
}

/// What the firewall marks say of a destination.
#[inline(always)]
pub fn marks(protocol: u8, address: Addr) -> Option<&'static MarkPorts> {
    MARKS.get(Key::new(MARK_KEY_BITS, MarkKey::new(protocol, address)))
}

/// The slot of the plan in force of a service, and the plan.
#[inline(always)]
pub fn plan(service: u32) -> Option<(u32, &'static Plan)> {
    let slot = *CURRENT_PLANS.get(service)? as u32;
    Some((slot, plan_at(slot)?))
}

/// The plan in a slot.
#[inline(always)]
pub fn plan_at(slot: u32) -> Option<&'static Plan> {
    // SAFETY: an array's values live as long as the program.
    PLANS.get_ptr(slot).map(|plan| unsafe { &*plan })
}

/// Beginnings are a datagram, a SYN, an INIT, or with `sloppy_tcp` any segment
/// but RST; from an address that can be answered.
#[inline(always)]
pub fn part<K: FlowKey>(flow: &Headers<K>) -> Part {
    const ABORT: u8 = 6;
    if !flow.key.source().address.is_unicast() {
        return Part::Other;
    }
    match flow.key.protocol() {
        protocol::TCP if flow.segment & flag::RST != 0 => Part::Other,
        protocol::TCP if flow.segment & flag::SYN != 0 => Part::Beginning,
        protocol::TCP if settings(settings_flag::SLOPPY_TCP) => Part::Beginning,
        protocol::SCTP if flow.segment == sctp::INIT => Part::Beginning,
        protocol::SCTP if flow.segment == ABORT => Part::Other,
        protocol::TCP | protocol::SCTP => Part::Middle,
        _ => Part::Beginning,
    }
}
