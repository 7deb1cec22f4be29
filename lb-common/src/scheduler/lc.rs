//! Least connections, after `ip_vs_lc.c`: the least 256 · active + inactive.
//!
//! Plan: [`rows`](super::rows), with the weight 1 for every real that has one;
//! in a slow start with its share of it.

use super::{Load, rows::Cost, wlc::Wlc};

pub struct Lc;

impl Cost for Lc {
    #[inline(always)]
    fn of(load: Load, weight: u32) -> Option<(u64, u32)> {
        Wlc::of(load, weight)
    }

    #[cfg(feature = "user")]
    fn weight(_: &super::Listed) -> u32 {
        1
    }
}
