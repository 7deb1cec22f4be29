//! Forwards what is not found to be a connection's by its own headers alone:
//! fragments, and ICMP errors for reals by dr and tun. The stage before this
//! one has found out whose it is.

use lb_common::{
    abi::follower,
    flow::{FlowKey as _, FlowKeyV6},
    parse::{self, Flow},
    verdict::DropReason,
};

use crate::{
    connection::{self, Found},
    family::Family,
    forward,
    packet::Packet,
    stage, stats,
};

/// On to the stage, along the connection with this key.
#[inline(always)]
pub fn go<F: Family>(packet: &Packet, key: &F::Key, follower: u32) -> u32 {
    let Some(scratch) = stage::scratch() else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    scratch.follow = FlowKeyV6::new(key.source(), key.destination(), key.protocol());
    scratch.follower = follower;
    stage::go(packet, F::FOLLOW)
}

/// The stage.
#[inline(always)]
pub fn run<F: Family>(packet: &Packet) -> u32 {
    let inconsistent = DropReason::Inconsistent;
    let Some(scratch) = stage::scratch() else {
        return stats::drop_packet(inconsistent);
    };
    let Some(flow) = flow::<F>(packet, &scratch.follow, scratch.follower) else {
        return stats::drop_packet(inconsistent);
    };
    let entry = match connection::find_rarely::<F>(&flow) {
        Found::Live(entry) => entry,
        Found::Over(over) => return over.verdict::<F>(packet),
        Found::Nothing => return stats::drop_packet(DropReason::FragmentConnectionGone),
    };
    if scratch.follower != follower::MESSAGE {
        connection::see(entry, &flow);
    }
    // SAFETY: map values stay readable while the program runs.
    forward::along(packet, &flow, unsafe { &(*entry).connection })
}

#[inline(always)]
fn flow<F: Family>(packet: &Packet, follow: &FlowKeyV6, follower: u32) -> Option<Flow<F>> {
    let datagram = F::datagram(packet, packet.network())?;
    if follower == follower::FIRST_FRAGMENT {
        return parse::flow(packet, &datagram);
    }
    let key = F::Key::new(follow.source(), follow.destination(), follow.protocol());
    Some(Flow::silent(&datagram, key))
}
