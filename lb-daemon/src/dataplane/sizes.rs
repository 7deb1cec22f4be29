//! How large each map is, and how it looks in the kernel.

use std::mem::size_of;

use aya::maps::{MapType, lpm_trie::Key};
use lb_common::{
    abi::{Event, Scratch, Settings, map, stage},
    addr::Addr,
    defence::TableState,
    filter,
    firewall_mark::{MarkKey, MarkPorts},
    flow::{FlowKeyV4, FlowKeyV6},
    fragment::{FragmentKey, FragmentVerdict},
    limits::{
        ACCESS_PREFIXES, EXPIRIES_BYTES, FRAGMENTED_DATAGRAMS, LIMITED_SOURCES,
        MAX_REALS_PER_SERVICE, MAX_TABLE_SIZE, WALK_PAUSE_BYTES,
    },
    persistence::{Template, TemplateKey},
    real::{CLIENT_HOPS, ClientHop, Egress, Live, NextHop, Pool, RealCounts, RealServer},
    scheduler::{
        SHELF,
        locality::{LocalityKey, LocalitySet},
        maglev,
    },
    service::{AddressKey, Plan, Policy, ReplyEnd, ServiceKey},
    stats::RealStats,
    sweep::Pace,
    table::{self, Bucket, Entry, FREE_STACKS, FreePlaces, Shape},
    verdict::DROP_SLOTS,
};

use super::localities::LOCALITIES;
use crate::config::model::Capacity;

/// Words of plans for each real slot: a real stands in several lists under
/// wrr, has places in a table, and a plan lives beside its successor.
const PLAN_WORDS_PER_REAL: u32 = 64 + 2 * maglev::MOST_PLACES;
/// And for each service, whose table is long even for few reals.
const PLAN_WORDS_PER_SERVICE: u32 = 2 * maglev::SHORTEST;
/// Enough for the longest of plans beside its successor, and others: wrr's of as
/// many weights as reals, and mh's table.
const LEAST_PLAN_WORDS: u32 =
    MAX_REALS_PER_SERVICE * (MAX_REALS_PER_SERVICE + 16) + 4 * MAX_TABLE_SIZE;
/// Plans beyond two a service, for those that wait to be reused.
const SPARE_PLANS: u32 = 64;
const EVENTS_BYTES: u32 = 64 * 1024;
/// Destinations of firewall marks.
pub const MARKS: u32 = 65_536;
/// VLAN interfaces: as many as one port can have (IEEE 802.1Q).
pub const PORTS: u32 = 4096;

/// Entries of each map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// For each family.
    pub connections: u32,
    pub services: u32,
    pub reals: u32,
    pub plans: u32,
    pub plan_words: u32,
    pub next_hops: u32,
    /// Persistence templates.
    pub templates: u32,
}

impl From<Capacity> for Sizes {
    fn from(capacity: Capacity) -> Self {
        Self {
            connections: capacity.connections,
            services: capacity.services,
            reals: capacity.reals,
            plans: capacity
                .services
                .saturating_mul(2)
                .saturating_add(SPARE_PLANS),
            plan_words: plan_words(&capacity),
            next_hops: capacity.reals,
            templates: capacity.persistence,
        }
    }
}

/// Words for the plans, whole shelves.
fn plan_words(capacity: &Capacity) -> u32 {
    let reals = capacity.reals.saturating_mul(PLAN_WORDS_PER_REAL);
    let services = capacity.services.saturating_mul(PLAN_WORDS_PER_SERVICE);
    let words = reals.saturating_add(services).max(LEAST_PLAN_WORDS);
    words
        .min(u32::MAX - SHELF as u32)
        .next_multiple_of(SHELF as u32)
}

/// How a map looks in the kernel.
#[derive(Debug)]
pub struct Layout {
    pub name: &'static str,
    pub map_type: MapType,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
}

impl Sizes {
    /// Places for half-open connections by nat: a power of two.
    #[must_use]
    pub const fn half_open(&self) -> u32 {
        let eighth = self.connections / 8;
        if eighth < 64 {
            64
        } else {
            (eighth / 2 + 1).next_power_of_two()
        }
    }

    /// The layout of every pinned map.
    #[must_use]
    pub fn layouts(&self) -> Vec<Layout> {
        fn layout<K, V>(name: &'static str, map_type: MapType, max_entries: u32) -> Layout {
            let (key_size, value_size) = (size_of::<K>() as u32, size_of::<V>() as u32);
            Layout {
                name,
                map_type,
                key_size,
                value_size,
                max_entries,
            }
        }
        let shelves = |values: u32| values.div_ceil(SHELF as u32);
        use MapType::{Array, Hash, LpmTrie, LruHash, PerCpuArray};
        // At most one for each service and one for each real.
        let addresses = self.services.saturating_add(self.reals);
        vec![
            layout::<u32, Entry<FlowKeyV4>>(map::CONNECTIONS_V4, Array, self.connections),
            layout::<u32, Entry<FlowKeyV6>>(map::CONNECTIONS_V6, Array, self.connections),
            layout::<u32, Bucket>(map::INDEX_V4, Array, table::buckets(self.connections)),
            layout::<u32, Bucket>(map::INDEX_V6, Array, table::buckets(self.connections)),
            layout::<u32, FreePlaces>(map::FREE_V4, Array, FREE_STACKS),
            layout::<u32, FreePlaces>(map::FREE_V6, Array, FREE_STACKS),
            layout::<u32, Shape>(map::TABLE, Array, 1),
            layout::<u32, TableState>(map::TABLE_STATES, Array, 2),
            layout::<u32, FlowKeyV4>(map::HALF_OPEN_V4, Array, self.half_open()),
            layout::<u32, FlowKeyV6>(map::HALF_OPEN_V6, Array, self.half_open()),
            layout::<TemplateKey, Template>(map::TEMPLATES, Hash, self.templates),
            layout::<Key<Addr>, u32>(map::DENY, LpmTrie, ACCESS_PREFIXES),
            layout::<Key<Addr>, u32>(map::ALLOW, LpmTrie, ACCESS_PREFIXES),
            layout::<Key<MarkKey>, MarkPorts>(map::MARKS, LpmTrie, MARKS),
            layout::<Addr, u64>(map::SOURCE_RATES, LruHash, LIMITED_SOURCES),
            layout::<u32, u64>(map::SERVICE_RATES, Array, self.services),
            layout::<u32, Policy>(map::POLICIES, Array, self.services),
            layout::<ReplyEnd, ReplyEnd>(map::ONE_PACKET_REALS, Hash, self.reals),
            layout::<FragmentKey, FragmentVerdict>(map::FRAGMENTS, LruHash, FRAGMENTED_DATAGRAMS),
            layout::<ServiceKey, u32>(map::SERVICES, Hash, self.services),
            layout::<AddressKey, u32>(map::ADDRESSES, Hash, addresses),
            layout::<u32, Pool>(map::MASQUERADE, Hash, self.services),
            layout::<u32, Egress>(map::PORTS, Hash, PORTS),
            layout::<u32, u64>(map::CURRENT_PLANS, Array, self.services),
            layout::<u32, RealStats>(map::SERVICE_STATS, Array, self.services),
            layout::<u32, Plan>(map::PLANS, Array, self.plans),
            layout::<u32, [u32; SHELF]>(map::PLAN_WORDS, Array, shelves(self.plan_words)),
            layout::<LocalityKey, LocalitySet>(map::LOCALITIES, Hash, LOCALITIES),
            layout::<u32, u64>(map::FILTER, Array, filter::WORDS),
            layout::<u32, u32>(map::LOCALITY_COUNTS, Array, self.services),
            layout::<u32, RealServer>(map::REALS, Array, self.reals),
            layout::<u32, [RealCounts; SHELF]>(map::REAL_COUNTS, Array, shelves(self.reals)),
            layout::<u32, Live>(map::LIVE, Array, self.reals),
            layout::<u32, Pace>(map::PACE, Array, 1),
            layout::<u32, [u8; WALK_PAUSE_BYTES]>(map::PAUSE, Array, 1),
            layout::<u32, RealStats>(map::REAL_STATS, PerCpuArray, self.reals),
            layout::<u32, NextHop>(map::NEXT_HOPS, Array, self.next_hops),
            layout::<u32, ClientHop>(map::CLIENT_HOPS, Array, CLIENT_HOPS),
            layout::<u32, Settings>(map::SETTINGS, Array, 1),
            layout::<u32, u64>(map::DROPS, PerCpuArray, DROP_SLOTS),
            layout::<u32, Scratch>(map::SCRATCH, PerCpuArray, 2),
            layout::<u32, u32>(map::STAGES, MapType::ProgramArray, stage::COUNT),
            layout::<(), ()>(map::EVENTS, MapType::RingBuf, EVENTS_BYTES),
            layout::<(), ()>(map::EXPIRIES, MapType::RingBuf, EXPIRIES_BYTES),
        ]
    }
}

const _: () = assert!(size_of::<Event>() <= EVENTS_BYTES as usize);
