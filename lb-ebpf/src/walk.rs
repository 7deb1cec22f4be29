//! The walk over the tables, as an iterator of the kernel's (`bpf_iter`): a
//! program that sees each entry in its place, counts it for its real, and
//! writes the keys of those that are to end to whoever reads. Nothing is locked
//! but for the entry at hand, and packets come in between.
//!
//! What is written is a [`Found`] each, and now and then a pause, so that no
//! read takes long.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::seq_file,
    helpers::{bpf_ktime_get_ns, bpf_seq_write},
};
use lb_common::{
    connection::{Connection, direction, is_idle, mark},
    connection_state::{ConnectionState, is_active_number, is_half_open_number},
    defence::Defence,
    limits::{HALF_OPEN_REST_S, WALK_STRETCH_NS},
    persistence::{Hold, Template, TemplateKey},
    real::Live,
    sweep::{Found, Pace, mode},
};

use crate::{
    family::Family,
    fill,
    maps::{LIVE, PACE, PAUSE, SETTINGS},
    persistence,
};

/// Entries that a walk meets between two looks at the clock, a power of two,
/// where there are so many that they lie close together. Few may be far apart.
const CLOCK_STRIDE: u64 = 64;
const MANY: u32 = 65_536;

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
    fn pace(&self, entries: u32) -> Pace {
        let (Some(pace), Some(pause)) = (PACE.get_ptr_mut(0), PAUSE.get_ptr(0)) else {
            return Pace::default();
        };
        // SAFETY: one walk at a time.
        let pace: &mut Pace = unsafe { &mut *pace };
        // SAFETY: the kernel's.
        let number = unsafe { (*self.meta).seq_num };
        if entries < MANY || number & (CLOCK_STRIDE - 1) == 0 {
            // SAFETY: a helper without arguments. Iterators may not ask for the
            // coarse clock, which follows this one.
            pace.now_ns = unsafe { bpf_ktime_get_ns() };
            if pace.now_ns.wrapping_sub(pace.paused_ns) > WALK_STRETCH_NS {
                pace.paused_ns = pace.now_ns;
                self.write(pause);
            }
        }
        *pace
    }

    #[inline(always)]
    fn write_found<K>(&self, key: K, ending: Ending) {
        let found = Found {
            key,
            mode: ending.mode,
            pad: [0; 3],
            after_ms: ending.after_ms,
        };
        self.write(&raw const found);
    }
}

/// One connection's entry.
///
/// # Safety
/// `element` is the kernel's, of the family's table.
#[inline(always)]
pub unsafe fn connection<F: Family>(element: *const Element) -> i32 {
    // SAFETY: the caller's.
    let element = unsafe { &*element };
    // SAFETY: the caller's.
    let Some((key, entry)) = (unsafe { element.entry::<F::Key, Connection>() }) else {
        return 0;
    };
    note(entry);
    if let Some(ending) = judge::<F>(entry, &element.pace(fill::entries(F::NUMBER))) {
        element.write_found(key, ending);
    }
    0
}

/// How and when an entry is to end.
#[derive(Clone, Copy)]
struct Ending {
    mode: u8,
    after_ms: u32,
}

impl Ending {
    /// Of what has this timeout and was last used then: nothing where the next
    /// walk comes in time.
    #[inline(always)]
    fn of_idle(last_seen_ns: u64, timeout_s: u32, pace: &Pace) -> Option<Self> {
        let over_ns = last_seen_ns.wrapping_add(u64::from(timeout_s) * 1_000_000_000);
        if over_ns <= pace.now_ns {
            return Some(Self::now(mode::IDLE));
        }
        (over_ns <= pace.until_ns).then(|| Self {
            mode: mode::IDLE,
            after_ms: ((over_ns - pace.now_ns) / 1_000_000) as u32 + 1,
        })
    }

    #[inline(always)]
    const fn now(mode: u8) -> Self {
        Self { mode, after_ms: 0 }
    }
}

/// Counts the entry for its real.
#[inline(always)]
fn note(entry: &Connection) {
    let Some(live) = LIVE.get_ptr_mut(entry.real) else {
        return;
    };
    // SAFETY: one walk at a time.
    let live: &mut Live = unsafe { &mut *live };
    live.references = live.references.wrapping_add(1);
    let number = entry.state & ConnectionState::MASK;
    if entry.direction != direction::FORWARD
        || entry.state == mark::CLAIMED
        || number == ConnectionState::Cut as u32
    {
        return;
    }
    if is_active_number(number) {
        live.active = live.active.wrapping_add(1);
    } else {
        live.inactive = live.inactive.wrapping_add(1);
    }
}

/// How the entry is to end, if it is. A reverse entry too: the sweep ends it
/// when its forward entry is gone.
#[inline(always)]
fn judge<F: Family>(entry: &Connection, pace: &Pace) -> Option<Ending> {
    let settings = SETTINGS.get(0)?;
    let number = entry.state & ConnectionState::MASK;
    let is_forward = entry.direction == direction::FORWARD;
    let timeout_s = settings.timeouts_s[number as usize];
    let ending = Ending::of_idle(entry.last_seen_ns, timeout_s, pace);
    if ending.is_some_and(|ending| ending.after_ms == 0) {
        return ending;
    }
    // A client who answers has answered by then.
    let is_late = is_half_open_number(number)
        && is_forward
        && is_idle(pace.now_ns, entry.last_seen_ns, HALF_OPEN_REST_S);
    if is_late
        && fill::in_force(F::NUMBER, Defence::DropEntry)
        // SAFETY: a helper without arguments.
        && unsafe { aya_ebpf::helpers::bpf_get_prandom_u32() } & 1 == 0
    {
        return Some(Ending::now(mode::HALF_OPEN));
    }
    // The forward entry will be there then.
    ending.filter(|_| is_forward)
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
    let pace = element.pace(0);
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
