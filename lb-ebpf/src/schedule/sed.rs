//! Shortest expected delay: rows of `PLAN_WORDS` beside `REAL_COUNTS`.

use lb_common::scheduler::sed::Sed;

use crate::packet::Packet;

#[inline(always)]
pub fn run(packet: &Packet) -> u32 {
    super::run::<Sed>(packet)
}
