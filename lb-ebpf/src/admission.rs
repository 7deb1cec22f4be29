//! Who may make a new connection: the lists `deny` and `allow`, the limits of
//! clients and services, and the defence that drops some at random.

use aya_ebpf::{helpers::bpf_get_prandom_u32, maps::lpm_trie::Key};
use lb_common::{
    abi::{Settings, settings_flag},
    addr::Addr,
    defence::Defence,
    limits::DROP_PACKET_RATE,
    prefix,
    rate_limit::Limit,
    verdict::DropReason,
};

use crate::{
    maps::{ALLOW, DENY, POLICIES, SERVICE_RATES, SETTINGS, SOURCE_RATES},
    stage::now_ns,
    verifier::{self, compare_and_swap_u64},
};

const ADDRESS_BITS: u32 = size_of::<Addr>() as u32 * 8;

/// How often a limit is tried when another CPU spends from it meanwhile.
const SWAP_TRIES: u32 = 4;

/// Whether a client may talk to services at all.
#[inline(always)]
pub fn is_denied(settings: &Settings, client: Addr) -> bool {
    (settings.flags & settings_flag::DENY != 0
        && DENY.get(Key::new(ADDRESS_BITS, client)).is_some())
        || (settings.flags & settings_flag::ALLOW != 0
            && ALLOW.get(Key::new(ADDRESS_BITS, client)).is_none())
}

/// Why a new connection of `client` to a service is not to be, if so.
///
/// `can_do_without`: the service's connections need no entry under attack.
#[inline(always)]
pub fn refusal(
    client: Addr,
    service: u32,
    family: u8,
    defences: u32,
    can_do_without: bool,
) -> Option<DropReason> {
    let settings = SETTINGS.get(0)?;
    if is_denied(settings, client) {
        return Some(DropReason::Denied);
    }
    if defences & Defence::DropPacket.bit() != 0
        && (!can_do_without || settings.flags & settings_flag::DROP_PACKET_ALWAYS != 0)
        // SAFETY: a helper without arguments.
        && unsafe { bpf_get_prandom_u32() } % DROP_PACKET_RATE == 0
    {
        return Some(DropReason::DropPacket);
    }
    let now = now_ns();
    let is_within =
        within_source_rate(settings, client, family, now) && within_service_rate(service, now);
    (!is_within).then_some(DropReason::RateLimited)
}

#[inline(always)]
fn within_source_rate(settings: &Settings, client: Addr, family: u8, now: u64) -> bool {
    let limit = &settings.source_rate;
    if limit.interval_ns == 0 {
        return true;
    }
    let length = if family == 0 {
        settings.source_prefix_v4
    } else {
        settings.source_prefix_v6
    };
    let network = prefix::network(client, length, family == 0);
    match SOURCE_RATES.get_ptr_mut(network) {
        Some(paid) => spend(limit, paid, now),
        None => {
            // An LRU makes room for itself.
            let _ = SOURCE_RATES.insert(network, now + limit.interval_ns, 0);
            true
        }
    }
}

#[inline(always)]
fn within_service_rate(service: u32, now: u64) -> bool {
    let Some(policy) = POLICIES.get(service) else {
        return true;
    };
    if policy.rate.interval_ns == 0 {
        return true;
    }
    SERVICE_RATES
        .get_ptr_mut(service)
        .is_none_or(|paid| spend(&policy.rate, paid, now))
}

/// Takes one event from a limit.
#[inline(always)]
fn spend(limit: &Limit, paid: *mut u64, now: u64) -> bool {
    for _ in 0..SWAP_TRIES {
        // SAFETY: a map value, aligned.
        let old = unsafe { verifier::load(paid) };
        let Some(new) = limit.pass(old, now) else {
            return false;
        };
        // SAFETY: as above.
        if unsafe { compare_and_swap_u64(paid, old, new) } {
            return true;
        }
    }
    // So many at once that the limit was not to be had: one more or less.
    true
}
