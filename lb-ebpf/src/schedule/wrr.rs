//! Weighted round robin: `lb_common::scheduler::wrr` on the plan's bands.

use lb_common::scheduler::wrr;

use crate::packet::Packet;

#[inline(always)]
pub fn run(packet: &Packet) -> u32 {
    super::with_plan(packet, |turn, plan, words| {
        wrr::pick(turn, plan.cycle, words)
    })
}
