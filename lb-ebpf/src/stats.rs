//! Counters: per real and CPU, and one for each reason to drop.

use aya_ebpf::bindings::xdp_action::XDP_DROP;
use lb_common::{connection::direction, verdict::DropReason};

use crate::maps::{DROPS, REAL_STATS};

/// Counts one packet of a connection of `real`.
#[inline(always)]
pub fn count_packet(real: u32, entry_direction: u8, bytes: u16) {
    let Some(stats) = REAL_STATS.get_ptr_mut(real) else {
        return;
    };
    // SAFETY: a per-CPU value, and nothing else on this CPU runs meanwhile.
    let stats = unsafe { &mut *stats };
    if entry_direction == direction::FORWARD {
        stats.in_packets += 1;
        stats.in_bytes += u64::from(bytes);
    } else {
        stats.out_packets += 1;
        stats.out_bytes += u64::from(bytes);
    }
}

/// Counts a new connection of `real`.
#[inline(always)]
pub fn count_connection(real: u32) {
    if let Some(stats) = REAL_STATS.get_ptr_mut(real) {
        // SAFETY: as in `count_packet`.
        unsafe { (*stats).connections += 1 };
    }
}

/// Counts and returns the verdict.
#[inline(always)]
pub fn drop_packet(reason: DropReason) -> u32 {
    count(reason as u32);
    XDP_DROP
}

/// Adds one to an entry of `DROPS`.
#[inline(always)]
pub fn count(slot: u32) {
    if let Some(counter) = DROPS.get_ptr_mut(slot) {
        // SAFETY: as in `count_packet`.
        unsafe { *counter += 1 };
    }
}
