//! Checked access to the bytes of a frame.

use core::ptr::NonNull;

use super::extension::Extensions;
use crate::limits::MAX_EXTENSION_HEADERS;

/// A frame. Pointers end with the next change of its bounds.
pub trait Frame {
    /// The header at `offset`, if the part of the frame that can be read
    /// directly holds all of it. `T` is plain data whose fields are
    /// byte-aligned.
    fn at<T>(&self, offset: usize) -> Option<NonNull<T>>;

    /// Whether the frame is at least `bytes` long.
    fn holds(&self, bytes: usize) -> bool;

    /// The sum of `bytes` octets, an even number, at `offset` (RFC 1071).
    /// Nothing if the frame does not hold them.
    #[inline(always)]
    fn sum(&self, offset: usize, bytes: u16) -> Option<u64> {
        let mut sum = 0;
        for word in 0..usize::from(bytes / 2) {
            let word = self.at::<[u8; 2]>(offset + word * 2)?;
            // SAFETY: `at` checked the bounds.
            sum += u64::from(u16::from_ne_bytes(*unsafe { word.as_ref() }));
        }
        Some(sum)
    }

    /// Takes the steps of a walk: by a loop of the kernel's where an unrolled
    /// one would cost the verifier too much.
    #[inline(always)]
    fn walk(&self, walk: &mut Extensions) {
        for _ in 0..MAX_EXTENSION_HEADERS {
            if !walk.step(self) {
                return;
            }
        }
    }
}

/// A frame in memory.
pub struct SliceFrame<'a>(pub &'a [u8]);

impl Frame for SliceFrame<'_> {
    fn at<T>(&self, offset: usize) -> Option<NonNull<T>> {
        const { assert!(align_of::<T>() == 1) };
        let bytes = self.0.get(offset..)?.get(..size_of::<T>())?;
        NonNull::new(bytes.as_ptr().cast_mut().cast())
    }

    fn holds(&self, bytes: usize) -> bool {
        self.0.len() >= bytes
    }
}
