//! Maglev hashing: a table of `PLAN_WORDS`.

use lb_common::scheduler::mh::Mh;

use crate::packet::Packet;

#[inline(always)]
pub fn run(packet: &Packet) -> u32 {
    super::run::<Mh>(packet)
}
