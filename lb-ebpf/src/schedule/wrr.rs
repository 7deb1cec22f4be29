//! Weighted round robin: turns of `PLANS`, bands of `PLAN_WORDS`.

use lb_common::scheduler::wrr::Wrr;

use crate::packet::Packet;

#[inline(always)]
pub fn run(packet: &Packet) -> u32 {
    super::run::<Wrr>(packet)
}
