//! Round robin: `lb_common::scheduler::rr` on the plan's words.

use lb_common::scheduler::rr;

use crate::packet::Packet;

#[inline(always)]
pub fn run(packet: &Packet) -> u32 {
    super::with_plan(packet, |turn, plan, words| {
        rr::pick(turn, plan.cycle, words)
    })
}
