//! A packet at the hooks of traffic control, an Ethernet frame: a tag, if it had
//! one, has been taken off before ingress and comes later on egress. Read and
//! written by helpers, which reach behind the linear part and leave copies alone.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{
        bpf_l3_csum_replace, bpf_l4_csum_replace, bpf_skb_adjust_room, bpf_skb_load_bytes,
        bpf_skb_store_bytes,
    },
    programs::TcContext,
};
use lb_common::addr::Be16;

/// A value that lies on a whole word of the stack, where nothing else may be read
/// and written together.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct Aligned<T>(pub T);

pub struct Packet {
    context: TcContext,
}

impl Packet {
    #[inline(always)]
    pub const fn new(context: TcContext) -> Self {
        Self { context }
    }

    #[inline(always)]
    const fn raw(&self) -> *mut __sk_buff {
        self.context.skb.skb
    }

    #[inline(always)]
    pub fn mark(&self) -> u32 {
        // SAFETY: the context is this program's own.
        unsafe { (*self.raw()).mark }
    }

    #[inline(always)]
    pub fn clear_mark(&self) {
        // SAFETY: as above.
        unsafe { (*self.raw()).mark = 0 };
    }

    /// Of the network layer.
    #[inline(always)]
    pub fn ethertype(&self) -> Be16 {
        // SAFETY: as above.
        Be16::from_raw(unsafe { (*self.raw()).protocol } as u16)
    }

    /// Whether it will be cut into several packets after us.
    #[inline(always)]
    pub fn is_several(&self) -> bool {
        // SAFETY: as above.
        unsafe { (*self.raw()).gso_size != 0 }
    }

    /// A copy of the header at `offset`, if the packet holds all of it.
    #[inline(always)]
    pub fn read<T: Copy>(&self, offset: usize) -> Option<T> {
        let mut value = MaybeUninit::<Aligned<T>>::uninit();
        // SAFETY: the helper writes all of the value, or clears it and fails; headers
        // are plain octets.
        unsafe {
            let to = value.as_mut_ptr().cast();
            let result =
                bpf_skb_load_bytes(self.raw().cast(), offset as u32, to, size_of::<T>() as u32);
            (result == 0).then(|| value.assume_init().0)
        }
    }

    /// Writes a header at `offset`; with `BPF_F_RECOMPUTE_CSUM`, the sum that the
    /// device may have made of the packet follows.
    #[inline(always)]
    pub fn write<T>(&self, offset: usize, value: &Aligned<T>, flags: u32) -> Option<()> {
        // SAFETY: the value is readable.
        let result = unsafe {
            bpf_skb_store_bytes(
                self.raw().cast(),
                offset as u32,
                (&raw const value.0).cast_mut().cast(),
                size_of::<T>() as u32,
                u64::from(flags),
            )
        };
        (result == 0).then_some(())
    }

    /// Adds to the sum that the checksum of an IPv4 header is of.
    #[inline(always)]
    pub fn add_to_header_sum(&self, offset: usize, delta: u16) -> Option<()> {
        // SAFETY: the context is this program's own.
        let result = unsafe {
            bpf_l3_csum_replace(
                self.raw().cast(),
                offset as u32,
                0,
                u64::from(delta),
                0, /* a difference */
            )
        };
        (result == 0).then_some(())
    }

    /// Adds to the sum that a transport's checksum is of.
    #[inline(always)]
    pub fn add_to_sum(&self, offset: usize, delta: u16, flags: u32) -> Option<()> {
        // SAFETY: as above.
        let result = unsafe {
            bpf_l4_csum_replace(
                self.raw().cast(),
                offset as u32,
                0,
                u64::from(delta),
                u64::from(flags),
            )
        };
        (result == 0).then_some(())
    }

    /// Makes room for `bytes` behind the link layer's header.
    #[inline(always)]
    pub fn insert(&self, bytes: u16, flags: u32) -> Option<()> {
        const BPF_ADJ_ROOM_MAC: u32 = 1;
        // SAFETY: as above.
        let result = unsafe {
            bpf_skb_adjust_room(
                self.raw(),
                i32::from(bytes),
                BPF_ADJ_ROOM_MAC,
                u64::from(flags),
            )
        };
        (result == 0).then_some(())
    }
}
