//! The walk over the persistence templates, as an iterator of the kernel's
//! (`bpf_iter`): a program that sees each template in its place, counts it for
//! its real, and writes the keys of those that are to end to whoever reads.
//! Nothing is locked but for the entry at hand, and packets come in between.
//!
//! What is written is a [`Found`] each, and now and then a pause, so that no
//! read takes long.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::seq_file,
    helpers::{bpf_ktime_get_ns, bpf_seq_write},
};
use lb_common::{
    limits::WALK_STRETCH_NS,
    persistence::{Hold, Template, TemplateKey},
    real::Live,
    sweep::{Ending, Found, Pace, mode},
};

use crate::{
    maps::{LIVE, PACE, PAUSE},
    persistence,
};

/// What an iterator over a hash map is called with: `struct
/// bpf_iter__bpf_map_elem` of kernel/bpf/map_iter.c.
#[repr(C)]
pub struct Element {
    meta: *const Meta,
    map: *const c_void,
    /// Both null at the end.
    key: *const c_void,
    value: *const c_void,
}

/// `struct bpf_iter_meta`.
#[repr(C)]
struct Meta {
    seq: *mut seq_file,
    session_id: u64,
    seq_num: u64,
}

impl Element {
    /// # Safety
    /// The kernel's, of a map of `K` and `V`.
    #[inline(always)]
    unsafe fn entry<K: Copy, V>(&self) -> Option<(K, &V)> {
        if self.key.is_null() || self.value.is_null() {
            return None;
        }
        // SAFETY: the caller's.
        unsafe {
            Some((
                self.key.cast::<K>().read_unaligned(),
                &*self.value.cast::<V>(),
            ))
        }
    }

    #[inline(always)]
    fn write<T>(&self, value: *const T) {
        // SAFETY: `value` is as long as its type; a full buffer is the reader's
        // affair, to whom the kernel shows the element again.
        unsafe { bpf_seq_write((*self.meta).seq, value.cast(), size_of::<T>() as u32) };
    }

    /// Lets the reader go from time to time; where the walk stands.
    #[inline(always)]
    fn pace(&self) -> Pace {
        let (Some(pace), Some(pause)) = (PACE.get_ptr_mut(0), PAUSE.get_ptr(0)) else {
            return Pace::default();
        };
        // SAFETY: one walk at a time.
        let pace: &mut Pace = unsafe { &mut *pace };
        // SAFETY: a helper without arguments. Iterators may not ask for the coarse
        // clock, which follows this one.
        pace.now_ns = unsafe { bpf_ktime_get_ns() };
        if pace.now_ns.wrapping_sub(pace.paused_ns) > WALK_STRETCH_NS {
            pace.paused_ns = pace.now_ns;
            self.write(pause);
        }
        *pace
    }

    #[inline(always)]
    fn write_found<K>(&self, key: K, ending: Ending) {
        let found = Found {
            key,
            mode: u32::from(ending.mode),
            after_ms: ending.after_ms,
        };
        self.write(&raw const found);
    }
}

/// One persistence template.
///
/// # Safety
/// `element` is the kernel's, of `TEMPLATES`.
#[inline(always)]
pub unsafe fn template(element: *const Element) -> i32 {
    // SAFETY: the caller's.
    let element = unsafe { &*element };
    // SAFETY: the caller's.
    let Some((key, template)) = (unsafe { element.entry::<TemplateKey, Template>() }) else {
        return 0;
    };
    if let Some(live) = LIVE.get_ptr_mut(template.real) {
        // SAFETY: one walk at a time.
        let live: &mut Live = unsafe { &mut *live };
        live.references = live.references.wrapping_add(1);
        if template.connections != Hold::CLAIMED {
            live.persistent = live.persistent.wrapping_add(1);
        }
    }
    let pace = element.pace();
    let ending = if !persistence::is_good(template.real, key.service) {
        Some(Ending::now(mode::IDLE))
    } else if template.connections == 0 {
        Ending::of_idle(template.last_seen_ns, template.timeout_s, &pace)
    } else {
        None
    };
    if let Some(ending) = ending {
        element.write_found(key, ending);
    }
    0
}
