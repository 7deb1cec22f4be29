//! Typed access to the maps. Every write is one element; the order of writes
//! is `reconcile::apply`'s business.

use std::{
    mem::MaybeUninit,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::{
    Pod,
    maps::{Array, HashMap, LpmTrie, MapData, MapError, PerCpuArray, lpm_trie::Key},
};
use lb_common::{
    abi::{Settings, map, program},
    addr::Addr,
    defence::TableState,
    filter,
    firewall_mark::{MarkKey, MarkPorts},
    real::{Egress, NextHop, Pool, RealCounts, RealServer},
    service::{AddressKey, Plan, Policy, ReplyEnd, ServiceKey},
    stats::RealStats,
    sweep::Repair,
    verdict::{DROP_SLOTS, DropReason, ICMP_SUPPRESSED_SLOT, STATELESS_SLOT},
};

use super::{
    DataPlaneError,
    localities::Localities,
    mapped::Mapped,
    sweep,
    syscall::{lookup_batch_per_cpu, update_batch_per_cpu},
    values::Values,
};

/// The maps that the daemon writes and reads.
pub struct Tables {
    pub(super) services: HashMap<MapData, ServiceKey, u32>,
    pub(super) addresses: HashMap<MapData, AddressKey, u32>,
    pub(super) filter: Array<MapData, u64>,
    pub(super) masquerade: HashMap<MapData, u32, Pool>,
    pub(super) ports: HashMap<MapData, u32, Egress>,
    pub(super) current_plans: Values<u64>,
    pub(super) plans: Values<Plan>,
    pub(super) plan_words: Mapped<u32>,
    pub(super) localities: Localities,
    pub(super) reals: Values<RealServer>,
    pub(super) real_counts: Mapped<RealCounts>,
    pub(super) real_stats: PerCpuArray<MapData, RealStats>,
    /// The same map.
    pub(super) all_real_stats: OwnedFd,
    /// Possible CPUs: values of each element of such an array.
    pub(super) cpus: usize,
    pub(super) service_stats: Array<MapData, RealStats>,
    pub(super) next_hops: Values<NextHop>,
    pub(super) settings: Array<MapData, Settings>,
    pub(super) drops: PerCpuArray<MapData, u64>,
    pub(super) table_states: Array<MapData, TableState>,
    pub(super) deny: LpmTrie<MapData, Addr, u32>,
    pub(super) allow: LpmTrie<MapData, Addr, u32>,
    pub(super) marks: LpmTrie<MapData, MarkKey, MarkPorts>,
    pub(super) policies: Values<Policy>,
    pub(super) one_packet_reals: HashMap<MapData, ReplyEnd, ReplyEnd>,
    /// The program that corrects counts.
    pub(super) repair: OwnedFd,
}

/// A prefix and what it leads to.
pub type Prefix<K, V> = ((u32, K), V);

/// An index that a map does not have.
fn beyond(name: &'static str) -> DataPlaneError {
    DataPlaneError::Map {
        name,
        source: MapError::OutOfBounds {
            index: u32::MAX,
            max_entries: 0,
        },
    }
}

type Result<T> = std::result::Result<T, DataPlaneError>;

fn named(name: &'static str) -> impl FnOnce(MapError) -> DataPlaneError {
    move |source| DataPlaneError::Map { name, source }
}

/// Every entry of a hash map.
fn entries<K: Pod, V: Pod>(
    map: &HashMap<MapData, K, V>,
    name: &'static str,
) -> Result<Vec<(K, V)>> {
    map.iter()
        .collect::<std::result::Result<_, _>>()
        .map_err(named(name))
}

/// Removing what is not there is not an error: `apply` may be repeated.
fn remove<K: Pod, V: Pod>(
    map: &mut HashMap<MapData, K, V>,
    key: &K,
    name: &'static str,
) -> Result<()> {
    match map.remove(key) {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(error) => Err(named(name)(error)),
    }
}

/// Makes a trie hold these prefixes, by length in bits and key, and no others.
/// What is not wanted goes first: there may be no room for both.
fn set_prefixes<K: Pod + Eq + std::hash::Hash, V: Pod + PartialEq>(
    trie: &mut LpmTrie<MapData, K, V>,
    wanted: &std::collections::HashMap<(u32, K), V>,
    name: &'static str,
) -> Result<()> {
    let found: std::collections::HashMap<(u32, K), V> = prefixes(trie, name)?.into_iter().collect();
    for (length, key) in found.keys().filter(|key| !wanted.contains_key(key)) {
        match trie.remove(&Key::new(*length, *key)) {
            Ok(()) | Err(MapError::KeyNotFound) => {}
            Err(error) => return Err(named(name)(error)),
        }
    }
    for ((length, key), value) in wanted {
        if found.get(&(*length, *key)) != Some(value) {
            trie.insert(&Key::new(*length, *key), value, 0)
                .map_err(named(name))?;
        }
    }
    Ok(())
}

fn prefixes<K: Pod, V: Pod>(
    trie: &LpmTrie<MapData, K, V>,
    name: &'static str,
) -> Result<Vec<Prefix<K, V>>> {
    trie.iter()
        .map(|entry| entry.map(|(key, value)| ((key.prefix_len(), key.data()), value)))
        .collect::<std::result::Result<_, _>>()
        .map_err(named(name))
}

impl Tables {
    /// Makes `DENY` and `ALLOW` hold these networks, and no others.
    pub fn set_access(
        &mut self,
        deny: &std::collections::HashMap<(u32, Addr), u32>,
        allow: &std::collections::HashMap<(u32, Addr), u32>,
    ) -> Result<()> {
        set_prefixes(&mut self.deny, deny, map::DENY)?;
        set_prefixes(&mut self.allow, allow, map::ALLOW)
    }

    /// Makes `MARKS` hold these destinations, and no others.
    pub fn set_marks(
        &mut self,
        marks: &std::collections::HashMap<(u32, MarkKey), MarkPorts>,
    ) -> Result<()> {
        const WHOLE: u32 = MarkKey::prefix_length(false, 128);
        for (length, key) in marks.keys() {
            if *length == WHOLE {
                self.let_through(key.address)?;
            } else {
                self.let_all_through()?;
            }
        }
        set_prefixes(&mut self.marks, marks, map::MARKS)
    }

    /// What holds for a service's new connections.
    pub fn policy(&self, service: u32) -> Result<Policy> {
        self.policies.get(service)
    }

    /// Writes what services ask of new connections, in this order.
    pub fn set_policies(&mut self, policies: &[(u32, Policy)]) -> Result<()> {
        self.policies.set_all(policies)
    }

    /// Where the replies of one-packet services come from, and are to come
    /// from.
    pub fn replies(&self) -> Result<Vec<(ReplyEnd, ReplyEnd)>> {
        entries(&self.one_packet_reals, map::ONE_PACKET_REALS)
    }

    pub fn set_reply(&mut self, from: ReplyEnd, to: ReplyEnd) -> Result<()> {
        self.let_through(from.address)?;
        self.one_packet_reals
            .insert(from, to, 0)
            .map_err(named(map::ONE_PACKET_REALS))
    }

    pub fn remove_reply(&mut self, from: &ReplyEnd) -> Result<()> {
        remove(&mut self.one_packet_reals, from, map::ONE_PACKET_REALS)
    }

    /// Makes a real overloaded, or no longer, by its thresholds and live
    /// connections.
    pub fn judge(&self, real: u32) -> Result<()> {
        self.repair(&[Repair {
            real,
            ..Repair::default()
        }])
    }

    /// Adds to what reals have counted, while packets count.
    pub fn repair(&self, repairs: &[Repair]) -> Result<()> {
        sweep::repair(self.repair.as_fd(), repairs).map_err(|source| DataPlaneError::Path {
            action: "run",
            path: program::REPAIR.into(),
            source,
        })
    }

    /// The fill of IPv4's connection table and of IPv6's.
    pub fn table_states(&self) -> Result<[TableState; 2]> {
        let state = |family| {
            self.table_states
                .get(&family, 0)
                .map_err(named(map::TABLE_STATES))
        };
        Ok([state(0)?, state(1)?])
    }

    /// Every bound service with its slot.
    pub fn services(&self) -> Result<Vec<(ServiceKey, u32)>> {
        entries(&self.services, map::SERVICES)
    }

    pub fn bind_service(&mut self, key: ServiceKey, slot: u32) -> Result<()> {
        self.let_through(key.address)?;
        self.services
            .insert(key, slot, 0)
            .map_err(named(map::SERVICES))
    }

    pub fn unbind_service(&mut self, key: &ServiceKey) -> Result<()> {
        remove(&mut self.services, key, map::SERVICES)
    }

    /// Has packets with this address looked at, from now on.
    fn let_through(&mut self, address: Addr) -> Result<()> {
        let (index, bit) = filter::place(address);
        let error = named(map::FILTER);
        let word = self.filter.get(&index, 0).map_err(error)?;
        if word & bit != 0 {
            return Ok(());
        }
        self.filter
            .set(index, word | bit, 0)
            .map_err(named(map::FILTER))
    }

    /// Has every packet looked at, from now on.
    fn let_all_through(&mut self) -> Result<()> {
        for index in 0..filter::WORDS {
            self.filter
                .set(index, u64::MAX, 0)
                .map_err(named(map::FILTER))?;
        }
        Ok(())
    }

    /// The addresses that the programs know, with their roles.
    pub fn addresses(&self) -> Result<Vec<AddressKey>> {
        let keys = self.addresses.keys();
        keys.collect::<std::result::Result<_, _>>()
            .map_err(named(map::ADDRESSES))
    }

    pub fn add_address(&mut self, key: AddressKey) -> Result<()> {
        self.let_through(key.address)?;
        self.addresses
            .insert(key, 1, 0)
            .map_err(named(map::ADDRESSES))
    }

    pub fn remove_address(&mut self, key: &AddressKey) -> Result<()> {
        remove(&mut self.addresses, key, map::ADDRESSES)
    }

    /// The pools of masquerading services, by service slot.
    pub fn pools(&self) -> Result<Vec<(u32, Pool)>> {
        entries(&self.masquerade, map::MASQUERADE)
    }

    pub fn set_pool(&mut self, service: u32, pool: Pool) -> Result<()> {
        self.masquerade
            .insert(service, pool, 0)
            .map_err(named(map::MASQUERADE))
    }

    pub fn remove_pool(&mut self, service: u32) -> Result<()> {
        remove(&mut self.masquerade, &service, map::MASQUERADE)
    }

    /// Makes `PORTS` hold these interfaces, by index, and no others. What is not
    /// wanted goes first: there may be no room for both.
    pub fn set_ports(&mut self, egresses: &std::collections::HashMap<u32, Egress>) -> Result<()> {
        let found: std::collections::HashMap<_, _> =
            entries(&self.ports, map::PORTS)?.into_iter().collect();
        for ifindex in found.keys().filter(|index| !egresses.contains_key(index)) {
            remove(&mut self.ports, ifindex, map::PORTS)?;
        }
        for (ifindex, egress) in egresses {
            if found.get(ifindex) != Some(egress) {
                self.ports
                    .insert(*ifindex, *egress, 0)
                    .map_err(named(map::PORTS))?;
            }
        }
        Ok(())
    }

    pub fn current_plan(&self, service: u32) -> Result<u32> {
        Ok(self.current_plans.get(service)? as u32)
    }

    /// Makes plans those in force, by service, in this order.
    pub fn set_current_plans(&mut self, plans: &[(u32, u64)]) -> Result<()> {
        self.current_plans.set_all(plans)
    }

    pub fn plan(&self, slot: u32) -> Result<Plan> {
        self.plans.get(slot)
    }

    /// Writes plans, in this order.
    pub fn set_plans(&mut self, plans: &[(u32, Plan)]) -> Result<()> {
        self.plans.set_all(plans)
    }

    pub fn words(&self, first: u32, length: u32) -> Result<Vec<u32>> {
        (first..first.saturating_add(length))
            .map(|index| {
                self.plan_words
                    .get(index)
                    .ok_or_else(|| beyond(map::PLAN_WORDS))
            })
            .collect()
    }

    pub fn set_words(&mut self, first: u32, words: &[u32]) -> Result<()> {
        let is_done = self.plan_words.set(first, words);
        is_done.then_some(()).ok_or_else(|| beyond(map::PLAN_WORDS))
    }

    /// The values of all real slots, in order.
    pub fn reals(&self) -> Result<Vec<RealServer>> {
        self.reals.all()
    }

    /// Writes reals, in this order.
    pub fn set_reals(&mut self, reals: &[(u32, RealServer)]) -> Result<()> {
        self.reals.set_all(reals)
    }

    pub fn real_counts(&self, slot: u32) -> Result<RealCounts> {
        self.real_counts
            .get(slot)
            .ok_or_else(|| beyond(map::REAL_COUNTS))
    }

    /// Forgets what a service's scheduler remembers of destinations: all of it,
    /// or some reals as members of its sets.
    pub fn forget_localities(&mut self, service: u32, reals: Option<&[u32]>) -> Result<()> {
        let done = self.localities.forget(service, reals);
        done.map_err(|source| DataPlaneError::Path {
            action: "forget entries of",
            path: map::LOCALITIES.into(),
            source,
        })
    }

    /// Destinations that the schedulers remember, of all services.
    pub fn locality_count(&self) -> Result<u64> {
        let counts = self.localities.counts();
        let counts = counts.map_err(|source| DataPlaneError::Path {
            action: "read",
            path: map::LOCALITY_COUNTS.into(),
            source,
        })?;
        Ok(counts.into_iter().map(u64::from).sum())
    }

    /// The counters of a real, summed over the CPUs.
    pub fn real_stats(&self, slot: u32) -> Result<RealStats> {
        let per_cpu = self
            .real_stats
            .get(&slot, 0)
            .map_err(named(map::REAL_STATS))?;
        let mut sum = RealStats::default();
        for cpu in per_cpu.iter() {
            sum += *cpu;
        }
        Ok(sum)
    }

    /// The same of the first slots, as many as there are in `end`, in order.
    pub fn all_real_stats(&self, end: u32) -> Result<Vec<RealStats>> {
        const BATCH: usize = 1024;
        let failed = |source| DataPlaneError::Path {
            action: "read",
            path: map::REAL_STATS.into(),
            source,
        };
        let end = end as usize;
        let mut keys = vec![MaybeUninit::uninit(); BATCH.min(end)];
        let mut values = vec![MaybeUninit::<RealStats>::uninit(); BATCH.min(end) * self.cpus];
        let mut sums = Vec::with_capacity(end);
        let mut position = None;
        while sums.len() < end {
            let map = self.all_real_stats.as_fd();
            let (count, next) =
                lookup_batch_per_cpu(map, position, &mut keys, &mut values, self.cpus)
                    .map_err(failed)?;
            for per_cpu in values.chunks_exact(self.cpus).take(count) {
                let mut sum = RealStats::default();
                for cpu in per_cpu {
                    // SAFETY: the call filled `count` times as many as there are CPUs.
                    sum += unsafe { cpu.assume_init() };
                }
                sums.push(sum);
            }
            position = next;
            if next.is_none() {
                break;
            }
        }
        sums.truncate(end);
        Ok(sums)
    }

    /// Makes slots ready for new reals: no connections, counters at 0.
    pub fn clear_reals(&mut self, slots: &[u32]) -> Result<()> {
        for slot in slots {
            if !self.real_counts.set(*slot, &[RealCounts::default()]) {
                return Err(beyond(map::REAL_COUNTS));
            }
        }
        self.clear_real_stats(slots)
    }

    /// Sets reals' counters to 0.
    pub fn clear_real_stats(&mut self, slots: &[u32]) -> Result<()> {
        const BATCH: usize = 4096;
        let zero = vec![RealStats::default(); BATCH.min(slots.len()) * self.cpus];
        let map = self.all_real_stats.as_fd();
        slots
            .chunks(BATCH)
            .try_for_each(|slots| {
                update_batch_per_cpu(map, slots, &zero[..slots.len() * self.cpus], self.cpus)
            })
            .map_err(|source| DataPlaneError::Path {
                action: "write",
                path: map::REAL_STATS.into(),
                source,
            })
    }

    /// What the reals that a service no longer has have counted.
    pub fn service_stats(&self, service: u32) -> Result<RealStats> {
        self.service_stats
            .get(&service, 0)
            .map_err(named(map::SERVICE_STATS))
    }

    pub fn set_service_stats(&mut self, service: u32, stats: RealStats) -> Result<()> {
        self.service_stats
            .set(service, stats, 0)
            .map_err(named(map::SERVICE_STATS))
    }

    /// The values of all next-hop slots, in order.
    pub fn next_hops(&self) -> Result<Vec<NextHop>> {
        self.next_hops.all()
    }

    pub fn next_hop(&self, slot: u32) -> Result<NextHop> {
        self.next_hops.get(slot)
    }

    /// Writes next hops, in this order.
    pub fn set_next_hops(&mut self, hops: &[(u32, NextHop)]) -> Result<()> {
        self.next_hops.set_all(hops)
    }

    pub fn settings(&self) -> Result<Settings> {
        self.settings.get(&0, 0).map_err(named(map::SETTINGS))
    }

    pub fn set_settings(&mut self, settings: Settings) -> Result<()> {
        self.settings
            .set(0, settings, 0)
            .map_err(named(map::SETTINGS))
    }

    /// Dropped packets by the reason's name; reasons without any are left out.
    pub fn drops(&self) -> Result<Vec<(&'static str, u64)>> {
        let mut drops = Vec::new();
        let reasons = DropReason::ALL
            .iter()
            .map(|reason| (reason.name(), *reason as u32));
        for (name, slot) in reasons.chain([
            ("icmp_suppressed", ICMP_SUPPRESSED_SLOT),
            ("stateless", STATELESS_SLOT),
        ]) {
            debug_assert!(slot < DROP_SLOTS);
            let per_cpu = self.drops.get(&slot, 0).map_err(named(map::DROPS))?;
            let sum: u64 = per_cpu.iter().sum();
            if sum > 0 {
                drops.push((name, sum));
            }
        }
        Ok(drops)
    }
}
