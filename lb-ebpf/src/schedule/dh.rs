//! Destination hashing: buckets of `PLAN_WORDS`.

use lb_common::scheduler::dh::Dh;

use crate::packet::Packet;

#[inline(always)]
pub fn run(packet: &Packet) -> u32 {
    super::run::<Dh>(packet)
}
