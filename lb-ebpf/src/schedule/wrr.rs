//! Weighted round robin: `lb_common::scheduler::wrr` on the plan's bands.

use lb_common::{scheduler::wrr, service::Plan};

use super::{Turns, Words};
use crate::packet::Packet;

struct Wrr;

impl Turns for Wrr {
    #[inline(always)]
    fn pick(turn: u64, plan: &Plan, words: &Words) -> Option<u32> {
        wrr::pick(turn, plan.cycle, words)
    }
}

#[inline(always)]
pub fn run(packet: &Packet) -> u32 {
    super::with_plan::<Wrr>(packet)
}
