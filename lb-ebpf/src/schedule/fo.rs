//! Weighted failover: rows of `PLAN_WORDS`; of `REAL_COUNTS` who is overloaded.

use lb_common::scheduler::fo::Fo;

use crate::packet::Packet;

#[inline(always)]
pub fn run(packet: &Packet) -> u32 {
    super::run::<Fo>(packet)
}
