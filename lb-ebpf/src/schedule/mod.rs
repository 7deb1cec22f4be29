//! The schedulers' kernel side: one program each, which reads the plan in
//! force, picks a real and goes on to `connect`.

pub mod rr;
pub mod wrr;

use lb_common::{
    abi::{message, stage as stages},
    scheduler::PlanWords,
    service::Plan,
    verdict::DropReason,
};

use crate::{
    maps::{PLAN_WORDS, PLANS},
    packet::Packet,
    stage, stats,
    verifier::fetch_add_u64,
};

/// The words of one plan.
pub struct Words {
    first: u32,
    length: u32,
}

impl PlanWords for Words {
    #[inline(always)]
    fn word(&self, index: u32) -> Option<u32> {
        if index >= self.length {
            return None;
        }
        PLAN_WORDS.get(self.first.wrapping_add(index)).copied()
    }
}

/// Runs `pick` on the plan in force with its next turn and makes the
/// connection; without a pick the client hears "port unreachable".
#[inline(always)]
pub fn with_plan(packet: &Packet, pick: impl Fn(u64, &Plan, &Words) -> Option<u32>) -> u32 {
    let Some(scratch) = stage::scratch() else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    let Some(plan) = PLANS.get_ptr_mut(scratch.plan) else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    // SAFETY: a map value, aligned; `turn` is the only field written here.
    let turn = unsafe { fetch_add_u64(&raw mut (*plan).turn, 1) };
    // SAFETY: as above.
    let plan = unsafe { &*plan };
    let words = Words {
        first: plan.first,
        length: plan.length,
    };
    match pick(turn, plan, &words) {
        Some(real) => {
            scratch.real = real;
            stage::go(packet, stages::CONNECT_V4 + u32::from(scratch.family & 1))
        }
        None => stage::answer_family(
            packet,
            scratch.family,
            DropReason::NoReal,
            message::PORT_UNREACHABLE,
            0,
        ),
    }
}
