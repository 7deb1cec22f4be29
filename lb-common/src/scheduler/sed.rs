//! Shortest expected delay, after `ip_vs_sed.c`: the least
//! (active + 1) / weight.
//!
//! Plan: [`rows`](super::rows).

use super::{Load, rows::Cost};

pub struct Sed;

impl Cost for Sed {
    #[inline(always)]
    fn of(load: Load, weight: u32) -> Option<(u64, u32)> {
        Some((u64::from(load.active) + 1, weight))
    }
}
