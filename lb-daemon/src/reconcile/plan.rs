//! Which writes make a service what it should be. No I/O: the image is
//! changed as if the writes had been done, and they are returned in order.

use std::{collections::HashSet, net::IpAddr, time::Instant};

use lb_common::{
    addr::{Addr, Be16},
    flow::{Endpoint, FlowKey as _, FlowKeyV6},
    real::{NextHop, Pool, RealServer, flag, slot},
    scheduler::{
        Listed, Scheduler,
        maglev::{self, Entrant},
        rr, wrr,
    },
    service::{AddressKey, Plan, Policy, ReplyEnd, ServiceKey},
};

pub use self::new_connections::expire_quiescent;
use self::new_connections::{drop_replies, ensure_policy, ensure_replies, reply_end, welcome};
use super::{
    image::{
        HopImage, Image, NO_HOP, PlanImage, PlanPlace, RealImage, ServiceImage, nat_roles,
        service_key, service_role,
    },
    retire::{forget_if_empty, retire},
};
use crate::config::model::{ForwardingMethod, Real, RealId, RealState, Service, ServiceId};

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
const NO_REAL: NoRoom = NoRoom {
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
    let mut listed = Vec::with_capacity(service.reals.len());
    let mut entrants = Vec::with_capacity(service.reals.len());
    for real in &service.reals {
        let slot = ensure_real(image, service, service_slot, real, &mut ops)?;
        let weight = real.effective_weight();
        if weight > 0 && real.forward != ForwardingMethod::Nat {
            entrants.push(Entrant::new(slot, weight, identity(real.id)));
        }
        // A real in maint is not there for the scheduler.
        if real.state != RealState::Maint {
            listed.push(Listed { slot, weight });
        }
    }
    ensure_replies(image, service, &mut ops);
    ensure_plan(image, service, listed, entrants, turn, now, &mut ops)?;
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
        .filter(|id| service.reals.iter().all(|real| real.id != **id))
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

fn ensure_real(
    image: &mut Image,
    service: &Service,
    service_slot: u32,
    real: &Real,
    ops: &mut Vec<Op>,
) -> Result<u32, NoRoom> {
    let known = image.services[&service.id].reals.get(&real.id).copied();
    let next_hop = ensure_hop(image, real, known, ops)?;
    let welcome = welcome(real);
    let lower = if real.lower_threshold == 0 {
        // ip_vs_unbind_dest() of ip_vs_conn.c: below 75 %.
        (u64::from(real.upper_threshold) * 3).div_ceil(4) as u32
    } else {
        real.lower_threshold
    };
    let server = RealServer {
        address: Addr::from(real.id.address),
        service: service_slot,
        next_hop,
        weight: real.effective_weight(),
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
    let slot = image.real_slots.take().ok_or(NO_REAL)?;
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

/// What tells a real from others, the same on every director.
fn identity(real: RealId) -> u64 {
    let end = Endpoint {
        address: Addr::from(real.address),
        port: Be16::new(real.port),
    };
    FlowKeyV6::new(end, end, 0).tag()
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
    let slot = image.hop_slots.take().ok_or(NO_REAL)?;
    let hop = NextHop {
        slot: slot::IN_USE,
        address: Addr::from(address),
        ..NextHop::default()
    };
    let users = 1;
    image.hops.insert(address, HopImage { slot, hop, users });
    ops.push(Op::SetHop { slot, hop });
    Ok(slot)
}

fn ensure_plan(
    image: &mut Image,
    service: &Service,
    listed: Vec<Listed>,
    mut entrants: Vec<Entrant>,
    turn: Option<u64>,
    now: Instant,
    ops: &mut Vec<Op>,
) -> Result<(), NoRoom> {
    let scheduler = service.scheduler;
    let mut words = Vec::new();
    let cycle = match scheduler {
        Scheduler::Rr => rr::plan(&listed, &mut words),
        Scheduler::Wrr => wrr::plan(&listed, &mut words),
    };
    let mut table = vec![0; maglev::length(entrants.len() as u32) as usize];
    maglev::fill(&mut entrants, &mut table);
    let entry = image.services.get_mut(&service.id).expect("made before");
    if let Some(current) = &mut entry.plan {
        let same_reals = scheduler == Scheduler::Rr || are_same(&current.listed, &listed);
        let same_words = current.words == words && current.table == table;
        if current.plan.scheduler == scheduler as u32 && same_words && same_reals {
            current.listed = listed;
            return Ok(());
        }
    }
    let start = start_turn(scheduler, entry.plan.as_ref(), turn, &listed);
    let (length, table_length) = (words.len() as u32, table.len() as u32);
    let slot = image.plan_slots.take().ok_or(NO_PLAN)?;
    let first = image.words.take(length + table_length).ok_or(NO_PLAN)?;
    let plan = Plan {
        scheduler: scheduler as u32,
        first,
        length,
        cycle,
        table_first: first + length,
        table_length,
        start,
        turn: start,
    };
    let place = PlanPlace {
        slot,
        first,
        length: length + table_length,
    };
    let all: Vec<u32> = words.iter().chain(&table).copied().collect();
    let service_slot = entry.slot;
    if let Some(old) = entry.plan.replace(PlanImage {
        place,
        plan,
        words,
        table,
        listed,
    }) {
        image.resting.push((now, old.place));
    }
    ops.extend([
        Op::SetWords { first, words: all },
        Op::SetPlan { slot, plan },
        Op::SetCurrent {
            service: service_slot,
            plan: slot,
        },
    ]);
    Ok(())
}

/// Whether a scheduler that goes by weights sees the same reals: where the
/// ones of weight 0 stand makes no difference, and adoption does not know it.
fn are_same(before: &[Listed], after: &[Listed]) -> bool {
    let eligible = |reals: &[Listed]| {
        reals
            .iter()
            .filter(|r| r.weight > 0)
            .copied()
            .collect::<Vec<_>>()
    };
    let quiesced = |reals: &[Listed]| {
        reals
            .iter()
            .filter(|r| r.weight == 0)
            .map(|r| r.slot)
            .collect::<HashSet<_>>()
    };
    eligible(before) == eligible(after) && quiesced(before) == quiesced(after)
}

/// Where a new plan takes up the old one's sequence.
fn start_turn(
    scheduler: Scheduler,
    old: Option<&PlanImage>,
    turn: Option<u64>,
    listed: &[Listed],
) -> u64 {
    let (Some(old), Some(turn)) = (old, turn) else {
        return 0;
    };
    if old.plan.scheduler != scheduler as u32 {
        return 0;
    }
    match scheduler {
        Scheduler::Rr => {
            let last = (turn > 0 && old.plan.cycle > 0).then(|| {
                let index = (turn - 1) % u64::from(old.plan.cycle);
                old.words[index as usize]
            });
            let before: Vec<u32> = old.listed.iter().map(|real| real.slot).collect();
            rr::resume(last, &before, listed)
        }
        Scheduler::Wrr => wrr::resume(old.plan.start, turn, &old.listed, listed),
    }
}

mod new_connections;

#[cfg(test)]
mod tests;
