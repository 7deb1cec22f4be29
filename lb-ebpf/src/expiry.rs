//! Announces what is over so soon that the daemon's walk may come by too late:
//! the daemon looks at it when its time is over.

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use lb_common::{
    limits::SHORT_TIMEOUT_S,
    sweep::{Found, mode},
};

use crate::maps::EXPIRIES;

/// An entry of some table that is over `timeout_s` seconds after it was used,
/// which it has been for `idle_ns`. A walk finds what the ring has no room for.
#[inline(always)]
pub fn announce<K: Copy + 'static>(key: &K, timeout_s: u32, idle_ns: u64) {
    let left_ms = (u64::from(timeout_s) * 1000).saturating_sub(idle_ns / 1_000_000);
    if left_ms >= u64::from(SHORT_TIMEOUT_S) * 1000 {
        return;
    }
    let found = Found {
        key: *key,
        mode: u32::from(mode::IDLE),
        // One more: what is left is not a whole number.
        after_ms: left_ms as u32 + 1,
    };
    let _ = EXPIRIES.output::<Found<K>>(found, u64::from(BPF_RB_NO_WAKEUP));
}
