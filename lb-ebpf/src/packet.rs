//! The packet at this hook: checked access to its linear part, and the room
//! before it.

use core::{ffi::c_void, ptr::NonNull};

use aya_ebpf::{
    EbpfContext as _,
    bindings::xdp_md,
    helpers::{
        bpf_loop, bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len,
        bpf_xdp_load_bytes,
    },
    macros::map,
    maps::PerCpuArray,
    programs::XdpContext,
};
use lb_common::{
    addr::Be16,
    limits::{ETHERNET_HEADER_BYTES, MAX_EXTENSION_HEADERS, VLAN_TAG_BYTES},
    parse::{Extensions, Frame},
};

use crate::verifier::{Aligned, between_1_and, copy};

/// Bytes that one turn of [`Frame::sum`] reads.
const CHUNK_BYTES: u32 = 64;
/// Turns that cover the longest datagram.
const MAX_CHUNKS: u32 = 1024;

/// A packet. Pointers from [`Frame::at`] end with the next call of
/// [`Packet::move_head`] or [`Packet::set_length`].
pub struct Packet {
    context: XdpContext,
    /// VLAN tags.
    tags: usize,
}

impl Packet {
    /// A packet as untagged frames have it.
    #[inline(always)]
    pub const fn new(context: XdpContext) -> Self {
        Self { context, tags: 0 }
    }

    /// The same packet, with VLAN tags.
    #[inline(always)]
    pub fn with_tags(self, tags: usize) -> Self {
        Self { tags, ..self }
    }

    #[inline(always)]
    pub const fn context(&self) -> &XdpContext {
        &self.context
    }

    /// VLAN tags, 0 to 2.
    #[inline(always)]
    pub const fn tags(&self) -> usize {
        self.tags
    }

    /// Offset of the network header.
    #[inline(always)]
    pub const fn network(&self) -> usize {
        ETHERNET_HEADER_BYTES + self.tags * VLAN_TAG_BYTES
    }

    /// The bytes of the frame, all fragments of a multi-buffer frame included.
    #[inline(always)]
    pub fn frame_bytes(&self) -> u64 {
        // SAFETY: the context is this program's own.
        unsafe { bpf_xdp_get_buff_len(self.context.ctx) }
    }

    /// Takes `bytes` off the front, or puts -`bytes` of room there.
    #[inline(always)]
    pub fn move_head(&self, bytes: i32) -> bool {
        // SAFETY: the context is this program's own.
        unsafe { bpf_xdp_adjust_head(self.context.ctx, bytes) == 0 }
    }

    /// Makes room of `bytes` before the network header, and writes what the
    /// frame has between its MAC addresses and there: its tags, and then
    /// `ethertype`. The MAC addresses are left to who transmits the frame.
    #[inline(always)]
    pub fn insert(&self, bytes: u16, ethertype: Be16) -> bool {
        /// Offset of the first tag.
        const TAGS: usize = ETHERNET_HEADER_BYTES - 2;
        if self.tags == 0 {
            return self.move_head(-i32::from(bytes)) && self.write(TAGS, ethertype);
        }
        let Some(tags) = self.at::<[u8; VLAN_TAG_BYTES * 2]>(TAGS) else {
            return false;
        };
        // SAFETY: `at` checked the bounds.
        let tags = unsafe { tags.read() };
        // A single tag is followed by the EtherType and what comes after it,
        // which are written over.
        self.move_head(-i32::from(bytes))
            && self.write(TAGS, tags)
            && self.write(self.network() - 2, ethertype)
    }

    /// Writes a value at an offset.
    #[inline(always)]
    pub fn write<T>(&self, offset: usize, value: T) -> bool {
        let Some(place) = self.at::<T>(offset) else {
            return false;
        };
        let value = Aligned(value);
        // SAFETY: `at` checked the bounds.
        unsafe { copy(place.as_ptr(), &raw const value.0) };
        true
    }

    /// Cuts the frame to `bytes`.
    #[inline(always)]
    pub fn set_length(&self, bytes: u64) -> bool {
        let change = bytes as i64 - self.frame_bytes() as i64;
        // SAFETY: the context is this program's own.
        unsafe { bpf_xdp_adjust_tail(self.context.ctx, change as i32) == 0 }
    }

    #[inline(always)]
    pub fn ingress_ifindex(&self) -> u32 {
        self.context.ingress_ifindex() as u32
    }

    #[inline(always)]
    pub fn raw_context(&self) -> *mut c_void {
        self.context.as_ptr()
    }
}

impl Frame for Packet {
    #[inline(always)]
    fn at<T>(&self, offset: usize) -> Option<NonNull<T>> {
        let start = self.context.data() + offset;
        if start + size_of::<T>() > self.context.data_end() {
            return None;
        }
        NonNull::new(start as *mut T)
    }

    #[inline(always)]
    fn holds(&self, bytes: usize) -> bool {
        // The helper only where the linear part is short: jumbo or truncated.
        self.context.data() + bytes <= self.context.data_end() || self.frame_bytes() >= bytes as u64
    }

    /// In fragments of a multi-buffer frame too; of any number of octets.
    #[inline(always)]
    fn sum(&self, offset: usize, bytes: u16) -> Option<u64> {
        let mut round = Sum {
            context: self.context.ctx,
            sum: 0,
            offset: offset as u32,
            left: u32::from(bytes),
        };
        // SAFETY: the callback has the form that the helper asks for, and
        // `round` outlives the call.
        unsafe {
            bpf_loop(
                MAX_CHUNKS,
                sum_chunk as *mut c_void,
                (&raw mut round).cast(),
                0,
            );
        }
        (round.left == 0).then_some(round.sum)
    }

    #[inline(always)]
    fn walk(&self, walk: &mut Extensions) {
        let Some(place) = WALK.get_ptr_mut(0) else {
            return;
        };
        // SAFETY: this CPU's own.
        unsafe { *place = *walk };
        let mut round = Walk {
            context: self.context.ctx,
            walk: place,
        };
        // SAFETY: the callback has the form that the helper asks for, and
        // `round` outlives the call.
        unsafe {
            bpf_loop(
                MAX_EXTENSION_HEADERS,
                walk_step as *mut c_void,
                (&raw mut round).cast(),
                0,
            );
        }
        // SAFETY: as above.
        *walk = unsafe { *place };
    }
}

/// A walk in a map: what is read from there is unknown to the verifier, so that
/// every turn of the loop, and what comes after it, is one path. On the stack
/// each number of headers would be one.
#[map]
static WALK: PerCpuArray<Extensions> = PerCpuArray::with_max_entries(1, 0);

/// What the turns of [`Frame::walk`] share.
struct Walk {
    context: *mut xdp_md,
    walk: *mut Extensions,
}

/// One header; 1 ends the loop.
extern "C" fn walk_step(_: u32, round: *mut Walk) -> i64 {
    // SAFETY: the helper passes on what `walk` gave it.
    let (round, walk) = unsafe { (&*round, &mut *(*round).walk) };
    let packet = Packet::new(XdpContext::new(round.context));
    i64::from(!walk.step(&packet))
}

/// What the turns of [`Frame::sum`] share.
struct Sum {
    context: *mut xdp_md,
    sum: u64,
    offset: u32,
    left: u32,
}

/// One chunk; 1 ends the loop.
extern "C" fn sum_chunk(_: u32, round: *mut Sum) -> i64 {
    // SAFETY: the helper passes on what `sum` gave it.
    let round = unsafe { &mut *round };
    let mut chunk = [0u32; (CHUNK_BYTES / 4) as usize];
    if round.left == 0 {
        return 1;
    }
    let bytes = between_1_and::<CHUNK_BYTES>(round.left.min(CHUNK_BYTES));
    // SAFETY: `chunk` has room for as many bytes.
    let outcome = unsafe {
        bpf_xdp_load_bytes(
            round.context,
            round.offset,
            chunk.as_mut_ptr().cast(),
            bytes,
        )
    };
    if outcome != 0 {
        return 1;
    }
    for word in chunk {
        round.sum += u64::from(word);
    }
    round.offset += bytes;
    round.left -= bytes;
    i64::from(round.left == 0)
}
