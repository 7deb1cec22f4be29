//! Weighted least connections: rows of `PLAN_WORDS` beside `REAL_COUNTS`.

use lb_common::scheduler::wlc::Wlc;

use crate::packet::Packet;

#[inline(always)]
pub fn run(packet: &Packet) -> u32 {
    super::run::<Wlc>(packet)
}
