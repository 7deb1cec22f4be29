//! What dh and sh have in common: 256 buckets, each a real's, as
//! `IP_VS_DH_TAB_SIZE` and `IP_VS_SH_TAB_SIZE` of Linux.
//!
//! Plan: the real slots of the buckets, [`NO_REAL`](super::NO_REAL) where the
//! real has the weight 0.

/// Buckets of a service.
pub const BUCKETS: u32 = 256;

/// The bucket `after` others behind that of a hash.
#[inline(always)]
pub const fn index(hash: u64, after: u32) -> u32 {
    ((hash ^ hash >> 32) as u32).wrapping_add(after) % BUCKETS
}

/// The word of a bucket.
#[cfg(feature = "user")]
pub const fn word(real: &super::Listed) -> u32 {
    if real.weight > 0 {
        real.slot
    } else {
        super::NO_REAL
    }
}
