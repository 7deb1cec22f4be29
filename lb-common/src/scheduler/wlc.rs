//! Weighted least connections, after `ip_vs_wlc.c`: the least
//! (256 · active + inactive) / weight.
//!
//! Plan: [`rows`](super::rows).

use super::{Load, rows::Cost};

pub struct Wlc;

impl Cost for Wlc {
    #[inline(always)]
    fn of(load: Load, weight: u32) -> Option<(u64, u32)> {
        Some((load.overhead(), weight))
    }
}
