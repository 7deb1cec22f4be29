//! Weighted overflow: rows of `PLAN_WORDS` beside `REAL_COUNTS`.

use lb_common::scheduler::ovf::Ovf;

use crate::packet::Packet;

#[inline(always)]
pub fn run(packet: &Packet) -> u32 {
    super::run::<Ovf>(packet)
}
