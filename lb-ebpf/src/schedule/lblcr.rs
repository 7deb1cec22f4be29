//! Locality with replication: sets of `LOCALITIES`, and rows of `PLAN_WORDS`
//! beside `REAL_COUNTS`.

use lb_common::scheduler::lblcr::Lblcr;

use crate::packet::Packet;

#[inline(always)]
pub fn run(packet: &Packet) -> u32 {
    super::run::<Lblcr>(packet)
}
