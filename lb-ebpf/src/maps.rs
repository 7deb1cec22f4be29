//! The maps, declared once. Keys, values and names are `lb_common`'s; the
//! sizes here are the smallest that load, the daemon sets the real ones from
//! `[capacity]`. All are pinned by name under `<pin_dir>/v<ABI>`.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, ProgramArray, RingBuf},
};
use lb_common::{
    abi::{Scratch, Settings, stage},
    connection::Connection,
    flow::{FlowKeyV4, FlowKeyV6},
    fragment::{FragmentKey, FragmentVerdict},
    limits::FRAGMENTED_DATAGRAMS,
    real::{Egress, NextHop, Pool, RealCounts, RealServer},
    service::{AddressKey, Plan, ServiceKey},
    stats::RealStats,
    verdict::DROP_SLOTS,
};

/// Size of the events ring, bytes: a power of two and of pages.
const EVENTS_BYTES: u32 = 64 * 1024;

/// 5-tuple → connection. Preallocated: an insert in softirq never allocates.
#[map]
pub static CONNECTIONS_V4: HashMap<FlowKeyV4, Connection> = HashMap::pinned(1024, 0);

#[map]
pub static CONNECTIONS_V6: HashMap<FlowKeyV6, Connection> = HashMap::pinned(1024, 0);

/// Fragmented datagram → where its fragments go.
#[map]
pub static FRAGMENTS: LruHashMap<FragmentKey, FragmentVerdict> =
    LruHashMap::pinned(FRAGMENTED_DATAGRAMS, 0);

/// Address and protocol of services and of reals under nat.
#[map]
pub static ADDRESSES: HashMap<AddressKey, u32> = HashMap::pinned(64, 0);

/// Service slot → addresses of its `masquerade`.
#[map]
pub static MASQUERADE: HashMap<u32, Pool> = HashMap::pinned(64, BPF_F_NO_PREALLOC);

/// VLAN interface, or port of some → how frames for it leave.
#[map]
pub static PORTS: HashMap<u32, Egress> = HashMap::pinned(1024, 0);

/// Address, port, protocol → service slot.
#[map]
pub static SERVICES: HashMap<ServiceKey, u32> = HashMap::pinned(64, 0);

/// Service slot → slot of the plan in force.
#[map]
pub static CURRENT_PLANS: Array<u64> = Array::pinned(64, 0);

/// Service slot → what reals that the service no longer has have counted.
/// The daemon's alone.
#[map]
pub static SERVICE_STATS: Array<RealStats> = Array::pinned(64, 0);

/// Plan slot → plan.
#[map]
pub static PLANS: Array<Plan> = Array::pinned(64, 0);

/// The lists of all plans.
#[map]
pub static PLAN_WORDS: Array<u32> = Array::pinned(1024, 0);

/// Real slot → real server.
#[map]
pub static REALS: Array<RealServer> = Array::pinned(64, 0);

/// Real slot → live connections.
#[map]
pub static REAL_COUNTS: Array<RealCounts> = Array::pinned(64, 0);

/// Real slot → counters.
#[map]
pub static REAL_STATS: PerCpuArray<RealStats> = PerCpuArray::pinned(64, 0);

/// Next-hop slot → next hop.
#[map]
pub static NEXT_HOPS: Array<NextHop> = Array::pinned(64, 0);

#[map]
pub static SETTINGS: Array<Settings> = Array::pinned(1, 0);

/// Drop reason → packets.
#[map]
pub static DROPS: PerCpuArray<u64> = PerCpuArray::pinned(DROP_SLOTS, 0);

/// Requests to the daemon.
#[map]
pub static EVENTS: RingBuf = RingBuf::pinned(EVENTS_BYTES, 0);

/// What a stage hands to the next one.
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::pinned(1, 0);

/// Schedulers and stages, for tail calls.
#[map]
pub static STAGES: ProgramArray = ProgramArray::pinned(stage::COUNT, 0);
