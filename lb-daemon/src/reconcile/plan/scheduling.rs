//! The plan that a scheduler picks from: its words, and where it begins.

use std::time::Instant;

use lb_common::{
    addr::Addr,
    scheduler::{
        self, FULL_SHARE, Former, Listed, SHELF,
        maglev::{self, Entrant},
    },
    service::Plan,
};

use super::{NO_PLAN, NoRoom, Op};
use crate::{
    config::model::{RealId, Service},
    reconcile::{
        image::{Image, PlanImage, PlanPlace},
        slow_start,
    },
};

/// What tells a real from others, the same on every director.
pub(in crate::reconcile) fn identity(real: RealId) -> u64 {
    scheduler::hash(&Addr::from(real.address), u32::from(real.port))
}

/// The share of a real's part, and no more of its slow start once that is whole: a
/// longer one later on is not for one that has been through.
pub(super) fn ensure_share(
    image: &mut Image,
    service: &Service,
    slot: u32,
    now: Instant,
    ops: &mut Vec<Op>,
) -> u32 {
    let Some(up) = image.starting_for(slot, now) else {
        return FULL_SHARE;
    };
    let share = slow_start::share(service, up);
    if share == FULL_SHARE {
        let server = &mut image.reals.get_mut(&slot).expect("in use").server;
        server.up_since_ms = 0;
        let real = *server;
        ops.push(Op::SetReal { slot, real });
    }
    share
}

/// Whom a plan is made of.
pub(super) struct Candidates {
    pub listed: Vec<Listed>,
    /// Of those, who can do without an entry.
    pub entrants: Vec<Entrant>,
    /// The slot of who takes what none of them does, or [`scheduler::NO_REAL`].
    pub backup: u32,
}

pub(super) fn ensure_plan(
    image: &mut Image,
    service: &Service,
    candidates: Candidates,
    turn: Option<u64>,
    now: Instant,
    ops: &mut Vec<Op>,
) -> Result<(), NoRoom> {
    let Candidates {
        listed,
        mut entrants,
        backup,
    } = candidates;
    let layout = service.scheduler.layout();
    let options = scheduler::Options {
        flags: service.scheduler_flags,
        table_size: service.mh_table_size,
    };
    let mut words = Vec::new();
    let cycle = layout.plan(&listed, options, &mut words);
    let mut table = vec![0; maglev::length(entrants.len() as u32) as usize];
    maglev::fill(&mut entrants, &mut table);
    let entry = image.services.get_mut(&service.id).expect("made before");
    let mut plan = Plan {
        scheduler: service.scheduler as u32,
        flags: options.flags,
        length: words.len() as u32,
        cycle,
        table_length: table.len() as u32,
        listed: listed.len() as u32,
        backup,
        ..Plan::default()
    };
    let mut all = words;
    all.extend(table);
    all.extend(listed.iter().map(|real| real.slot));
    if let Some(current) = &mut entry.plan
        && current.is_of(&plan, &all)
        && layout.keeps_turn(&current.listed, &listed)
    {
        current.listed = listed;
        return Ok(());
    }
    plan.start = start_turn(layout, plan.scheduler, entry.plan.as_ref(), turn, &listed);
    plan.turn = plan.start;
    all.resize(all.len().next_multiple_of(SHELF), 0);
    let length = all.len() as u32;
    let slot = image.plan_slots.take().ok_or(NO_PLAN)?;
    plan.first = image.words.take(length).ok_or(NO_PLAN)?;
    plan.table_first = plan.first + plan.length;
    let place = PlanPlace {
        slot,
        first: plan.first,
        length,
    };
    let service_slot = entry.slot;
    let old = entry.plan.replace(PlanImage {
        place,
        plan,
        words: all.clone(),
        listed,
    });
    ops.extend([
        Op::SetWords {
            first: plan.first,
            words: all,
        },
        Op::SetPlan { slot, plan },
        Op::SetCurrent {
            service: service_slot,
            plan: slot,
        },
    ]);
    if let Some(old) = old {
        image.resting.push((now, old.place));
        // Once nobody remembers by the old one any more.
        if old.plan.scheduler != plan.scheduler {
            ops.push(Op::ForgetLocalities {
                service: service_slot,
                reals: None,
            });
        }
    }
    Ok(())
}

/// Where a new plan takes up the old one's sequence.
fn start_turn(
    layout: &dyn scheduler::Layout,
    number: u32,
    old: Option<&PlanImage>,
    turn: Option<u64>,
    listed: &[Listed],
) -> u64 {
    let (Some(old), Some(turn)) = (old, turn) else {
        return 0;
    };
    if old.plan.scheduler != number {
        return 0;
    }
    let former = Former {
        reals: &old.listed,
        words: &old.words[..old.plan.length as usize],
        cycle: old.plan.cycle,
        start: old.plan.start,
        turn,
    };
    layout.resume(&former, listed)
}
