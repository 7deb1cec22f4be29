//! Checked access to the packet's linear part.

use core::ptr::NonNull;

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len},
    programs::XdpContext,
};
use lb_common::limits::ETHERNET_HEADER_BYTES;

/// Offset of the network header: tags are not looked into yet.
pub const NETWORK_OFFSET: usize = ETHERNET_HEADER_BYTES;

/// A packet at this hook. Pointers from [`Packet::at`] end with the next call
/// of [`Packet::grow_head`] or [`Packet::set_length`].
pub struct Packet {
    context: XdpContext,
}

impl Packet {
    #[inline(always)]
    pub const fn new(context: XdpContext) -> Self {
        Self { context }
    }

    #[inline(always)]
    pub const fn context(&self) -> &XdpContext {
        &self.context
    }

    /// The header at `offset`, if the linear part holds all of it.
    #[inline(always)]
    pub fn at<T>(&self, offset: usize) -> Option<NonNull<T>> {
        let start = self.context.data() + offset;
        if start + size_of::<T>() > self.context.data_end() {
            return None;
        }
        NonNull::new(start as *mut T)
    }

    /// The bytes of the frame, all fragments of a multi-buffer frame included.
    #[inline(always)]
    pub fn frame_bytes(&self) -> u64 {
        // SAFETY: the context is this program's own.
        unsafe { bpf_xdp_get_buff_len(self.context.ctx) }
    }

    /// Whether the frame holds `bytes` after the Ethernet header.
    #[inline(always)]
    pub fn holds(&self, bytes: u16) -> bool {
        let end = self.context.data() + NETWORK_OFFSET + usize::from(bytes);
        // The helper only where the linear part is short: jumbo or truncated.
        end <= self.context.data_end()
            || self.frame_bytes() >= (NETWORK_OFFSET + usize::from(bytes)) as u64
    }

    /// Makes room of `bytes` before the packet.
    #[inline(always)]
    pub fn grow_head(&self, bytes: u16) -> bool {
        // SAFETY: the context is this program's own.
        unsafe { bpf_xdp_adjust_head(self.context.ctx, -i32::from(bytes)) == 0 }
    }

    /// Takes `bytes` off the front.
    #[inline(always)]
    pub fn shrink_head(&self, bytes: u16) -> bool {
        // SAFETY: the context is this program's own.
        unsafe { bpf_xdp_adjust_head(self.context.ctx, i32::from(bytes)) == 0 }
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
    pub fn raw_context(&self) -> *mut core::ffi::c_void {
        self.context.as_ptr()
    }
}
