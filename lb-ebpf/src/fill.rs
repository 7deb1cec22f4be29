//! How full the connection tables are, and which defences that calls for.

use lb_common::{
    connection::is_idle,
    defence::{self, Defence, TableState},
    limits::STATELESS_ECHO_S,
};

use crate::{
    family::Family,
    maps::{SETTINGS, TABLE_STATES},
    stage::now_ns,
    verifier::{self, add_u32, fetch_add_u32},
};

#[inline(always)]
fn state(family: u8) -> Option<*mut TableState> {
    TABLE_STATES.get_ptr_mut(u32::from(family & 1))
}

/// Entries were added.
#[inline(always)]
pub fn put(family: u8, entries: u32) {
    if let Some(state) = state(family) {
        // SAFETY: a map value, aligned.
        unsafe { add_u32(&raw mut (*state).entries, entries) };
    }
}

/// Entries were deleted.
#[inline(always)]
pub fn took(family: u8, entries: u32) {
    put(family, entries.wrapping_neg());
}

/// A place of a family's table that was never in use.
#[inline(always)]
pub fn take_unused<F: Family>() -> Option<u32> {
    let state = state(F::NUMBER)?;
    // SAFETY: a map value, aligned.
    let next = unsafe { verifier::load(&raw const (*state).ever_used) };
    F::entries().get_ptr(next)?;
    // Another CPU may have taken this one. The number may go a little too far: as
    // many as there are CPUs.
    // SAFETY: as above.
    let place = unsafe { fetch_add_u32(&raw mut (*state).ever_used, 1) };
    F::entries().get_ptr(place).map(|_| place)
}

/// Entries of a family's table.
#[inline(always)]
pub fn entries(family: u8) -> u32 {
    // SAFETY: a map value, aligned.
    state(family).map_or(0, |state| unsafe {
        verifier::load(&raw const (*state).entries)
    })
}

/// Whether a defence is in force for a family's table.
#[inline(always)]
pub fn in_force(family: u8, defence: Defence) -> bool {
    // SAFETY: a map value, aligned.
    state(family).is_some_and(|state| unsafe {
        verifier::load(&raw const (*state).defences) & defence.bit() != 0
    })
}

/// Judges the fill anew; which defences are in force now.
#[inline(always)]
pub fn judge(family: u8) -> u32 {
    let (Some(state), Some(settings)) = (state(family), SETTINGS.get(0)) else {
        return 0;
    };
    // SAFETY: a map value, aligned; CPUs that disagree for a moment agree with
    // the next packet.
    unsafe {
        let before = verifier::load(&raw const (*state).defences);
        let entries = verifier::load(&raw const (*state).entries);
        let defences = defence::in_force(&settings.marks, defence::count(entries), before);
        if defences != before {
            if before & !defences & Defence::Stateless.bit() != 0 {
                (*state).stateful_since_ns = now_ns();
            }
            (*state).defences = defences;
        }
        defences
    }
}

/// Whether connections of a moment ago may be without an entry.
#[inline(always)]
pub fn was_stateless(family: u8) -> bool {
    // SAFETY: a map value, aligned.
    state(family).is_some_and(|state| unsafe {
        let since_ns = verifier::load(&raw const (*state).stateful_since_ns);
        since_ns != 0 && !is_idle(now_ns(), since_ns, STATELESS_ECHO_S)
    })
}
