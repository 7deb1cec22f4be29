//! The sum over a part of a frame, jumbo frames included: some 512 bytes at a
//! time, the most that `bpf_csum_diff` takes (net/core/filter.c), which reads
//! no further than the linear part, hence the copy.

use aya_ebpf::{
    helpers::generated::{bpf_csum_diff, bpf_xdp_load_bytes},
    macros::map,
    maps::PerCpuArray,
};

use super::frame::Frame;

const CHUNK: u32 = 512;
/// Whole ones in the longest IP packet.
const MAX_CHUNKS: u32 = 0xffff / CHUNK;

/// Twice a chunk: the verifier does not see how little of it a rest takes.
#[map]
static CHUNK_COPY: PerCpuArray<Words> = PerCpuArray::with_max_entries(1, 0);

type Words = [u32; 2 * CHUNK as usize / 4];

/// Adds `length` bytes from `offset` on, which is after an Ethernet header, to
/// the sum. None: the frame has not so many.
#[inline(always)]
pub fn sum(frame: &Frame, offset: u32, length: u32, sum: u32) -> Option<u32> {
    let copy = CHUNK_COPY.get_ptr_mut(0)?;
    let (mut sum, mut offset) = (sum, offset);
    for chunk in 0..MAX_CHUNKS {
        if chunk == length / CHUNK {
            break;
        }
        // SAFETY: the buffer is this CPU's own, and larger than a chunk.
        sum = unsafe {
            load(frame, offset, copy.cast(), CHUNK)?;
            add(copy.cast(), CHUNK, sum)?
        };
        offset += CHUNK;
    }
    let rest = length % CHUNK;
    // A load of no bytes is refused, and Linux 6.1 learns nothing of a value
    // from its not being 0: one word more, from before the rest.
    const WORD: u32 = 4;
    // SAFETY: as above; a rest, one word and rounding up are less than two
    // chunks. What the last word has beyond the rest counts as zero.
    unsafe {
        (*copy)[((WORD + rest) / WORD) as usize] = 0;
        load(frame, offset - WORD, copy.cast(), WORD + rest)?;
        add(copy.cast::<u32>().add(1), (rest + 3) & !3, sum)
    }
}

/// # Safety
/// `to` has room for `length` bytes.
#[inline(always)]
unsafe fn load(frame: &Frame, offset: u32, to: *mut u32, length: u32) -> Option<()> {
    // SAFETY: the caller's; the context is this program's own.
    (unsafe { bpf_xdp_load_bytes(frame.context(), offset, to.cast(), length) } == 0).then_some(())
}

/// # Safety
/// There are `length` bytes, whole words, at `from`.
#[inline(always)]
unsafe fn add(from: *mut u32, length: u32, sum: u32) -> Option<u32> {
    // SAFETY: the caller's.
    let result = unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, from, length, sum) };
    u32::try_from(result).ok()
}
