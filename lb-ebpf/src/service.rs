//! The virtual service of a packet that belongs to no connection.

use lb_common::{
    abi::settings_flag,
    flow::FlowKey as _,
    parse::Flow,
    service::{Plan, ServiceKey},
    tcp_state::flag,
    wire::{protocol, sctp},
};

use crate::{
    family::Family,
    maps::{CURRENT_PLANS, PLANS, SERVICES, SETTINGS},
};

/// A service with the plan in force.
pub struct Match {
    pub service: u32,
    pub plan: u32,
    pub scheduler: u32,
}

/// The exact service of the packet's destination.
#[inline(always)]
pub fn find<F: Family>(flow: &Flow<F>) -> Option<Match> {
    let destination = flow.key.destination();
    let key = ServiceKey {
        address: destination.address,
        port: destination.port,
        protocol: flow.key.protocol(),
        pad: 0,
    };
    // SAFETY: a service's slot never changes while it exists, and a key's
    // element that is freed meanwhile holds another valid slot.
    let service = *unsafe { SERVICES.get(key) }?;
    let plan = *CURRENT_PLANS.get(service)? as u32;
    Some(Match {
        service,
        plan,
        scheduler: plan_at(plan)?.scheduler,
    })
}

/// The plan in a slot.
#[inline(always)]
pub fn plan_at(slot: u32) -> Option<&'static Plan> {
    // SAFETY: an array's values live as long as the program.
    PLANS.get_ptr(slot).map(|plan| unsafe { &*plan })
}

/// Whether a packet without a connection may make one: a datagram, a SYN, an
/// INIT, or with `sloppy_tcp` any segment but RST; from an address that can be
/// answered.
#[inline(always)]
pub fn may_create<F: Family>(flow: &Flow<F>) -> bool {
    if !flow.key.source().address.is_unicast() {
        return false;
    }
    match flow.key.protocol() {
        protocol::TCP => {
            flow.segment & flag::RST == 0
                && (flow.segment & flag::SYN != 0
                    || SETTINGS
                        .get(0)
                        .is_some_and(|s| s.flags & settings_flag::SLOPPY_TCP != 0))
        }
        protocol::SCTP => flow.segment == sctp::INIT,
        _ => true,
    }
}
