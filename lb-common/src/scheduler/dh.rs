//! Destination hashing, after `ip_vs_dh.c`: 256 buckets by the address that the
//! client wants, handed out to the reals in turn whatever their weights. The
//! bucket's real is not eligible: nobody.
//!
//! Plan: [`buckets`].

use super::{Context, Pick, buckets, search};
use crate::service::Plan;

pub struct Dh;

impl Pick for Dh {
    #[inline(always)]
    fn pick<X: Context>(plan: &Plan, context: &X) -> u32 {
        search::first(context, search::tries(plan), |_| {
            context.word(buckets::index(context.key().wanted(), 0))
        })
        .0
    }
}

#[cfg(feature = "user")]
impl super::Layout for Dh {
    fn plan(
        &self,
        reals: &[super::Listed],
        _: super::Options,
        words: &mut alloc::vec::Vec<u32>,
    ) -> u32 {
        let turns = reals.iter().cycle().take(buckets::BUCKETS as usize);
        words.extend(turns.map(buckets::word));
        words.len() as u32
    }

    fn is_by_destination(&self) -> bool {
        true
    }

    fn starts_slowly(&self) -> bool {
        false
    }
}
