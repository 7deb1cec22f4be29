//! Typed access to the maps. Every write is one element; the order of writes
//! is `reconcile::apply`'s business.

use aya::{
    Pod,
    maps::{Array, HashMap, MapData, MapError, PerCpuArray, PerCpuValues},
};
use lb_common::{
    abi::{Settings, map},
    real::{Egress, NextHop, Pool, RealCounts, RealServer},
    service::{AddressKey, Plan, ServiceKey},
    stats::RealStats,
    verdict::{DROP_SLOTS, DropReason, ICMP_SUPPRESSED_SLOT},
};

use super::DataPlaneError;

/// The maps that the daemon writes and reads.
pub struct Tables {
    pub(super) services: HashMap<MapData, ServiceKey, u32>,
    pub(super) addresses: HashMap<MapData, AddressKey, u32>,
    pub(super) masquerade: HashMap<MapData, u32, Pool>,
    pub(super) ports: HashMap<MapData, u32, Egress>,
    pub(super) current_plans: Array<MapData, u64>,
    pub(super) plans: Array<MapData, Plan>,
    pub(super) plan_words: Array<MapData, u32>,
    pub(super) reals: Array<MapData, RealServer>,
    pub(super) real_counts: Array<MapData, RealCounts>,
    pub(super) real_stats: PerCpuArray<MapData, RealStats>,
    pub(super) service_stats: Array<MapData, RealStats>,
    pub(super) next_hops: Array<MapData, NextHop>,
    pub(super) settings: Array<MapData, Settings>,
    pub(super) drops: PerCpuArray<MapData, u64>,
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

impl Tables {
    /// Every bound service with its slot.
    pub fn services(&self) -> Result<Vec<(ServiceKey, u32)>> {
        entries(&self.services, map::SERVICES)
    }

    pub fn bind_service(&mut self, key: ServiceKey, slot: u32) -> Result<()> {
        self.services
            .insert(key, slot, 0)
            .map_err(named(map::SERVICES))
    }

    pub fn unbind_service(&mut self, key: &ServiceKey) -> Result<()> {
        remove(&mut self.services, key, map::SERVICES)
    }

    /// The addresses that the programs know, with their roles.
    pub fn addresses(&self) -> Result<Vec<AddressKey>> {
        let keys = self.addresses.keys();
        keys.collect::<std::result::Result<_, _>>()
            .map_err(named(map::ADDRESSES))
    }

    pub fn add_address(&mut self, key: AddressKey) -> Result<()> {
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
        let plan = self
            .current_plans
            .get(&service, 0)
            .map_err(named(map::CURRENT_PLANS))?;
        Ok(plan as u32)
    }

    pub fn set_current_plan(&mut self, service: u32, plan: u32) -> Result<()> {
        self.current_plans
            .set(service, u64::from(plan), 0)
            .map_err(named(map::CURRENT_PLANS))
    }

    pub fn plan(&self, slot: u32) -> Result<Plan> {
        self.plans.get(&slot, 0).map_err(named(map::PLANS))
    }

    pub fn set_plan(&mut self, slot: u32, plan: Plan) -> Result<()> {
        self.plans.set(slot, plan, 0).map_err(named(map::PLANS))
    }

    pub fn words(&self, first: u32, length: u32) -> Result<Vec<u32>> {
        (first..first + length)
            .map(|index| self.plan_words.get(&index, 0))
            .collect::<std::result::Result<_, _>>()
            .map_err(named(map::PLAN_WORDS))
    }

    pub fn set_words(&mut self, first: u32, words: &[u32]) -> Result<()> {
        for (index, word) in (first..).zip(words) {
            self.plan_words
                .set(index, word, 0)
                .map_err(named(map::PLAN_WORDS))?;
        }
        Ok(())
    }

    /// The values of all real slots, in order.
    pub fn reals(&self) -> Result<Vec<RealServer>> {
        self.reals
            .iter()
            .collect::<std::result::Result<_, _>>()
            .map_err(named(map::REALS))
    }

    pub fn set_real(&mut self, slot: u32, real: RealServer) -> Result<()> {
        self.reals.set(slot, real, 0).map_err(named(map::REALS))
    }

    pub fn real_counts(&self, slot: u32) -> Result<RealCounts> {
        self.real_counts
            .get(&slot, 0)
            .map_err(named(map::REAL_COUNTS))
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

    /// Makes a slot ready for a new real: no connections, counters at 0.
    pub fn clear_real(&mut self, slot: u32) -> Result<()> {
        self.real_counts
            .set(slot, RealCounts::default(), 0)
            .map_err(named(map::REAL_COUNTS))?;
        let cpus = aya::util::nr_cpus().map_err(|(_, source)| DataPlaneError::Path {
            action: "read",
            path: "/sys/devices/system/cpu/possible".into(),
            source,
        })?;
        let zero = PerCpuValues::try_from(vec![RealStats::default(); cpus]).map_err(|source| {
            DataPlaneError::Path {
                action: "size the values of",
                path: map::REAL_STATS.into(),
                source,
            }
        })?;
        self.real_stats
            .set(slot, zero, 0)
            .map_err(named(map::REAL_STATS))
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
        self.next_hops
            .iter()
            .collect::<std::result::Result<_, _>>()
            .map_err(named(map::NEXT_HOPS))
    }

    pub fn next_hop(&self, slot: u32) -> Result<NextHop> {
        self.next_hops.get(&slot, 0).map_err(named(map::NEXT_HOPS))
    }

    pub fn set_next_hop(&mut self, slot: u32, hop: NextHop) -> Result<()> {
        self.next_hops
            .set(slot, hop, 0)
            .map_err(named(map::NEXT_HOPS))
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
        for (name, slot) in reasons.chain([("icmp_suppressed", ICMP_SUPPRESSED_SLOT)]) {
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
