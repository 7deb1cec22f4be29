//! Two draws by weight: sums of `PLAN_WORDS`, and `REAL_COUNTS`.

use lb_common::scheduler::twos::Twos;

use crate::packet::Packet;

#[inline(always)]
pub fn run(packet: &Packet) -> u32 {
    super::run::<Twos>(packet)
}
