//! What cannot be of a connection, by its addresses alone ([`lb_common::filter`]).

use lb_common::{addr::Addr, filter::place, flow::FlowKey};

use crate::maps::FILTER;

/// Whether a packet may belong to a connection, or begin one.
#[inline(always)]
pub fn is_interesting<K: FlowKey>(key: &K) -> bool {
    is_known(key.destination().address) || is_known(key.source().address)
}

#[inline(always)]
fn is_known(address: Addr) -> bool {
    let (word, bit) = place(address);
    FILTER.get(word).is_none_or(|word| word & bit != 0)
}
