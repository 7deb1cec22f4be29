//! Round robin: turns of `PLANS`, slots of `PLAN_WORDS`.

use lb_common::scheduler::rr::Rr;

use crate::packet::Packet;

#[inline(always)]
pub fn run(packet: &Packet) -> u32 {
    super::run::<Rr>(packet)
}
