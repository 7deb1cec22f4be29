//! Checked access to the frame. Headers are read where they lie, in the linear
//! part; a driver that puts less than them there has its frames left alone.

use core::ptr::NonNull;

use aya_ebpf::{
    helpers::{bpf_xdp_adjust_head, bpf_xdp_get_buff_len},
    programs::XdpContext,
};

/// A frame at this hook. Pointers from [`Frame::at`] end with
/// [`Frame::shrink_head`].
pub struct Frame {
    context: XdpContext,
}

impl Frame {
    #[inline(always)]
    pub const fn new(context: XdpContext) -> Self {
        Self { context }
    }

    /// The header at `offset`, if the linear part holds all of it.
    #[inline(always)]
    pub fn at<T>(&self, offset: usize) -> Option<NonNull<T>> {
        let (data, end) = self.bounds();
        let start = data + offset;
        if start + size_of::<T>() > end {
            return None;
        }
        NonNull::new(start as *mut T)
    }

    /// The linear part. Volatile, as LLVM 22 otherwise keeps the 32 bits of a
    /// bound where two ways through the program meet and widens them later,
    /// and the verifier (Linux 6.18) then takes them for a number: "invalid mem
    /// access 'scalar'". May go when the context's fields are pointers to LLVM.
    #[inline(always)]
    fn bounds(&self) -> (usize, usize) {
        // SAFETY: the context is this program's own.
        unsafe {
            let data = (&raw const (*self.context.ctx).data).read_volatile();
            let end = (&raw const (*self.context.ctx).data_end).read_volatile();
            (data as usize, end as usize)
        }
    }

    /// A copy of the header at `offset`.
    #[inline(always)]
    pub fn read<T: Copy>(&self, offset: usize) -> Option<T> {
        // SAFETY: `at` checked the bounds; headers are byte-aligned.
        self.at::<T>(offset)
            .map(|header| unsafe { header.read_unaligned() })
    }

    /// The bytes of the frame, all buffers of a jumbo frame included.
    #[inline(always)]
    pub fn bytes(&self) -> u64 {
        // SAFETY: the context is this program's own.
        unsafe { bpf_xdp_get_buff_len(self.context.ctx) }
    }

    /// Takes `bytes` off the front.
    #[inline(always)]
    pub fn shrink_head(&self, bytes: usize) -> bool {
        // SAFETY: the context is this program's own.
        unsafe { bpf_xdp_adjust_head(self.context.ctx, bytes as i32) == 0 }
    }

    #[inline(always)]
    pub const fn context(&self) -> *mut aya_ebpf::bindings::xdp_md {
        self.context.ctx
    }
}
