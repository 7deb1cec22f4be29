//! The maps, declared once. Keys, values and names are `lb_common`'s; the
//! sizes here are the smallest that load, the daemon sets the real ones from
//! `[capacity]`. All are pinned by name under `<pin_dir>/v<ABI>`.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray, RingBuf},
};
use lb_common::{
    abi::{Scratch, Settings, stage},
    addr::Addr,
    defence::TableState,
    filter,
    firewall_mark::{MarkKey, MarkPorts},
    flow::{FlowKeyV4, FlowKeyV6},
    fragment::{FragmentKey, FragmentVerdict},
    limits::{
        ACCESS_PREFIXES, EXPIRIES_BYTES, FRAGMENTED_DATAGRAMS, LIMITED_SOURCES, WALK_PAUSE_BYTES,
    },
    persistence::{Template, TemplateKey},
    real::{self, ClientHop, Egress, Live, NextHop, Pool, RealCounts, RealServer},
    scheduler::{
        SHELF,
        locality::{LocalityKey, LocalitySet},
    },
    service::{AddressKey, Plan, Policy, ReplyEnd, ServiceKey},
    stats::RealStats,
    sweep::Pace,
    table::{Bucket, Entry, FREE_STACKS, FreePlaces, Shape},
    verdict::DROP_SLOTS,
};

/// Size of the events ring, bytes: a power of two and of pages.
const EVENTS_BYTES: u32 = 64 * 1024;

/// Place → 5-tuple and connection. The daemon reads it as memory.
#[map]
pub static CONNECTIONS_V4: Array<Entry<FlowKeyV4>> = Array::pinned(1024, BPF_F_MMAPABLE);

#[map]
pub static CONNECTIONS_V6: Array<Entry<FlowKeyV6>> = Array::pinned(1024, BPF_F_MMAPABLE);

/// Hash of a 5-tuple → places. Memory, so that buckets are whole cache lines.
#[map]
pub static INDEX_V4: Array<Bucket> = Array::pinned(128, BPF_F_MMAPABLE);

#[map]
pub static INDEX_V6: Array<Bucket> = Array::pinned(128, BPF_F_MMAPABLE);

/// CPU → places that are free.
#[map]
pub static FREE_V4: Array<FreePlaces> = Array::pinned(FREE_STACKS, BPF_F_MMAPABLE);

#[map]
pub static FREE_V6: Array<FreePlaces> = Array::pinned(FREE_STACKS, BPF_F_MMAPABLE);

/// How the connection tables hash.
#[map]
pub static TABLE: Array<Shape> = Array::pinned(1, 0);

/// Index 0: IPv4's table, 1: IPv6's → its fill, and what is done about it.
#[map]
pub static TABLE_STATES: Array<TableState> = Array::pinned(2, 0);

/// Connections by nat that may still be half-open, of which some make room for
/// others when the table is nearly full. Any place may hold an old key.
#[map]
pub static HALF_OPEN_V4: Array<FlowKeyV4> = Array::pinned(64, 0);

#[map]
pub static HALF_OPEN_V6: Array<FlowKeyV6> = Array::pinned(64, 0);

/// Client's network and service → real.
#[map]
pub static TEMPLATES: HashMap<TemplateKey, Template> = HashMap::pinned(64, 0);

/// Client's network → 1: may not make connections.
#[map]
pub static DENY: LpmTrie<Addr, u32> = LpmTrie::pinned(ACCESS_PREFIXES, 0);

/// Client's network → 1: may make connections, and nobody else.
#[map]
pub static ALLOW: LpmTrie<Addr, u32> = LpmTrie::pinned(ACCESS_PREFIXES, 0);

/// Client's network → until when its new connections are paid for, ns.
#[map]
pub static SOURCE_RATES: LruHashMap<Addr, u64> = LruHashMap::pinned(LIMITED_SOURCES, 0);

/// Service slot → the same of all its new connections.
#[map]
pub static SERVICE_RATES: Array<u64> = Array::pinned(64, 0);

/// Fragmented datagram → where its fragments go.
#[map]
pub static FRAGMENTS: LruHashMap<FragmentKey, FragmentVerdict> =
    LruHashMap::pinned(FRAGMENTED_DATAGRAMS, 0);

/// Hash of an address → whether services or reals have it.
#[map]
pub static FILTER: Array<u64> = Array::pinned(filter::WORDS, 0);

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

/// Protocol and destination's network → services by port.
#[map]
pub static MARKS: LpmTrie<MarkKey, MarkPorts> = LpmTrie::pinned(64, 0);

/// Service slot → what holds for its new connections.
#[map]
pub static POLICIES: Array<Policy> = Array::pinned(64, 0);

/// Real of a one-packet service under nat → the service's address and port.
#[map]
pub static ONE_PACKET_REALS: HashMap<ReplyEnd, ReplyEnd> = HashMap::pinned(64, 0);

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

/// The lists of all plans. The daemon writes them as memory.
#[map]
pub static PLAN_WORDS: Array<[u32; SHELF]> = Array::pinned(64, BPF_F_MMAPABLE);

/// Service slot and wanted address → the reals that serve it.
#[map]
pub static LOCALITIES: HashMap<LocalityKey, LocalitySet> = HashMap::pinned(64, BPF_F_NO_PREALLOC);

/// Service slot → its entries in `LOCALITIES`.
#[map]
pub static LOCALITY_COUNTS: Array<u32> = Array::pinned(64, 0);

/// Real slot → real server.
#[map]
pub static REALS: Array<RealServer> = Array::pinned(64, 0);

/// Real slot, sixteen to a value → live connections. The daemon reads it as
/// memory.
#[map]
pub static REAL_COUNTS: Array<[RealCounts; SHELF]> = Array::pinned(4, BPF_F_MMAPABLE);

/// Real slot → templates that a walk has met. The daemon reads and clears it as
/// memory.
#[map]
pub static LIVE: Array<Live> = Array::pinned(64, BPF_F_MMAPABLE);

/// Where a walk stands.
#[map]
pub static PACE: Array<Pace> = Array::pinned(1, 0);

/// What a walk writes to let its reader go: nothing, and much of it.
#[map]
pub static PAUSE: Array<[u8; WALK_PAUSE_BYTES]> = Array::pinned(1, 0);

/// Real slot → counters.
#[map]
pub static REAL_STATS: PerCpuArray<RealStats> = PerCpuArray::pinned(64, 0);

/// Next-hop slot → next hop.
#[map]
pub static NEXT_HOPS: Array<NextHop> = Array::pinned(64, 0);

/// How frames reach clients under nat, for a moment.
#[map]
pub static CLIENT_HOPS: Array<ClientHop> = Array::pinned(real::CLIENT_HOPS, 0);

#[map]
pub static SETTINGS: Array<Settings> = Array::pinned(1, 0);

/// Drop reason → packets.
#[map]
pub static DROPS: PerCpuArray<u64> = PerCpuArray::pinned(DROP_SLOTS, 0);

/// Requests to the daemon.
#[map]
pub static EVENTS: RingBuf = RingBuf::pinned(EVENTS_BYTES, 0);

/// Connections and templates that are over before the next walk, unless a packet
/// comes.
#[map]
pub static EXPIRIES: RingBuf = RingBuf::pinned(EXPIRIES_BYTES, 0);

/// What a stage hands to the next one.
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::pinned(2, 0);

/// Schedulers and stages, for tail calls.
#[map]
pub static STAGES: ProgramArray = ProgramArray::pinned(stage::COUNT, 0);
