//! An array map as memory of this process (`BPF_F_MMAPABLE`): whole copies
//! without a system call for each value.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr::NonNull,
    sync::atomic::{Ordering, fence},
};

use aya::Pod;

/// The values of an array map of `V`, or of arrays of `V`, whose size is a
/// multiple of 8.
#[derive(Debug)]
pub(super) struct Mapped<V> {
    values: NonNull<V>,
    length: usize,
}

// SAFETY: it is memory of the kernel's, read and written as plain data.
unsafe impl<V: Send> Send for Mapped<V> {}
// SAFETY: shared, it is only read, and every read is of what may change.
unsafe impl<V: Sync> Sync for Mapped<V> {}

impl<V: Pod> Mapped<V> {
    pub fn new(map: BorrowedFd<'_>, length: u32) -> io::Result<Self> {
        let length = length as usize;
        // SAFETY: a new mapping, which nothing else knows of.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length * size_of::<V>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let values = NonNull::new(address.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { values, length })
    }

    pub const fn len(&self) -> usize {
        self.length
    }

    /// The values as they are now; programs may be writing them.
    pub fn copy(&self) -> Vec<V> {
        (0..self.length)
            // SAFETY: within the mapping, aligned, plain data.
            .map(|index| unsafe { self.values.add(index).read_volatile() })
            .collect()
    }

    /// The value at `index` as it is now; none behind the last.
    pub fn get(&self, index: u32) -> Option<V> {
        let index = index as usize;
        // SAFETY: within the mapping, aligned, plain data.
        (index < self.length).then(|| unsafe { self.values.add(index).read_volatile() })
    }

    /// Writes values side by side; false, and nothing written, where they go
    /// beyond the last.
    pub fn set(&mut self, first: u32, values: &[V]) -> bool {
        let first = first as usize;
        let fits = first
            .checked_add(values.len())
            .is_some_and(|end| end <= self.length);
        if fits {
            // SAFETY: within the mapping, aligned, plain data.
            unsafe {
                self.values
                    .add(first)
                    .copy_from_nonoverlapping(NonNull::from(values).cast(), values.len());
            }
            // What makes programs look here is written after it.
            fence(Ordering::Release);
        }
        fits
    }

    /// Makes every value 0.
    pub fn clear(&mut self) {
        // SAFETY: the whole mapping, and 0 is a value of plain data.
        unsafe { self.values.write_bytes(0, self.length) };
    }
}

impl<V> Drop for Mapped<V> {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, whole.
        unsafe { libc::munmap(self.values.as_ptr().cast(), self.length * size_of::<V>()) };
    }
}
