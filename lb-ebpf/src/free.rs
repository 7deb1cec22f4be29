//! Places of a connection table that are not in use: a stack for each CPU of
//! those that were, and behind them all that never were. Places that were freed
//! last come first, so that what is in use lies close together.

use core::{ffi::c_void, ptr::null_mut};

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_loop};
use lb_common::table::{FREE_STACKS, Search, top, with_top};

use crate::{
    family::Family,
    fill,
    maps::TABLE,
    stage::SWEEP,
    table,
    verifier::{self, compare_and_swap_u64},
};

/// How often a stack is tried when another CPU changes it meanwhile.
const TRIES: u32 = 64;

/// Takes a place for a new entry, into the search. False: there is none.
///
/// # Safety
/// `search` is [`table::state`]'s.
#[inline(always)]
pub unsafe fn take<F: Family, const S: u32>(search: *mut Search) -> bool {
    // SAFETY: the caller's.
    unsafe {
        (*search).place = NONE;
        (*search).stack = own_stack();
        retry(TRIES, pop::<F, S> as *mut c_void);
        if (*search).place != NONE {
            return true;
        }
        if let Some(place) = fill::take_unused::<F>() {
            (*search).place = place;
            return true;
        }
        // Those of other CPUs.
        retry(FREE_STACKS + TRIES, pop_next::<F, S> as *mut c_void);
        (*search).place != NONE
    }
}

/// Gives the search's place back, whose entry nobody can find any more.
///
/// # Safety
/// As of [`take`].
#[inline(always)]
pub unsafe fn give<F: Family, const S: u32>(search: *mut Search) {
    // The sweep has no packets that would take from its CPU's.
    // SAFETY: the caller's.
    unsafe {
        (*search).stack = if S == SWEEP {
            let stacks = TABLE.get(0).map_or(1, |shape| shape.stacks);
            (*search).place.checked_rem(stacks).unwrap_or(0) % FREE_STACKS
        } else {
            own_stack()
        };
    }
    retry(TRIES, push::<F, S> as *mut c_void);
}

/// No place.
const NONE: u32 = u32::MAX;

#[inline(always)]
fn own_stack() -> u32 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_get_smp_processor_id() as u32 % FREE_STACKS }
}

#[inline(always)]
fn retry(times: u32, turn: *mut c_void) {
    // SAFETY: the callbacks below have the form that the helper asks for.
    unsafe { bpf_loop(times, turn, null_mut(), 0) };
}

#[inline(always)]
fn search<F: Family, const S: u32>() -> Option<*mut Search> {
    table::state::<F, S>().map(|(_, search)| search)
}

/// One try to take the place on top; 1 ends the loop: it is taken, or there is none.
extern "C" fn pop<F: Family, const S: u32>(_: u32, _: *mut c_void) -> i64 {
    let Some(search) = search::<F, S>() else {
        return 1;
    };
    // SAFETY: this CPU's own, and map values, aligned. Where another CPU has taken the
    // place meanwhile, `next` is anything, and the swap fails.
    unsafe {
        let Some(stack) = F::free().get_ptr_mut((*search).stack) else {
            return 1;
        };
        let stack = &raw mut (*stack).top;
        let old = verifier::load(stack);
        let Some(place) = top(old) else { return 1 };
        let Some(entry) = F::entries().get_ptr(place) else {
            return 1;
        };
        let next = verifier::load(&raw const (*entry).connection.service);
        if compare_and_swap_u64(stack, old, with_top(old, next)) {
            (*search).place = place;
            return 1;
        }
    }
    0
}

/// The same of one stack after the other, each until it gives a place or is empty.
extern "C" fn pop_next<F: Family, const S: u32>(turn: u32, context: *mut c_void) -> i64 {
    let Some(search) = search::<F, S>() else {
        return 1;
    };
    if pop::<F, S>(turn, context) == 0 {
        return 0;
    }
    // SAFETY: this programs' own on this CPU.
    unsafe {
        if (*search).place != NONE {
            return 1;
        }
        (*search).stack = ((*search).stack + 1) % FREE_STACKS;
    }
    0
}

/// One try to put a place on top; 1 ends the loop. With so many one succeeds.
extern "C" fn push<F: Family, const S: u32>(_: u32, _: *mut c_void) -> i64 {
    let Some(search) = search::<F, S>() else {
        return 1;
    };
    // SAFETY: this CPU's own, and map values, aligned, which stay writable while the
    // program runs.
    unsafe {
        let place = (*search).place;
        let (Some(stack), Some(entry)) = (
            F::free().get_ptr_mut((*search).stack),
            F::entries().get_ptr_mut(place),
        ) else {
            return 1;
        };
        let stack = &raw mut (*stack).top;
        let old = verifier::load(stack);
        (&raw mut (*entry).connection.service).write_volatile(old as u32);
        i64::from(compare_and_swap_u64(
            stack,
            old,
            with_top(old, place.wrapping_add(1)),
        ))
    }
}
