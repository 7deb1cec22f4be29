//! What lblc and lblcr remember: which reals serve an address that clients want.
//!
//! Map `LOCALITIES`, a hash from [`LocalityKey`] to [`LocalitySet`]; lblc has
//! sets of one. A pick changes a set where it lies, and other CPUs may be doing
//! the same: a lost member joins again, and whatever slot is read counts only
//! if the plan lists it.
//!
//! Plan of both: [`rows`](super::rows), weights in sixteenths, and behind them the
//! slots that have a weight, ascending, and as many weights in the same order.

use core::marker::PhantomData;

use super::{
    Context, FULL_SHARE, Load, NO_REAL,
    rows::{self, Cost},
    search,
};
use crate::{addr::Addr, service::Plan};

/// Most reals of one destination: the oldest makes room.
pub const MEMBERS: usize = 32;

/// Destinations that one service remembers, `IP_VS_LBLC_TAB_SIZE` · 16 of
/// Linux.
pub const MOST_DESTINATIONS: u32 = 16_384;

/// Weights are in sixteenths, as live connections are compared with them and a
/// slow start leaves a real some of its own.
const SIXTEENTHS: u64 = FULL_SHARE as u64;

/// Key of `LOCALITIES`, 20 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalityKey {
    /// The address that the client wants; IPv4 mapped.
    pub destination: Addr,
    /// Service slot.
    pub service: u32,
}

/// Value of `LOCALITIES`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalitySet {
    /// Monotonic, ns: the last use, and the last change of the members.
    pub used_ns: u64,
    pub changed_ns: u64,
    /// How many of `members` there are, the newest last.
    pub count: u32,
    pub pad: u32,
    /// Real slots.
    pub members: [u32; MEMBERS],
}

const _: () = assert!(size_of::<LocalityKey>() == 20);
const _: () = assert!(size_of::<LocalitySet>() == 152);

impl LocalitySet {
    /// A set of one.
    #[inline(always)]
    #[must_use]
    pub const fn new(real: u32, now_ns: u64) -> Self {
        let mut members = [NO_REAL; MEMBERS];
        members[0] = real;
        Self {
            used_ns: now_ns,
            changed_ns: now_ns,
            count: 1,
            pad: 0,
            members,
        }
    }
}

#[cfg(feature = "user")]
impl LocalitySet {
    /// Keeps these members, in their order; tells whether there were others.
    pub fn retain(&mut self, keeps: impl Fn(u32) -> bool) -> bool {
        let count = (self.count as usize).min(MEMBERS);
        let mut left = 0;
        for index in 0..count {
            if keeps(self.members[index]) {
                self.members[left] = self.members[index];
                left += 1;
            }
        }
        self.count = left as u32;
        left < count
    }
}

/// A set where it lies, which other CPUs may change at any time.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    set: *mut LocalitySet,
    lives: PhantomData<&'a LocalitySet>,
}

impl Shared<'_> {
    /// # Safety
    /// `set` is aligned and there for the lifetime, and whoever else has it
    /// goes by `Shared` too, or is another CPU.
    #[inline(always)]
    #[must_use]
    pub const unsafe fn new(set: *mut LocalitySet) -> Self {
        Self {
            set,
            lives: PhantomData,
        }
    }

    #[inline(always)]
    #[must_use]
    pub fn count(self) -> u32 {
        // SAFETY: there and aligned, by `new`.
        let count = unsafe { (&raw const (*self.set).count).read_volatile() };
        count.min(MEMBERS as u32)
    }

    #[inline(always)]
    fn set_count(self, count: u32) {
        // SAFETY: as above.
        unsafe { (&raw mut (*self.set).count).write_volatile(count) }
    }

    #[inline(always)]
    fn place(self, index: u32) -> *mut u32 {
        // SAFETY: within the array.
        unsafe {
            (&raw mut (*self.set).members)
                .cast::<u32>()
                .add(index as usize % MEMBERS)
        }
    }

    #[inline(always)]
    fn member(self, index: u32) -> u32 {
        // SAFETY: there and aligned.
        unsafe { self.place(index).read_volatile() }
    }

    #[inline(always)]
    fn set_member(self, index: u32, real: u32) {
        // SAFETY: as above.
        unsafe { self.place(index).write_volatile(real) }
    }

    /// The newest member; any slot where there is none.
    #[inline(always)]
    #[must_use]
    pub fn newest(self) -> u32 {
        self.member(self.count().wrapping_sub(1))
    }

    /// Since when the members have been the same.
    #[inline(always)]
    #[must_use]
    pub fn changed_ns(self) -> u64 {
        // SAFETY: there and aligned.
        unsafe { (&raw const (*self.set).changed_ns).read_volatile() }
    }

    #[inline(always)]
    fn note_change(self, now_ns: u64) {
        // SAFETY: as above.
        unsafe { (&raw mut (*self.set).changed_ns).write_volatile(now_ns) }
    }

    /// Notes that it is looked at.
    #[inline(always)]
    pub fn use_at(self, now_ns: u64) {
        // SAFETY: as above.
        unsafe { (&raw mut (*self.set).used_ns).write_volatile(now_ns) }
    }

    /// Makes it a set of one.
    #[inline(always)]
    pub fn replace(self, real: u32, now_ns: u64) {
        self.set_member(0, real);
        self.set_count(1);
        self.note_change(now_ns);
    }

    /// Makes a real the newest member, unless it is one.
    #[inline(always)]
    pub fn join<X: Context>(self, real: u32, context: &X) {
        let count = self.count();
        let mut is_member = false;
        X::repeat(count, |index| {
            is_member = self.member(index) == real;
            is_member
        });
        if is_member {
            return;
        }
        if count == MEMBERS as u32 {
            self.remove(0, context);
        }
        let count = self.count();
        self.set_member(count, real);
        self.set_count(count + 1);
        self.note_change(context.now_ns());
    }

    /// Takes the member at `index` away.
    #[inline(always)]
    pub fn remove<X: Context>(self, index: u32, context: &X) {
        let last = self.count().saturating_sub(1);
        X::repeat(last.saturating_sub(index), |after| {
            let index = index.wrapping_add(after);
            self.set_member(index, self.member(index.wrapping_add(1)));
            false
        });
        self.set_count(last);
        self.note_change(context.now_ns());
    }

    /// Calls `meet` for each member that has a weight, the newest first, with
    /// its index, slot, load and weight.
    #[inline(always)]
    pub fn for_each<X: Context>(
        self,
        plan: &Plan,
        context: &X,
        mut meet: impl FnMut(u32, u32, Load, u32),
    ) {
        let count = self.count();
        X::repeat(count, |before| {
            let index = count.wrapping_sub(1).wrapping_sub(before);
            let real = self.member(index);
            let weight = weight(real, plan, context);
            if weight != 0
                && let Some(load) = context.load(real)
            {
                meet(index, real, load, weight);
            }
            false
        });
    }
}

/// The weight that the plan has for a real; 0 where it lists none.
#[inline(always)]
pub fn weight(real: u32, plan: &Plan, context: &impl Context) -> u32 {
    let guess = rows::guess(real, plan, context);
    if guess != 0 {
        return guess;
    }
    let slots = rows::length(plan.cycle);
    let weights = slots + plan.length.saturating_sub(slots) / 2;
    let count = weights - slots;
    let Some(number) = search::last_up_to(real, slots, 1, count, context) else {
        return 0;
    };
    if context.word(slots + number) != Some(real) {
        return 0;
    }
    context.word(weights + number).unwrap_or(0)
}

/// Whether a real has more active connections than its weight says while
/// another has less than half of its own: `is_overloaded()` of `ip_vs_lblc.c`.
#[inline(always)]
pub fn is_overwhelmed(load: Load, weight: u32, plan: &Plan, context: &impl Context) -> bool {
    u64::from(load.active) * SIXTEENTHS > u64::from(weight)
        && rows::cheapest::<Idle, _>(plan, context) != NO_REAL
}

/// Reals that have less than half of what their weight says.
struct Idle;

impl Cost for Idle {
    const OF_OVERLOADED: bool = true;

    #[inline(always)]
    fn of(load: Load, weight: u32) -> Option<(u64, u32)> {
        let twice = u64::from(load.active) * 2 * SIXTEENTHS;
        (twice < u64::from(weight)).then_some((0, 1))
    }
}

/// The plan of lblc and lblcr.
#[cfg(feature = "user")]
pub fn plan(reals: &[super::Listed], words: &mut alloc::vec::Vec<u32>) -> u32 {
    let mut weighted = super::in_sixteenths(reals, |real| real.weight);
    let rows = rows::plan(&weighted, words);
    weighted.retain(|real| real.weight > 0);
    weighted.sort_unstable_by_key(|real| real.slot);
    words.extend(weighted.iter().map(|real| real.slot));
    words.extend(weighted.iter().map(|real| real.weight));
    rows
}
