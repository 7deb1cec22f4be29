//! Locality: `LOCALITIES`, else rows of `PLAN_WORDS` beside `REAL_COUNTS`.

use lb_common::scheduler::lblc::Lblc;

use crate::packet::Packet;

#[inline(always)]
pub fn run(packet: &Packet) -> u32 {
    super::run::<Lblc>(packet)
}
