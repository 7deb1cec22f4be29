//! Round robin: `lb_common::scheduler::rr` on the plan's words.

use lb_common::{scheduler::rr, service::Plan};

use super::{Turns, Words};
use crate::packet::Packet;

struct Rr;

impl Turns for Rr {
    #[inline(always)]
    fn pick(turn: u64, plan: &Plan, words: &Words) -> Option<u32> {
        rr::pick(turn, plan.cycle, words)
    }
}

#[inline(always)]
pub fn run(packet: &Packet) -> u32 {
    super::with_plan::<Rr>(packet)
}
