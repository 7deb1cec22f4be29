//! Least connections: rows of `PLAN_WORDS` beside `REAL_COUNTS`.

use lb_common::scheduler::lc::Lc;

use crate::packet::Packet;

#[inline(always)]
pub fn run(packet: &Packet) -> u32 {
    super::run::<Lc>(packet)
}
