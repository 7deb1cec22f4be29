//! Direct routing: the frame goes on with the real's MAC address; the IP
//! packet stays as it is but for the TTL.

use lb_common::{parse::Flow, real::NextHop};

use crate::{family::Family, packet::Packet, transmit};

#[inline(always)]
pub fn to_real<F: Family>(packet: &Packet, flow: &Flow<F>, hop: &NextHop) -> u32 {
    if let Some(verdict) = super::too_big(packet, flow, hop, 0) {
        return verdict;
    }
    super::decrement_ttl(flow);
    transmit::by_hop(packet, hop)
}
