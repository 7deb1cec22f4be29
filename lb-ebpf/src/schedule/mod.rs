//! The schedulers' kernel side: one program each, which reads the plan in
//! force, picks a real and goes on to `connect`.

pub mod rr;
pub mod wrr;

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_loop;
use lb_common::{abi::message, scheduler::PlanWords, service::Plan, verdict::DropReason};

use crate::{
    arrive, load,
    maps::{PLAN_WORDS, PLANS},
    packet::Packet,
    stage, stats,
    verifier::fetch_add_u64,
};

/// The words of one plan.
pub struct Words {
    first: u32,
    length: u32,
}

impl PlanWords for Words {
    #[inline(always)]
    fn word(&self, index: u32) -> Option<u32> {
        if index >= self.length {
            return None;
        }
        PLAN_WORDS.get(self.first.wrapping_add(index)).copied()
    }
}

/// Turns that are taken for one packet: beyond, every real is as good as
/// overloaded.
const MOST_TURNS: u32 = 4096;

/// A scheduler that takes turns.
pub trait Turns {
    /// The real slot of a turn; [`NO_REAL`] where there is none.
    fn pick(turn: u64, plan: &Plan, words: &Words) -> Option<u32>;
}

/// No real slot. An `Option` would be half undefined, and so a register that
/// the verifier does not allow to be stored.
const NO_REAL: u32 = u32::MAX;

/// The search for a real that is not overloaded.
struct Round {
    plan: *mut Plan,
    real: u32,
}

impl Round {
    /// Takes the next turn; tells whether another one may help.
    #[inline(always)]
    fn turn<T: Turns>(&mut self) -> bool {
        // SAFETY: a map value, aligned; `turn` is the only field written here.
        let turn = unsafe { fetch_add_u64(&raw mut (*self.plan).turn, 1) };
        // SAFETY: as above.
        let plan = unsafe { &*self.plan };
        let words = Words {
            first: plan.first,
            length: plan.length,
        };
        let real = T::pick(turn, plan, &words).unwrap_or(NO_REAL);
        if real != NO_REAL && load::is_overloaded(real) {
            return true;
        }
        self.real = real;
        false
    }
}

/// A turn of the loop; 1 ends it.
extern "C" fn turn<T: Turns>(_: u32, round: *mut Round) -> i64 {
    // SAFETY: the helper passes on what `with_plan` gave it.
    let round = unsafe { &mut *round };
    i64::from(!round.turn::<T>())
}

/// Picks from the plan in force with its next turn and makes the connection;
/// without a pick the client hears "port unreachable".
#[inline(always)]
pub fn with_plan<T: Turns>(packet: &Packet) -> u32 {
    let Some(scratch) = stage::scratch() else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    let Some(plan) = PLANS.get_ptr_mut(scratch.plan) else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    let mut round = Round {
        plan,
        real: NO_REAL,
    };
    // Reals that are overloaded lose their turn.
    if round.turn::<T>() {
        // SAFETY: a map value.
        let tries = unsafe { (*plan).cycle }.min(MOST_TURNS);
        // SAFETY: the callback has the form that the helper asks for, and
        // `round` outlives the call.
        unsafe {
            bpf_loop(
                tries.saturating_sub(1),
                turn::<T> as *mut c_void,
                (&raw mut round).cast(),
                0,
            );
        }
    }
    if round.real != NO_REAL {
        scratch.real = round.real;
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
