//! The connection table: look-up, and what each packet leaves in its entry.

use lb_common::{
    abi::settings_flag,
    connection::{Connection, ForwardingMethod, direction},
    flow::FlowKey as _,
    parse::Flow,
    tcp_state::{ConnectionState, flag, is_active_number, next_number},
    wire::protocol,
};

use crate::{
    family::Family,
    maps::{REAL_COUNTS, SETTINGS},
    stage::now_ns,
    stats,
    verifier::{add_u32, compare_and_swap_u32, load},
};

/// [`Connection::state`] of an entry that somebody is deleting: as good as
/// gone.
pub const CLAIMED: u32 = 0xff;

/// Flags that make a segment move an established connection.
const MOVING: u8 = flag::SYN | flag::FIN | flag::RST;

/// How often a state change is tried when another CPU changes it meanwhile.
const SWAP_TRIES: u32 = 4;

/// What there is of a packet's connection.
pub enum Found {
    Live(*mut Connection),
    /// Somebody is deleting it. Not the kernel's: it would answer a client that
    /// was served a moment ago with RST.
    Ending,
    Nothing,
}

/// The entry of a packet. A SYN on a closed connection ends it here, so that it
/// is scheduled anew.
#[inline(always)]
pub fn find<F: Family>(flow: &Flow<F>) -> Found {
    let Some(entry) = F::connections().get_ptr_mut(flow.key) else {
        return Found::Nothing;
    };
    // SAFETY: map values stay readable while the program runs.
    let state = unsafe { load(&raw const (*entry).state) };
    if state == ConnectionState::Established as u32 {
        return Found::Live(entry);
    }
    if state == CLAIMED {
        return Found::Ending;
    }
    if flow.key.protocol() == protocol::TCP
        && flow.segment & (flag::SYN | flag::ACK | flag::RST) == flag::SYN
        && is_reusable(entry, state)
    {
        remove::<F>(&flow.key, entry, |_| true);
        return Found::Nothing;
    }
    Found::Live(entry)
}

/// Whether a SYN may take this entry's place.
#[inline(always)]
fn is_reusable(entry: *mut Connection, state: u32) -> bool {
    const TIME_WAIT: u32 = ConnectionState::TimeWait as u32;
    const CLOSE: u32 = ConnectionState::Close as u32;
    const FIN_WAIT: u32 = ConnectionState::FinWait as u32;
    // SAFETY: map values stay readable while the program runs.
    let (method, entry_direction) = unsafe { ((*entry).method, (*entry).direction) };
    if entry_direction != direction::FORWARD {
        return false;
    }
    match state {
        TIME_WAIT | CLOSE => true,
        FIN_WAIT => {
            method != ForwardingMethod::Nat as u8
                && SETTINGS
                    .get(0)
                    .is_some_and(|s| s.flags & settings_flag::REUSE_FIN_WAIT != 0)
        }
        _ => false,
    }
}

/// Notes a packet on its entry: time, counters, state.
#[inline(always)]
pub fn see<F: Family>(entry: *mut Connection, flow: &Flow<F>) {
    // SAFETY: map values stay writable while the program runs; plain counters
    // of one flow race only when the NIC spreads it over CPUs, and then lose
    // a count.
    let (real, entry_direction) = unsafe {
        (*entry).last_seen_ns = now_ns();
        (*entry).packets = (*entry).packets.wrapping_add(1);
        (*entry).bytes += u64::from(flow.length);
        ((*entry).real, (*entry).direction)
    };
    stats::count_packet(real, entry_direction, flow.length);
    if flow.key.protocol() == protocol::TCP {
        move_state(entry, flow);
    }
}

/// Moves the TCP state. The forward entry's state is the connection's; the
/// reverse entry keeps a copy so that it need not look further while nothing
/// can change.
#[inline(always)]
fn move_state<F: Family>(entry: *mut Connection, flow: &Flow<F>) {
    // SAFETY: map values stay readable while the program runs.
    let seen = unsafe { load(&raw const (*entry).state) };
    if seen == ConnectionState::Established as u32 && flow.segment & MOVING == 0 {
        return;
    }
    // SAFETY: as above.
    let connection = unsafe { &*entry };
    // Since the look-up the element may have become another connection's.
    if connection.owner != flow.key.tag() {
        return;
    }
    let half = connection.half();
    let is_nat = connection.method == ForwardingMethod::Nat as u8;
    let partner = if is_nat {
        F::connections().get_ptr_mut(connection.partner_key::<F::Key>(flow.key.protocol()))
    } else {
        None
    };
    let owner = if connection.direction == direction::REVERSE {
        let Some(owner) = partner else { return };
        owner
    } else {
        entry
    };
    let mut state = CLAIMED;
    for _ in 0..SWAP_TRIES {
        // SAFETY: as above.
        let old = unsafe { load(&raw const (*owner).state) };
        if old == CLAIMED {
            return;
        }
        // Before the swap: afterwards the element may be another connection's.
        // SAFETY: as above.
        let real = unsafe { load(&raw const (*owner).real) };
        state = next_number(half, flow.segment, old);
        // SAFETY: as above; the field is aligned.
        if old == state || unsafe { compare_and_swap_u32(&raw mut (*owner).state, old, state) } {
            let was_active = is_active_number(old);
            if was_active != is_active_number(state) {
                move_counts(real, was_active);
            }
            break;
        }
    }
    // The copy, on whichever side it is.
    let copy = if connection.direction == direction::REVERSE {
        Some(entry)
    } else {
        partner
    };
    if let Some(copy) = copy
        && state != CLAIMED
    {
        // SAFETY: as above. The element may have become a forward entry since
        // it was looked up, whose state is no copy: that one is left alone.
        unsafe {
            let seen = load(&raw const (*copy).state);
            if load(&raw const (*copy).direction) == direction::REVERSE {
                compare_and_swap_u32(&raw mut (*copy).state, seen, state);
            }
        }
    }
}

/// Moves one connection of `real` between active and inactive.
#[inline(always)]
fn move_counts(real: u32, was_active: bool) {
    count(real, was_active, 1u32.wrapping_neg());
    count(real, !was_active, 1);
}

/// Adds to the live connections of `real`.
#[inline(always)]
pub fn count(real: u32, is_active: bool, add: u32) {
    let Some(counts) = REAL_COUNTS.get_ptr_mut(real) else {
        return;
    };
    // SAFETY: a map value, aligned.
    unsafe {
        if is_active {
            add_u32(&raw mut (*counts).active, add);
        } else {
            add_u32(&raw mut (*counts).inactive, add);
        }
    }
}

/// Ends a connection, given its forward entry: takes it out of the counts and
/// deletes it, with the reverse entry under nat. Tells whether this call did
/// it; another CPU may be first. `may_go` is asked, with the state, when no
/// packet can reach the entry any more.
#[inline(always)]
pub fn remove<F: Family>(
    key: &F::Key,
    entry: *mut Connection,
    may_go: impl FnOnce(u32) -> bool,
) -> bool {
    // SAFETY: map values stay readable while the program runs; the field is
    // aligned.
    let state = unsafe { load(&raw const (*entry).state) };
    if state == CLAIMED {
        return false;
    }
    // Claimed before it is deleted, so that one CPU alone counts it.
    // SAFETY: as above.
    if !unsafe { compare_and_swap_u32(&raw mut (*entry).state, state, CLAIMED) } {
        return false;
    }
    // SAFETY: as above; whoever meets a claimed entry leaves it alone.
    let connection = unsafe { &*entry };
    // The element of a deleted entry is used again at once: since the look-up
    // this may have become another connection's. That one stays.
    let is_it = connection.direction == direction::FORWARD && connection.owner == key.tag();
    if !is_it || !may_go(state) {
        // SAFETY: as above.
        unsafe { compare_and_swap_u32(&raw mut (*entry).state, CLAIMED, state) };
        return false;
    }
    let real = connection.real;
    if connection.method == ForwardingMethod::Nat as u8 {
        let _ = F::connections().remove(connection.partner_key::<F::Key>(key.protocol()));
    }
    let _ = F::connections().remove(key);
    count(real, is_active_number(state), 1u32.wrapping_neg());
    true
}
