//! Ends idle connections. The daemon walks the table with batched look-ups
//! and hands the keys that look idle to this program, as the "packet" of a
//! `BPF_PROG_TEST_RUN`. The decision is made here, next to the packets: an
//! entry that a packet reached meanwhile stays.
//!
//! The packet is a [`Header`] and up to [`SWEEP_BATCH`] keys; the return value
//! is the number of connections ended. A run takes microseconds.

use core::ffi::c_void;

use aya_ebpf::{bindings::xdp_md, helpers::bpf_loop, programs::XdpContext};
use lb_common::{
    connection::{Connection, ForwardingMethod, direction, is_idle},
    flow::FlowKey as _,
    limits::SWEEP_BATCH,
    parse::Frame as _,
    sweep::{Header, mode},
};

use crate::{
    connection::{CLAIMED, remove},
    family::Family,
    maps::SETTINGS,
    packet::Packet,
    stage::now_ns,
};

/// Seconds after which nobody can still be deleting a claimed entry.
const CLAIM_REST_S: u32 = 5;

/// Of the states that have a timeout.
const STATE_MASK: u32 = 0x1f;

/// What the turns of the loop share.
struct Round {
    context: *mut xdp_md,
    now_ns: u64,
    count: u32,
    ended: u32,
    mode: u8,
}

#[inline(always)]
pub fn run<F: Family>(packet: &Packet) -> u32 {
    let Some(header) = packet.at::<Header>(0) else {
        return 0;
    };
    // SAFETY: `at` checked the bounds; the fields are byte-aligned.
    let header = unsafe { *header.as_ptr() };
    let mut round = Round {
        context: packet.context().ctx,
        now_ns: now_ns(),
        count: u32::from(header.count),
        ended: 0,
        mode: header.mode,
    };
    // A loop of the kernel's: unrolled, this would be the verifier's longest
    // walk by far.
    // SAFETY: the callback has the form that the helper asks for, and `round`
    // outlives the call.
    unsafe {
        bpf_loop(
            SWEEP_BATCH as u32,
            turn::<F> as *mut c_void,
            (&raw mut round).cast(),
            0,
        );
    }
    round.ended
}

/// One key; 1 ends the loop.
extern "C" fn turn<F: Family>(index: u32, round: *mut Round) -> i64 {
    // SAFETY: the helper passes on what `run` gave it.
    let round = unsafe { &mut *round };
    let packet = Packet::new(XdpContext::new(round.context));
    let index = index as usize & (SWEEP_BATCH - 1);
    if index as u32 >= round.count {
        return 1;
    }
    let offset = size_of::<Header>() + index * size_of::<F::Key>();
    let Some(key) = packet.at::<F::Key>(offset) else {
        return 1;
    };
    // SAFETY: `at` checked the bounds; the key is plain data.
    let key = unsafe { key.read_unaligned() };
    round.ended += u32::from(end::<F>(&key, round.mode, round.now_ns));
    0
}

/// Ends the connection with this entry if it is idle, or in any case.
#[inline(always)]
fn end<F: Family>(key: &F::Key, how: u8, now: u64) -> bool {
    let Some(entry) = F::connections().get_ptr_mut(key) else {
        return false;
    };
    // SAFETY: map values stay readable while the program runs.
    let connection = unsafe { &*entry };
    let partner = if connection.method == ForwardingMethod::Nat as u8 {
        F::connections().get_ptr_mut(connection.partner_key::<F::Key>(key.protocol()))
    } else {
        None
    };
    if connection.direction == direction::REVERSE {
        // It goes with its forward entry, unless that is gone, or has another
        // reverse entry.
        // SAFETY: as above.
        let is_orphan = partner.is_none_or(|partner| unsafe {
            (*partner).direction == direction::FORWARD
                && (*partner).partner_key::<F::Key>(key.protocol()) != *key
        });
        if connection.owner == key.tag()
            && is_orphan
            && (how == mode::ALL || idle(connection, connection, connection.state, now))
        {
            let _ = F::connections().remove(key);
        }
        return false;
    }
    // A claim lasts for the nanoseconds of a deletion; one that has stood for
    // seconds is left over from a race, and would never end.
    if connection.state == CLAIMED {
        if connection.owner == key.tag() && is_idle(now, connection.last_seen_ns, CLAIM_REST_S) {
            let _ = F::connections().remove(key);
        }
        return false;
    }
    // SAFETY: as above.
    let partner = partner.map_or(connection, |partner| unsafe { &*partner });
    let may_go = |state| how != mode::IDLE || idle(connection, partner, state, now);
    may_go(connection.state) && remove::<F>(key, entry, may_go)
}

/// Whether neither half has been used for the timeout of the state.
#[inline(always)]
fn idle(connection: &Connection, partner: &Connection, state: u32, now: u64) -> bool {
    let Some(settings) = SETTINGS.get(0) else {
        return false;
    };
    let timeout = settings.timeouts_s[(state & STATE_MASK) as usize];
    is_idle(now, connection.last_seen_ns, timeout) && is_idle(now, partner.last_seen_ns, timeout)
}
