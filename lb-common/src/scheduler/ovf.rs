//! Weighted overflow, after `ip_vs_ovf.c`: the real of the highest weight that
//! has no more active connections than its weight says.
//!
//! Plan: [`rows`](super::rows).

use super::{Load, rows::Cost};

pub struct Ovf;

impl Cost for Ovf {
    const STARTS_SLOWLY: bool = false;

    #[inline(always)]
    fn of(load: Load, weight: u32) -> Option<(u64, u32)> {
        (load.active <= weight).then_some((1, weight))
    }
}
