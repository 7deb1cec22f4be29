//! The schedulers' kernel side: one program each, which runs `lb_common`'s pick
//! on the plan in force and goes on to `connect`.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::{bpf_get_prandom_u32, bpf_loop},
};
use lb_common::{
    abi::{Scratch, message},
    real::RealCounts,
    scheduler::{
        Context, Key, Load, Loads, NO_REAL, Pick, SHELF,
        locality::{LocalityKey, LocalitySet, MOST_DESTINATIONS, Shared},
    },
    service::Plan,
    verdict::DropReason,
};

use crate::{
    arrive,
    maps::{LOCALITIES, LOCALITY_COUNTS, PLAN_WORDS, PLANS, REAL_COUNTS, SETTINGS},
    packet::Packet,
    stage, stats,
    verifier::{self, add_u32, fetch_add_u64},
};

macro_rules! modules {
    ($($number:literal $name:ident $module:ident $program:ident;)*) => {
        $(pub mod $module;)*
    };
}
lb_common::schedulers!(modules);

/// Picks from the plan in force and makes the connection; without a pick the sorry
/// server has it, or the client hears "port unreachable".
#[inline(always)]
pub fn run<P: Pick>(packet: &Packet) -> u32 {
    let Some(scratch) = stage::scratch() else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    let Some(plan) = PLANS.get_ptr_mut(scratch.plan) else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    // SAFETY: a map value; what may change meanwhile is `turn` alone, which
    // picks do not read.
    let mut real = P::pick(unsafe { &*plan }, &Maps { plan, scratch });
    if real == NO_REAL {
        // SAFETY: as above.
        real = unsafe { (*plan).backup };
    }
    if real != NO_REAL {
        scratch.real = real;
        return arrive::picked(packet, scratch);
    }
    stage::answer_family(
        packet,
        scratch.family,
        DropReason::NoReal,
        message::PORT_UNREACHABLE,
        0,
    )
}

/// What a pick sees: the maps, and what `arrive` left in the scratch.
struct Maps {
    plan: *mut Plan,
    scratch: *const Scratch,
}

impl Maps {
    #[inline(always)]
    fn plan(&self) -> &Plan {
        // SAFETY: a map value that stays where it is.
        unsafe { &*self.plan }
    }

    #[inline(always)]
    fn scratch(&self) -> &Scratch {
        // SAFETY: this CPU's, which nobody changes during a pick.
        unsafe { &*self.scratch }
    }

    #[inline(always)]
    fn locality_key(&self) -> LocalityKey {
        let scratch = self.scratch();
        LocalityKey {
            destination: scratch.key.destination,
            service: scratch.service,
        }
    }
}

/// [`SHELF`], as words and real slots count.
const PLACES: u32 = SHELF as u32;

/// A word of `PLAN_WORDS`, of whichever plan.
#[inline(always)]
pub fn plan_word(at: u32) -> Option<u32> {
    let shelf = PLAN_WORDS.get(at / PLACES)?;
    Some(shelf[(at % PLACES) as usize])
}

/// Live connections of reals side by side.
struct Shelf(*const [RealCounts; SHELF]);

impl Loads for Shelf {
    #[inline(always)]
    fn at(&self, place: usize) -> Load {
        // SAFETY: a map value, and within it; the fields are aligned.
        unsafe {
            let counts = self.0.cast::<RealCounts>().add(place % SHELF);
            Load {
                active: verifier::load(&raw const (*counts).active),
                inactive: verifier::load(&raw const (*counts).inactive),
                overloaded: verifier::load(&raw const (*counts).overloaded),
            }
        }
    }
}

impl Context for Maps {
    #[inline(always)]
    fn word(&self, index: u32) -> Option<u32> {
        let plan = self.plan();
        if index >= plan.length {
            return None;
        }
        plan_word(plan.first.wrapping_add(index))
    }

    #[inline(always)]
    fn words(&self, shelf: u32) -> Option<&[u32; SHELF]> {
        PLAN_WORDS.get((self.plan().first / PLACES).wrapping_add(shelf))
    }

    #[inline(always)]
    fn loads(&self, shelf: u32) -> Option<impl Loads> {
        REAL_COUNTS.get_ptr(shelf).map(Shelf)
    }

    #[inline(always)]
    fn next_turn(&self) -> u64 {
        // SAFETY: a map value, aligned; `turn` is the only field written here.
        unsafe { fetch_add_u64(&raw mut (*self.plan).turn, 1) }
    }

    #[inline(always)]
    fn skip_turns(&self, number: u64) {
        // SAFETY: as above.
        unsafe { fetch_add_u64(&raw mut (*self.plan).turn, number) };
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_get_prandom_u32() }
    }

    #[inline(always)]
    fn now_ns(&self) -> u64 {
        stage::now_ns()
    }

    #[inline(always)]
    fn key(&self) -> Key {
        self.scratch().key
    }

    #[inline(always)]
    fn locality_expiry_ns(&self) -> u64 {
        let expiry_s = SETTINGS.get(0).map_or(0, |settings| settings.locality_s);
        u64::from(expiry_s) * 1_000_000_000
    }

    #[inline(always)]
    fn locality(&self) -> Option<Shared<'_>> {
        let set = LOCALITIES.get_ptr_mut(self.locality_key())?;
        // SAFETY: a map value. It may be another destination's soon: to a pick
        // its members are but slots to be checked.
        let set = unsafe { Shared::new(set) };
        set.use_at(self.now_ns());
        Some(set)
    }

    #[inline(always)]
    fn remember(&self, real: u32) {
        let Some(count) = LOCALITY_COUNTS.get_ptr_mut(self.scratch().service) else {
            return;
        };
        // SAFETY: a map value, aligned.
        if unsafe { verifier::load(count) } >= MOST_DESTINATIONS {
            return;
        }
        let set = LocalitySet::new(real, self.now_ns());
        if LOCALITIES
            .insert(self.locality_key(), set, u64::from(BPF_NOEXIST))
            .is_ok()
        {
            // SAFETY: as above.
            unsafe { add_u32(count, 1) };
        }
    }

    #[inline(always)]
    fn repeat(times: u32, mut body: impl FnMut(u32) -> bool) {
        repeat(times, &mut body);
    }
}

/// `bpf_loop` over a closure.
#[inline(always)]
fn repeat<F: FnMut(u32) -> bool>(times: u32, body: &mut F) {
    /// A turn of the loop; 1 ends it.
    extern "C" fn turn<F: FnMut(u32) -> bool>(index: u32, body: *mut F) -> i64 {
        // SAFETY: the helper passes on what it is given below.
        let body = unsafe { &mut *body };
        i64::from(body(index))
    }
    // SAFETY: the callback has the form that the helper asks for, and `body`
    // outlives the call.
    unsafe {
        bpf_loop(
            times,
            turn::<F> as *mut c_void,
            core::ptr::from_mut(body).cast(),
            0,
        );
    }
}
