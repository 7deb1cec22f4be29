//! Source hashing, after `ip_vs_sh.c`: 256 buckets by the client's address, and
//! his port with `sh-port`; each real has as many in turn as its weight says, at
//! least one. The bucket's real is not eligible: nobody, or with `sh-fallback`
//! the next bucket's.
//!
//! Plan: [`buckets`].

use super::{Context, Pick, buckets, flag, search};
use crate::service::Plan;

pub struct Sh;

impl Pick for Sh {
    #[inline(always)]
    fn pick<X: Context>(plan: &Plan, context: &X) -> u32 {
        let hash = context.key().client(plan.flags & flag::PORT != 0);
        search::first(context, search::tries(plan), |after| {
            context.word(buckets::index(hash, after))
        })
        .0
    }
}

#[cfg(feature = "user")]
impl super::Layout for Sh {
    fn plan(
        &self,
        reals: &[super::Listed],
        _: super::Options,
        words: &mut alloc::vec::Vec<u32>,
    ) -> u32 {
        let part = |real| core::iter::repeat_n(real, usize::max(1, real_weight(real)));
        let turns = reals.iter().cycle().flat_map(part);
        // Without reals the cycle above is empty.
        words.extend(turns.take(buckets::BUCKETS as usize).map(buckets::word));
        words.len() as u32
    }

    fn flags(&self) -> &'static [(&'static str, u32)] {
        &[("sh-fallback", flag::FALLBACK), ("sh-port", flag::PORT)]
    }

    fn starts_slowly(&self) -> bool {
        false
    }
}

#[cfg(feature = "user")]
const fn real_weight(real: &super::Listed) -> usize {
    real.weight as usize
}
