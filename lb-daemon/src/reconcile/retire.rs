//! The way out: a deleted real keeps its slot while connections refer to it,
//! and then gives back everything that it held.

use std::{collections::BTreeMap, net::IpAddr, time::Instant};

use lb_common::real::{NextHop, RealServer, slot};

use super::{
    image::{Image, NO_HOP},
    plan::Op,
};
use crate::config::model::{RealId, ServiceId};

/// Gives back the slots of deleted reals that no connection refers to, as a
/// walk that began at `began` found.
pub fn free_retired(
    image: &mut Image,
    began: Instant,
    is_referenced: impl Fn(u32) -> bool,
) -> Vec<Op> {
    let free: Vec<u32> = image
        .reals
        .iter()
        .filter(|(slot, real)| real.retired.is_some_and(|at| at < began) && !is_referenced(**slot))
        .map(|(slot, _)| *slot)
        .collect();
    let mut ops = forget(image, &free);
    for slot in free {
        free_real(image, slot, &mut ops);
    }
    ops
}

/// Schedulers forget these reals, before anybody else gets their slots. To look
/// through what a service remembers takes as long for one real as for many.
fn forget(image: &Image, slots: &[u32]) -> Vec<Op> {
    let mut by_service = BTreeMap::<u32, Vec<u32>>::new();
    for slot in slots {
        let service = image.reals[slot].server.service;
        by_service.entry(service).or_default().push(*slot);
    }
    let forgotten = by_service.into_iter();
    forgotten
        .map(|(service, reals)| Op::ForgetLocalities {
            service,
            reals: Some(reals),
        })
        .collect()
}

/// Marks a real as deleted; its connections go on.
pub(super) fn retire(
    image: &mut Image,
    service: ServiceId,
    id: RealId,
    now: Instant,
    ops: &mut Vec<Op>,
) {
    let slot = image.services[&service].reals[&id];
    let Some(real) = image.reals.get_mut(&slot) else {
        return;
    };
    if real.retired.is_some() {
        return;
    }
    real.retired = Some(now);
    real.server.slot = slot::RETIRED;
    ops.push(Op::SetReal {
        slot,
        real: real.server,
    });
}

fn free_real(image: &mut Image, slot: u32, ops: &mut Vec<Op>) {
    let Some(real) = image.reals.remove(&slot) else {
        return;
    };
    image.real_slots.give_back(slot);
    if real
        .service
        .is_some_and(|id| image.services.get(&id).is_some_and(|s| s.bound))
    {
        ops.push(Op::KeepStats {
            service: real.server.service,
            real: slot,
        });
    }
    ops.push(Op::SetReal {
        slot,
        real: RealServer::default(),
    });
    for role in real.roles {
        image.addresses.give_back(role, ops);
    }
    let address = IpAddr::from(real.server.address);
    if real.server.next_hop != NO_HOP
        && let Some(hop) = image.hops.get_mut(&address)
    {
        hop.users = hop.users.saturating_sub(1);
        if hop.users == 0 {
            let slot = hop.slot;
            image.remove_hop(address);
            image.hop_slots.give_back(slot);
            ops.push(Op::SetHop {
                slot,
                hop: NextHop::default(),
            });
        }
    }
    match real.service {
        Some(service) => {
            let id = RealId {
                address,
                port: real.server.port.get(),
            };
            if let Some(entry) = image.services.get_mut(&service) {
                entry.reals.remove(&id);
            }
            forget_if_empty(image, service);
        }
        // A deleted service that was found at adoption: its slot goes with
        // the last of its reals.
        None => {
            let service = real.server.service;
            if image
                .reals
                .values()
                .all(|other| other.server.service != service)
            {
                image.service_slots.give_back(service);
            }
        }
    }
}

/// Forgets a deleted service that has no real any more.
pub(super) fn forget_if_empty(image: &mut Image, id: ServiceId) {
    if image
        .services
        .get(&id)
        .is_some_and(|entry| !entry.bound && entry.reals.is_empty())
    {
        let entry = image.services.remove(&id).expect("just found");
        image.service_slots.give_back(entry.slot);
    }
}
