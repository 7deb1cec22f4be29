//! Work-arounds for the compiler and the verifier, each written once.

use core::{
    ffi::c_void,
    intrinsics::{AtomicOrdering::AcqRel, atomic_cxchg, atomic_xadd},
};

use aya_ebpf::helpers::bpf_loop;

/// Adds to a map value atomically and returns the value before.
///
/// `AtomicU64::fetch_add` does not exist on the BPF target. With `Relaxed`,
/// LLVM 22 returns the addend instead of the old value, so the ordering is
/// `AcqRel`. May go when core has the atomics for this target.
///
/// # Safety
/// `value` points into a map value and is aligned.
#[inline(always)]
pub unsafe fn fetch_add_u64(value: *mut u64, add: u64) -> u64 {
    // SAFETY: the caller's.
    unsafe { atomic_xadd::<u64, u64, { AcqRel }>(value, add) }
}

/// As [`fetch_add_u64`], 32 bits.
///
/// # Safety
/// `value` points into a map value and is aligned.
#[inline(always)]
pub unsafe fn fetch_add_u32(value: *mut u32, add: u32) -> u32 {
    // SAFETY: the caller's.
    unsafe { atomic_xadd::<u32, u32, { AcqRel }>(value, add) }
}

/// As [`fetch_add_u64`], 32 bits, result unused. Subtracting is adding the
/// two's complement.
///
/// # Safety
/// `value` points into a map value and is aligned.
#[inline(always)]
pub unsafe fn add_u32(value: *mut u32, add: u32) {
    // SAFETY: the caller's.
    unsafe { atomic_xadd::<u32, u32, { AcqRel }>(value, add) };
}

/// Replaces `old` by `new`; tells whether this call did it.
///
/// # Safety
/// `value` points into a map value and is aligned.
#[inline(always)]
pub unsafe fn compare_and_swap_u32(value: *mut u32, old: u32, new: u32) -> bool {
    // SAFETY: the caller's.
    unsafe {
        atomic_cxchg::<u32, { AcqRel }, { core::intrinsics::AtomicOrdering::Acquire }>(
            value, old, new,
        )
        .1
    }
}

/// As [`compare_and_swap_u32`], 64 bits.
///
/// # Safety
/// `value` points into a map value and is aligned.
#[inline(always)]
pub unsafe fn compare_and_swap_u64(value: *mut u64, old: u64, new: u64) -> bool {
    // SAFETY: the caller's.
    unsafe {
        atomic_cxchg::<u64, { AcqRel }, { core::intrinsics::AtomicOrdering::Acquire }>(
            value, old, new,
        )
        .1
    }
}

/// Runs `f` once on `value`, as a loop of the kernel's with one turn: to the
/// verifier what comes after it is one path, not one for each way through `f`.
#[inline(always)]
pub fn apart<T>(f: extern "C" fn(u32, *mut T) -> i64, value: &mut T) {
    // SAFETY: the callback has the form that the helper asks for, and `value`
    // outlives the call.
    unsafe { bpf_loop(1, f as *mut c_void, core::ptr::from_mut(value).cast(), 0) };
}

/// The same number, worked out by here. Where addresses of 16 bytes are summed
/// and rewritten, LLVM 22 keeps every octet for later and runs out of the 512
/// bytes of stack.
#[inline(always)]
pub fn settled(mut number: u64) -> u64 {
    // SAFETY: it changes nothing. Without an instruction there would be two
    // line numbers for one place, which the kernel refuses.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) number) };
    number
}

/// The same number, which is not 0 and at most `MOST`, a power of two, in a
/// form from which the verifier of Linux 6.1 sees that: it forgets a comparison
/// of the lower half of a register, and calls a read of as many bytes
/// "zero-sized". May go with 6.1.
#[inline(always)]
pub fn between_1_and<const MOST: u32>(number: u32) -> u32 {
    (settled(u64::from(number - 1)) as u32 & (MOST - 1)) + 1
}

/// A value that lies on a whole word of the stack, where nothing else may be read
/// and written together.
#[repr(C, align(8))]
pub struct Aligned<T>(pub T);

/// Copies a value of at most 112 octets, of any alignment, in words. LLVM 22 makes of
/// an assignment of packed fields a call of `memmove`, which is a loop over octets.
///
/// # Safety
/// As of [`core::ptr::copy_nonoverlapping`]; on a stack `from` is [`Aligned`].
#[inline(always)]
pub unsafe fn copy<T>(to: *mut T, from: *const T) {
    const { assert!(size_of::<T>() <= 112) };
    let size = size_of::<T>();
    // SAFETY: the caller's; within the value. A loop would become the call again.
    unsafe {
        let (to, from) = (to.cast::<u8>(), from.cast::<u8>());
        macro_rules! word {
            ($word:ty, $at:expr) => {
                to.add($at)
                    .cast::<$word>()
                    .write_unaligned(from.add($at).cast::<$word>().read_unaligned())
            };
        }
        macro_rules! whole {
            ($($at:literal)*) => {
                $(if size >= $at + 8 {
                    word!(u64, $at);
                })*
            };
        }
        whole!(0 8 16 24 32 40 48 56 64 72 80 88 96 104);
        if size & 4 != 0 {
            word!(u32, size & !7);
        }
        if size & 2 != 0 {
            word!(u16, size & !3);
        }
        if size & 1 != 0 {
            word!(u8, size & !1);
        }
    }
}

/// A load that other CPUs may race with. Atomic loads do not compile for the
/// `v3` target; an aligned volatile load is one instruction.
///
/// # Safety
/// `value` points into a map value and is aligned.
#[inline(always)]
pub unsafe fn load<T: Copy>(value: *const T) -> T {
    // SAFETY: the caller's.
    unsafe { value.read_volatile() }
}
