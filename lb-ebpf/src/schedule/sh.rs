//! Source hashing: buckets of `PLAN_WORDS`.

use lb_common::scheduler::sh::Sh;

use crate::packet::Packet;

#[inline(always)]
pub fn run(packet: &Packet) -> u32 {
    super::run::<Sh>(packet)
}
