//! Weighted failover, after `ip_vs_fo.c`: the eligible real of the highest
//! weight.
//!
//! Plan: [`rows`](super::rows).

use super::{Load, rows::Cost};

pub struct Fo;

impl Cost for Fo {
    const STARTS_SLOWLY: bool = false;

    #[inline(always)]
    fn of(_: Load, weight: u32) -> Option<(u64, u32)> {
        Some((1, weight))
    }
}
