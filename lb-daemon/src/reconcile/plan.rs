//! Which writes make a service what it should be. No I/O: the image is
//! changed as if the writes had been done, and they are returned in order.

use std::{collections::HashSet, net::IpAddr, time::Instant};

use lb_common::{
    addr::{Addr, Be16},
    real::{NextHop, Pool, RealServer, flag, slot},
    scheduler::{Listed, NO_REAL, maglev::Entrant},
    service::{AddressKey, Plan, Policy, ReplyEnd, ServiceKey},
};

pub use self::new_connections::expire_quiescent;
pub(super) use self::scheduling::identity;
use self::{
    new_connections::{drop_replies, ensure_policy, ensure_replies, reply_end, welcome},
    scheduling::{Candidates, ensure_plan, ensure_share},
};
use super::{
    image::{
        HopImage, Image, NO_HOP, RealImage, ServiceImage, Welcome, nat_roles, service_key,
        service_role,
    },
    retire::{forget_if_empty, retire},
    slow_start,
};
use crate::config::model::{ForwardingMethod, Real, RealId, Service, ServiceId};

/// One write to the maps.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    SetHop {
        slot: u32,
        hop: NextHop,
    },
    /// Counters and counts to 0, before a slot gets a new owner.
    ClearReal {
        slot: u32,
    },
    ClearService {
        slot: u32,
    },
    SetReal {
        slot: u32,
        real: RealServer,
    },
    SetWords {
        first: u32,
        words: Vec<u32>,
    },
    SetPlan {
        slot: u32,
        plan: Plan,
    },
    SetCurrent {
        service: u32,
        plan: u32,
    },
    Bind {
        key: ServiceKey,
        service: u32,
    },
    Unbind {
        key: ServiceKey,
    },
    AddAddress {
        key: AddressKey,
    },
    RemoveAddress {
        key: AddressKey,
    },
    SetPool {
        service: u32,
        pool: Pool,
    },
    RemovePool {
        service: u32,
    },
    SetPolicy {
        service: u32,
        policy: Policy,
    },
    SetReply {
        from: ReplyEnd,
        to: ReplyEnd,
    },
    RemoveReply {
        from: ReplyEnd,
    },
    /// Whether a real is overloaded by its new thresholds.
    Judge {
        real: u32,
    },
    /// What lblc and lblcr remember for a service is void, or what they
    /// remember of some of its reals.
    ForgetLocalities {
        service: u32,
        reals: Option<Vec<u32>>,
    },
    /// Adds the counters of a real to what its service has of former ones.
    KeepStats {
        service: u32,
        real: u32,
    },
}

/// A map that is full, and the key of `[capacity]` that sizes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no room for another {what}: raise capacity.{key}")]
pub struct NoRoom {
    pub what: &'static str,
    pub key: &'static str,
}

const NO_SERVICE: NoRoom = NoRoom {
    what: "service",
    key: "services",
};
const NO_REAL_SLOT: NoRoom = NoRoom {
    what: "real",
    key: "reals",
};
const NO_PLAN: NoRoom = NoRoom {
    what: "scheduler's plan",
    key: "reals",
};

/// Makes `service` be there as described. `turn` is where the plan in force
/// stands in the kernel. After an error the image is not to be used any more.
pub fn service(
    image: &mut Image,
    service: &Service,
    turn: Option<u64>,
    now: Instant,
) -> Result<Vec<Op>, NoRoom> {
    let mut ops = Vec::new();
    image.reclaim(now);
    let service_slot = ensure_service(image, service.id, &mut ops)?;
    ensure_pool(image, service, service_slot, &mut ops);
    ensure_policy(image, service, &mut ops);
    let standings = image.standings.get(&service.id).cloned();
    let standings = standings.unwrap_or_default();
    let sorry = service.health.sorry_real();
    // Who shall hear of nobody but the sorry server.
    let is_closed = standings.is_lost && sorry.is_some();
    let mut listed = Vec::with_capacity(service.reals.len());
    let mut entrants = Vec::with_capacity(service.reals.len());
    // Reals whose slots are one behind the other cost least-cost schedulers least.
    let mut near = match image.services[&service.id].reals.is_empty() {
        true => image.real_slots.room_for(service.reals.len() as u32),
        false => 0,
    };
    for real in &service.reals {
        let standing = standings.of(real.id);
        let wanted = Wanted {
            real,
            weight: standing.weight(real),
            welcome: welcome(real, standing, is_closed),
        };
        let slot = ensure_real(image, service, near, wanted, now, &mut ops)?;
        near = slot + 1;
        let weight = wanted.weight;
        if is_closed || !standing.is_listed(real.state) {
            continue;
        }
        if weight > 0 && real.forward != ForwardingMethod::Nat {
            entrants.push(Entrant::new(slot, weight, identity(real.id)));
        }
        let share = ensure_share(image, service, slot, now, &mut ops);
        listed.push(Listed {
            slot,
            weight,
            last_weight: u32::from(image.reals[&slot].server.last_weight),
            share,
            identity: identity(real.id),
        });
    }
    // It has its slot and its next hop before it is needed. Nobody persists with it:
    // its clients go where a real is as soon as there is one.
    let backup = match &sorry {
        None => NO_REAL,
        Some(real) => {
            let wanted = Wanted {
                real,
                weight: 0,
                welcome: Welcome::Nobody,
            };
            ensure_real(image, service, near, wanted, now, &mut ops)?
        }
    };
    ensure_replies(image, service, &mut ops);
    let candidates = Candidates {
        listed,
        entrants,
        backup,
    };
    ensure_plan(image, service, candidates, turn, now, &mut ops)?;
    let entry = image.services.get_mut(&service.id).expect("made above");
    if !entry.bound {
        entry.bound = true;
        if let Some(role) = service_role(service.id) {
            image.addresses.take(role, &mut ops);
        }
        ops.push(Op::Bind {
            key: service_key(service.id),
            service: service_slot,
        });
    }
    let gone: Vec<RealId> = entry
        .reals
        .keys()
        .filter(|id| {
            service
                .reals
                .iter()
                .chain(&sorry)
                .all(|real| real.id != **id)
        })
        .copied()
        .collect();
    for id in gone {
        retire(image, service.id, id, now, &mut ops);
    }
    if service.masquerade.is_empty() {
        drop_pool(image, service_slot, &mut ops);
    }
    Ok(ops)
}

/// Takes a service away; established connections finish.
pub fn remove_service(image: &mut Image, id: ServiceId, now: Instant) -> Vec<Op> {
    let mut ops = Vec::new();
    let Some(entry) = image.services.get_mut(&id) else {
        return ops;
    };
    if entry.bound {
        entry.bound = false;
        ops.push(Op::Unbind {
            key: service_key(id),
        });
        if let Some(role) = service_role(id) {
            image.addresses.give_back(role, &mut ops);
        }
    }
    let slot = entry.slot;
    if let Some(plan) = entry.plan.take() {
        image.resting.push((now, plan.place));
    }
    let reals: Vec<RealId> = entry.reals.keys().copied().collect();
    for real in reals {
        retire(image, id, real, now, &mut ops);
    }
    drop_pool(image, slot, &mut ops);
    ops.push(Op::ForgetLocalities {
        service: slot,
        reals: None,
    });
    let end = reply_end(id);
    drop_replies(image, |_, to| Some(to) == end.as_ref(), &mut ops);
    forget_if_empty(image, id);
    ops
}

/// What a next hop has become; none if no real needs the address any more.
pub fn next_hop(image: &mut Image, address: IpAddr, hop: NextHop) -> Option<Op> {
    let before = *image.hop(address)?;
    let op = next_hop_again(image, address, hop);
    (image.hop(address) != Some(&before)).then_some(op?)
}

/// As [`next_hop`], also where the image has the same: the programs may have
/// lowered its MTU.
pub fn next_hop_again(image: &mut Image, address: IpAddr, hop: NextHop) -> Option<Op> {
    let entry = image.hops.get_mut(&address)?;
    entry.hop = NextHop {
        slot: slot::IN_USE,
        address: Addr::from(address),
        ..hop
    };
    Some(Op::SetHop {
        slot: entry.slot,
        hop: entry.hop,
    })
}

/// What is in the maps after a daemon that was stopped half-way and has no
/// place there, or is missing.
pub fn settle(image: &mut Image) -> Vec<Op> {
    let mut ops = Vec::new();
    image.addresses.settle(&mut ops);
    let bound = image.services.values().filter(|service| service.bound);
    let slots: HashSet<u32> = bound.map(|service| service.slot).collect();
    let stale: Vec<u32> = image
        .pools
        .keys()
        .filter(|slot| !slots.contains(slot))
        .copied()
        .collect();
    for slot in stale {
        drop_pool(image, slot, &mut ops);
    }
    ops
}

/// The pool is there before a real says that packets need it.
fn ensure_pool(image: &mut Image, service: &Service, slot: u32, ops: &mut Vec<Op>) {
    if service.masquerade.is_empty() {
        return;
    }
    let mut pool = Pool::default();
    for (place, address) in pool.addresses.iter_mut().zip(&service.masquerade) {
        *place = Addr::from(*address);
        pool.count += 1;
    }
    if image.pools.insert(slot, pool) != Some(pool) {
        ops.push(Op::SetPool {
            service: slot,
            pool,
        });
    }
}

fn drop_pool(image: &mut Image, slot: u32, ops: &mut Vec<Op>) {
    if image.pools.remove(&slot).is_some() {
        ops.push(Op::RemovePool { service: slot });
    }
}

fn ensure_service(image: &mut Image, id: ServiceId, ops: &mut Vec<Op>) -> Result<u32, NoRoom> {
    if let Some(entry) = image.services.get(&id) {
        return Ok(entry.slot);
    }
    let slot = image.service_slots.take().ok_or(NO_SERVICE)?;
    let entry = ServiceImage {
        slot,
        bound: false,
        policy: Policy::default(),
        plan: None,
        reals: Default::default(),
    };
    image.services.insert(id, entry);
    ops.extend([
        Op::ClearService { slot },
        Op::SetPolicy {
            service: slot,
            policy: Policy::default(),
        },
    ]);
    Ok(slot)
}

/// A real as it is to be.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    real: &'a Real,
    /// In force.
    weight: u32,
    welcome: Welcome,
}

fn ensure_real(
    image: &mut Image,
    service: &Service,
    near: u32,
    wanted: Wanted<'_>,
    now: Instant,
    ops: &mut Vec<Op>,
) -> Result<u32, NoRoom> {
    let Wanted {
        real,
        weight,
        welcome,
    } = wanted;
    let entry = &image.services[&service.id];
    let service_slot = entry.slot;
    let known = entry.reals.get(&real.id).copied();
    let is_up = weight > 0;
    let was_up = known.is_some_and(|slot| image.reals[&slot].is_up());
    let up_since_ms = match known {
        Some(slot) if was_up && is_up => image.reals[&slot].server.up_since_ms,
        _ if is_up && slow_start::has_others(entry) => image.clock.ms(now),
        _ => 0,
    };
    let next_hop = ensure_hop(image, real, known, ops)?;
    let lower = if real.lower_threshold == 0 {
        // ip_vs_unbind_dest() of ip_vs_conn.c: below 75 %.
        (u64::from(real.upper_threshold) * 3).div_ceil(4) as u32
    } else {
        real.lower_threshold
    };
    let before = known.map_or(0, |slot| image.reals[&slot].server.last_weight);
    let server = RealServer {
        address: Addr::from(real.id.address),
        service: service_slot,
        next_hop,
        weight: weight as u16,
        // As it would be even where it is quiesced: so it does not depend on what
        // this director has seen.
        last_weight: match real.weight.get() {
            0 => before,
            weight => weight as u16,
        },
        up_since_ms,
        upper: real.upper_threshold,
        lower,
        port: Be16::new(real.id.port),
        tunnel_port: Be16::new(real.tunnel.port),
        method: real.forward as u8,
        slot: slot::IN_USE,
        tunnel: real.tunnel.kind as u8,
        flags: flags(service, real) | welcome.flag(image.expire_quiescent),
    };
    if let Some(slot) = known {
        ensure_role(image, service, real, slot, ops);
        let entry = image
            .reals
            .get_mut(&slot)
            .expect("a service's real has its slot");
        entry.retired = None;
        entry.welcome = welcome;
        let before = std::mem::replace(&mut entry.server, server);
        if before != server {
            ops.push(Op::SetReal { slot, real: server });
        }
        if (before.upper, before.lower) != (server.upper, server.lower) {
            ops.push(Op::Judge { real: slot });
        }
        return Ok(slot);
    }
    let slot = image.real_slots.take_near(near).ok_or(NO_REAL_SLOT)?;
    image.reals.insert(
        slot,
        RealImage {
            server,
            service: Some(service.id),
            retired: None,
            roles: Vec::new(),
            welcome,
        },
    );
    image
        .services
        .get_mut(&service.id)
        .expect("made before")
        .reals
        .insert(real.id, slot);
    ensure_role(image, service, real, slot, ops);
    ops.extend([Op::ClearReal { slot }, Op::SetReal { slot, real: server }]);
    Ok(slot)
}

fn flags(service: &Service, real: &Real) -> u8 {
    let mut flags = 0;
    if real.tunnel.checksum {
        flags |= flag::TUNNEL_CHECKSUM;
    }
    if real.forward == ForwardingMethod::Nat && !service.masquerade.is_empty() {
        flags |= flag::MASQUERADE;
    }
    flags
}

/// What comes from a real under nat is known before the first packet goes
/// there.
fn ensure_role(image: &mut Image, service: &Service, real: &Real, slot: u32, ops: &mut Vec<Op>) {
    if real.forward != ForwardingMethod::Nat {
        return;
    }
    let entry = image
        .reals
        .get_mut(&slot)
        .expect("a service's real has its slot");
    for role in nat_roles(Addr::from(real.id.address), service.id) {
        if !entry.roles.contains(&role) {
            entry.roles.push(role);
            image.addresses.take(role, ops);
        }
    }
}

/// The slot of the hop towards a real, made unresolved if it is new. A real
/// of this host needs none, but what it has had before its connections need.
fn ensure_hop(
    image: &mut Image,
    real: &Real,
    known: Option<u32>,
    ops: &mut Vec<Op>,
) -> Result<u32, NoRoom> {
    let address = real.id.address;
    let held = known.map_or(NO_HOP, |slot| image.reals[&slot].server.next_hop);
    if let Some(hop) = image.hops.get(&address)
        && hop.slot == held
    {
        return Ok(held);
    }
    if real.forward == ForwardingMethod::Local {
        return Ok(NO_HOP);
    }
    if let Some(hop) = image.hops.get_mut(&address) {
        hop.users += 1;
        return Ok(hop.slot);
    }
    let slot = image.hop_slots.take().ok_or(NO_REAL_SLOT)?;
    let hop = NextHop {
        slot: slot::IN_USE,
        address: Addr::from(address),
        ..NextHop::default()
    };
    let users = 1;
    image.add_hop(address, HopImage { slot, hop, users });
    ops.push(Op::SetHop { slot, hop });
    Ok(slot)
}

mod new_connections;
mod scheduling;

#[cfg(test)]
mod health_tests;
#[cfg(test)]
mod tests;
