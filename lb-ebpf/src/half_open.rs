//! Room for new connections by nat when the table is nearly full: nat cannot do
//! without entries, so connections that are still half-open go, at random.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use lb_common::{
    connection::ForwardingMethod, connection_state::is_half_open_number, verdict::DropReason,
};

use crate::{connection, family::Family, maps::SETTINGS, packet::Packet, stage, stats, table};

/// Places that are looked at for one connection that can go.
const TRIES: u32 = 2;

/// A place of [`Family::half_open`].
#[inline(always)]
fn any_place() -> u32 {
    let mask = SETTINGS
        .get(0)
        .map_or(0, |settings| settings.half_open_mask);
    // SAFETY: a helper without arguments.
    unsafe { bpf_get_prandom_u32() & mask }
}

/// Notes a connection that is about to be made, where room was made for it or
/// anywhere.
#[inline(always)]
pub fn remember<F: Family>(key: &F::Key, has_room: u32) {
    let place = has_room.checked_sub(1).unwrap_or_else(any_place);
    if let Some(place) = F::half_open().get_ptr_mut(place) {
        // SAFETY: map values stay writable while the program runs.
        unsafe { place.write(*key) };
    }
}

/// The stage: ends one that is still half-open, and goes back to making the new
/// one.
#[inline(always)]
pub fn make_room<F: Family>(packet: &Packet) -> u32 {
    let Some(scratch) = stage::scratch() else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    for _ in 0..TRIES {
        let place = any_place();
        scratch.has_room = place + 1;
        let Some(key) = F::half_open().get_ptr_mut(place) else {
            break;
        };
        // SAFETY: map values stay readable while the program runs. A key that
        // another CPU is writing leads nowhere, or to another half-open
        // connection.
        let key = unsafe { key.read() };
        if let Some(entry) = table::find_rarely::<F, { stage::PACKETS }>(&key)
            // SAFETY: as above.
            && unsafe { (*entry).connection.method } == ForwardingMethod::Nat as u8
            && connection::remove::<F, { stage::PACKETS }>(&key, entry, is_half_open_number)
        {
            break;
        }
    }
    stage::go(packet, F::CONNECT)
}
