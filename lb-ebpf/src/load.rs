//! How much each real has to do: its live connections, and whether they are
//! too many for it.

use lb_common::{real::RealCounts, scheduler::SHELF};

use crate::{
    maps::{REAL_COUNTS, REALS},
    verifier::{self, add_u32},
};

const MINUS_ONE: u32 = 1u32.wrapping_neg();

#[inline(always)]
fn counts(real: u32) -> Option<*mut RealCounts> {
    let shelf = REAL_COUNTS.get_ptr_mut(real / SHELF as u32)?;
    // SAFETY: within the value.
    Some(unsafe { shelf.cast::<RealCounts>().add(real as usize % SHELF) })
}

/// Adds to the live connections of one kind.
///
/// # Safety
/// `counts` is a map value.
#[inline(always)]
unsafe fn add(counts: *mut RealCounts, is_active: bool, number: u32) {
    // SAFETY: the fields are aligned.
    unsafe {
        if is_active {
            add_u32(&raw mut (*counts).active, number);
        } else {
            add_u32(&raw mut (*counts).inactive, number);
        }
    }
}

/// One connection more.
#[inline(always)]
pub fn put(real: u32, is_active: bool) {
    let Some(counts) = counts(real) else { return };
    // SAFETY: just looked up.
    unsafe { add(counts, is_active, 1) };
    judge(real, counts);
}

/// One connection less.
#[inline(always)]
pub fn take(real: u32, is_active: bool) {
    let Some(counts) = counts(real) else { return };
    // SAFETY: just looked up.
    unsafe { add(counts, is_active, MINUS_ONE) };
    judge(real, counts);
}

/// One connection moves between active and inactive, or does not.
#[inline(always)]
pub fn change(real: u32, was_active: bool, is_active: bool) {
    if was_active == is_active {
        return;
    }
    let Some(counts) = counts(real) else { return };
    // SAFETY: just looked up.
    unsafe {
        add(counts, was_active, MINUS_ONE);
        add(counts, is_active, 1);
    }
}

/// One persistence template more, or less.
#[inline(always)]
pub fn put_template(real: u32) {
    if let Some(counts) = counts(real) {
        // SAFETY: just looked up, aligned.
        unsafe { add_u32(&raw mut (*counts).persistent, 1) };
    }
}

#[inline(always)]
pub fn take_template(real: u32) {
    if let Some(counts) = counts(real) {
        // SAFETY: just looked up, aligned.
        unsafe { add_u32(&raw mut (*counts).persistent, MINUS_ONE) };
    }
}

/// What the daemon found to be missing, as two's complements. The thresholds
/// may be others than before.
#[inline(always)]
pub fn repair(real: u32, active: u32, inactive: u32, persistent: u32) {
    let Some(counts) = counts(real) else { return };
    // SAFETY: just looked up, aligned.
    unsafe {
        add_u32(&raw mut (*counts).active, active);
        add_u32(&raw mut (*counts).inactive, inactive);
        add_u32(&raw mut (*counts).persistent, persistent);
        (*counts).overloaded = 0;
    }
    judge(real, counts);
}

/// Whether schedulers are to leave the real out.
#[inline(always)]
fn judge(real: u32, counts: *mut RealCounts) {
    let Some(server) = REALS.get(real) else {
        return;
    };
    // SAFETY: a map value, aligned.
    unsafe {
        let live = verifier::load(&raw const (*counts).active)
            .wrapping_add(verifier::load(&raw const (*counts).inactive));
        let was = verifier::load(&raw const (*counts).overloaded) != 0;
        let is = server.is_overloaded(live, was);
        if is != was {
            (*counts).overloaded = is as u32;
        }
    }
}
