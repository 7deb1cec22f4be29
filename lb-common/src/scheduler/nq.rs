//! Never queue, after `ip_vs_nq.c`: the first real without an active
//! connection, else as [`sed`](super::sed).
//!
//! Plan: [`rows`](super::rows).

use super::{Load, rows::Cost, sed::Sed};

pub struct Nq;

impl Cost for Nq {
    #[inline(always)]
    fn of(load: Load, weight: u32) -> Option<(u64, u32)> {
        if load.active == 0 {
            // Cheaper than any that has one, and as cheap as another without.
            return Some((0, 1));
        }
        Sed::of(load, weight)
    }
}
