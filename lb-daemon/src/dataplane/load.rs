//! Loads the programs and makes or adopts the maps.

use std::{
    collections::HashMap,
    fs,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    mem::size_of,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::Arc,
};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Array, Map, MapData, MapType, PerCpuArray, ProgramArray, RingBuf, lpm_trie::Key},
    programs::{Program, ProgramFd, Xdp},
};
use aya_log::EbpfLogger;
use lb_common::{
    abi::{Event, Scratch, Settings, map, program, stage},
    addr::Addr,
    defence::TableState,
    filter,
    firewall_mark::{MarkKey, MarkPorts},
    flow::{FlowKey, FlowKeyV4, FlowKeyV6},
    fragment::{FragmentKey, FragmentVerdict},
    limits::{
        ACCESS_PREFIXES, EXPIRIES_BYTES, FRAGMENTED_DATAGRAMS, LIMITED_SOURCES,
        MAX_REALS_PER_SERVICE, MAX_TABLE_SIZE, WALK_PAUSE_BYTES,
    },
    persistence::{Template, TemplateKey},
    real::{CLIENT_HOPS, ClientHop, Egress, Live, NextHop, Pool, RealCounts, RealServer},
    scheduler::{
        SHELF, Scheduler,
        locality::{LocalityKey, LocalitySet},
        maglev,
    },
    service::{AddressKey, Plan, Policy, ReplyEnd, ServiceKey},
    stats::RealStats,
    sweep::Pace,
    table::{self, Bucket, Entry, FREE_STACKS, FreePlaces, Shape},
    verdict::DROP_SLOTS,
};

use tokio::io::unix::AsyncFd;

use super::{
    DataPlaneError, Tables,
    connection_table::{ConnectionTable, Maps},
    localities::{LOCALITIES, Localities},
    mapped::Mapped,
    object,
    pinned::PinDir,
    sweep::{SweptConnections, SweptTemplates, Walked},
    syscall::link_iterator,
};
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
/// The kernel's iterator over the elements of a map.
const MAP_ELEMENTS: &str = "bpf_map_elem";
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

/// The programs in the kernel, loaded and not yet attached.
pub struct Programs {
    ebpf: Ebpf,
    stages: ProgramArray<MapData>,
}

/// What [`Programs::load`] gives.
pub struct Loaded {
    pub programs: Programs,
    pub tables: Tables,
    /// Requests from the programs ([`Event`]).
    pub events: RingBuf<MapData>,
    /// The connection tables.
    pub connections_v4: ConnectionTable<FlowKeyV4>,
    pub connections_v6: ConnectionTable<FlowKeyV6>,
    /// What the sweep's walk needs.
    pub walked: Walked,
    /// True when the maps were there already.
    pub adopted: bool,
}

impl Programs {
    /// Loads the programs. The maps are those pinned in `pins`, which match
    /// `sizes`, or new ones, pinned there. After an error nothing new is
    /// left.
    pub fn load(pins: &PinDir, sizes: &Sizes) -> Result<Loaded, DataPlaneError> {
        let adopted = pins.is_adoptable(sizes);
        if adopted {
            pins.check(sizes)?;
        } else {
            pins.check_other_versions()?;
            // What a start that was cut off may have left.
            pins.clear()?;
            fs::create_dir_all(pins.path()).map_err(|source| DataPlaneError::Path {
                action: "create",
                path: pins.path().to_owned(),
                source,
            })?;
        }
        let loaded = Self::load_all(pins, sizes, adopted);
        if loaded.is_err() && !adopted {
            let _ = pins.clear();
        }
        loaded
    }

    fn load_all(pins: &PinDir, sizes: &Sizes, adopted: bool) -> Result<Loaded, DataPlaneError> {
        let level = log_level();
        let mut loader = EbpfLoader::new();
        loader.default_map_pin_directory(pins.path());
        loader.override_global(aya_log::LEVEL, &level, true);
        for layout in sizes.layouts() {
            loader.map_max_entries(layout.name, layout.max_entries);
        }
        let mut ebpf = loader.load(object::DIRECTOR)?;
        let btf = Btf::from_sys_fs().map_err(aya::EbpfError::from)?;
        for (name, program) in ebpf.programs_mut() {
            let error = |source| DataPlaneError::Program {
                name: name.to_owned(),
                source,
            };
            let loaded = match program {
                Program::Iter(program) => program.load(MAP_ELEMENTS, &btf),
                program => {
                    let program: &mut Xdp = program.try_into().map_err(error)?;
                    program.load()
                }
            };
            loaded.map_err(|error| DataPlaneError::load(name, error))?;
        }
        let shape = shape(&mut ebpf, sizes, adopted)?;
        let walked = walked(&mut ebpf, sizes, shape)?;
        let connections_v4 = connections_v4(&ebpf, sizes, shape)?;
        let connections_v6 = connections_v6(&ebpf, sizes, shape)?;
        let repair = program_fd(&ebpf, program::REPAIR)?;
        let tables = tables(&mut ebpf, sizes, repair)?;
        let stages = typed(&mut ebpf, map::STAGES)?;
        let events = typed(&mut ebpf, map::EVENTS)?;
        Ok(Loaded {
            programs: Self { ebpf, stages },
            tables,
            events,
            connections_v4,
            connections_v6,
            walked,
            adopted,
        })
    }

    /// Puts every stage's program into the program array.
    pub fn set_stages(&mut self) -> Result<(), DataPlaneError> {
        let schedulers = Scheduler::ALL.iter().map(|s| (*s as u32, s.program()));
        for (index, name) in schedulers.chain(stage::ALL) {
            let fd = self.fd(name)?;
            self.stages
                .set(index, &fd, 0)
                .map_err(|source| DataPlaneError::Map {
                    name: map::STAGES,
                    source,
                })?;
        }
        Ok(())
    }

    /// A program by its name in the object.
    pub fn xdp(&mut self, name: &str) -> Result<&mut Xdp, DataPlaneError> {
        xdp(&mut self.ebpf, name)
    }

    /// A descriptor of a loaded program.
    pub fn fd(&mut self, name: &str) -> Result<ProgramFd, DataPlaneError> {
        fd(&mut self.ebpf, name)
    }

    /// What the kernel says of a loaded program.
    pub fn info(&self, name: &str) -> Result<aya::programs::ProgramInfo, DataPlaneError> {
        let program = self
            .ebpf
            .program(name)
            .ok_or_else(|| DataPlaneError::Missing(format!("program {name}")))?;
        program.info().map_err(|source| DataPlaneError::Program {
            name: name.to_owned(),
            source,
        })
    }

    /// Starts to pass on what the programs log, if they may log anything.
    /// Must be called within a tokio runtime.
    pub fn start_log(&mut self) -> std::io::Result<()> {
        if log_level() <= aya_log::Level::Info as u8 {
            return Ok(());
        }
        let logger = EbpfLogger::init(&mut self.ebpf).map_err(std::io::Error::other)?;
        // SAFETY: the logger owns its ring's descriptor, always the same, and
        // closes it when it is dropped.
        let mut logger = unsafe { AsyncFd::register(logger) }?;
        tokio::spawn(async move {
            while let Ok(mut guard) = logger.readable_mut().await {
                guard.get_inner_mut().flush();
                guard.clear_ready();
            }
        });
        Ok(())
    }

    /// Instructions that the verifier walked, by program.
    #[must_use]
    pub fn verified_instructions(&self) -> HashMap<String, u32> {
        let info = |(name, program): (&str, &aya::programs::Program)| {
            Some((
                name.to_owned(),
                program.info().ok()?.verified_instruction_count()?,
            ))
        };
        self.ebpf.programs().filter_map(info).collect()
    }
}

/// The programs' own log level: what the daemon's filter lets through. Below
/// it the verifier removes the statements.
fn log_level() -> u8 {
    use tracing::level_filters::LevelFilter;
    match LevelFilter::current() {
        LevelFilter::TRACE => aya_log::Level::Trace as u8,
        LevelFilter::DEBUG => aya_log::Level::Debug as u8,
        _ => aya_log::Level::Info as u8,
    }
}

fn xdp<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, DataPlaneError> {
    let program = ebpf
        .program_mut(name)
        .ok_or_else(|| DataPlaneError::Missing(format!("program {name}")))?;
    program
        .try_into()
        .map_err(|source| DataPlaneError::Program {
            name: name.to_owned(),
            source,
        })
}

fn fd(ebpf: &mut Ebpf, name: &str) -> Result<ProgramFd, DataPlaneError> {
    let error = |source| DataPlaneError::Program {
        name: name.to_owned(),
        source,
    };
    let fd = xdp(ebpf, name)?.fd().map_err(error)?;
    fd.try_clone().map_err(|source| DataPlaneError::Path {
        action: "duplicate",
        path: name.into(),
        source,
    })
}

fn program_fd(ebpf: &Ebpf, name: &str) -> Result<OwnedFd, DataPlaneError> {
    let program = ebpf
        .program(name)
        .ok_or_else(|| DataPlaneError::Missing(format!("program {name}")))?;
    let fd = program.fd().map_err(|source| DataPlaneError::Program {
        name: name.to_owned(),
        source,
    })?;
    owned(fd.as_fd(), name)
}

fn owned(fd: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, DataPlaneError> {
    fd.try_clone_to_owned()
        .map_err(|source| DataPlaneError::Path {
            action: "duplicate",
            path: name.into(),
            source,
        })
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, DataPlaneError> {
    ebpf.take_map(name)
        .ok_or_else(|| DataPlaneError::Missing(format!("map {name}")))
}

/// How the connection tables hash: as ever, or anew.
fn shape(ebpf: &mut Ebpf, sizes: &Sizes, adopted: bool) -> Result<Shape, DataPlaneError> {
    let name = map::TABLE;
    let error = |source| DataPlaneError::Map { name, source };
    let mut map: Array<MapData, Shape> = typed(ebpf, name)?;
    if adopted {
        let shape = map.get(&0, 0).map_err(error)?;
        // What a first start was killed before it wrote: no packet has come in.
        if shape.seed != 0 && shape.buckets() == table::buckets(sizes.connections) {
            return Ok(shape);
        }
    }
    // The standard library's hasher is seeded by the system.
    let seed = RandomState::new().build_hasher().finish() | 1;
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let shape = Shape::new(seed, sizes.connections, cpus as u32);
    map.set(0, shape, 0).map_err(error)?;
    Ok(shape)
}

fn connections_v4(
    ebpf: &Ebpf,
    sizes: &Sizes,
    shape: Shape,
) -> Result<ConnectionTable<FlowKeyV4>, DataPlaneError> {
    let names = (map::CONNECTIONS_V4, map::INDEX_V4, map::FREE_V4);
    connections(ebpf, sizes, shape, names, 0)
}

fn connections_v6(
    ebpf: &Ebpf,
    sizes: &Sizes,
    shape: Shape,
) -> Result<ConnectionTable<FlowKeyV6>, DataPlaneError> {
    let names = (map::CONNECTIONS_V6, map::INDEX_V6, map::FREE_V6);
    connections(ebpf, sizes, shape, names, 1)
}

fn connections<K: FlowKey + aya::Pod>(
    ebpf: &Ebpf,
    sizes: &Sizes,
    shape: Shape,
    (entries, index, free): (&'static str, &'static str, &'static str),
    family: u32,
) -> Result<ConnectionTable<K>, DataPlaneError> {
    let maps = Maps {
        entries: map_fd(ebpf, entries)?,
        index: map_fd(ebpf, index)?,
        free: map_fd(ebpf, free)?,
        states: map_fd(ebpf, map::TABLE_STATES)?,
        family,
    };
    ConnectionTable::new(maps, shape, sizes.connections).map_err(|source| DataPlaneError::Path {
        action: "map into memory",
        path: entries.into(),
        source,
    })
}

fn walked(ebpf: &mut Ebpf, sizes: &Sizes, shape: Shape) -> Result<Walked, DataPlaneError> {
    let expiries = typed(ebpf, map::EXPIRIES)?;
    Ok(Walked {
        v4: SweptConnections {
            table: Arc::new(connections_v4(ebpf, sizes, shape)?),
            program: program_fd(ebpf, program::SWEEP_V4)?,
        },
        v6: SweptConnections {
            table: Arc::new(connections_v6(ebpf, sizes, shape)?),
            program: program_fd(ebpf, program::SWEEP_V6)?,
        },
        templates: swept_templates(ebpf)?,
        live: map_fd(ebpf, map::LIVE)?,
        real_counts: map_fd(ebpf, map::REAL_COUNTS)?,
        reals: sizes.reals,
        localities: localities(ebpf, sizes)?,
        settings: map_fd(ebpf, map::SETTINGS)?,
        table_states: map_fd(ebpf, map::TABLE_STATES)?,
        repair: program_fd(ebpf, program::REPAIR)?,
        pace: map_fd(ebpf, map::PACE)?,
        expiries,
    })
}

fn swept_templates(ebpf: &Ebpf) -> Result<SweptTemplates, DataPlaneError> {
    let entries = map_fd(ebpf, map::TEMPLATES)?;
    let walk = program_fd(ebpf, program::WALK_TEMPLATES)?;
    let iterator =
        link_iterator(walk.as_fd(), entries.as_fd()).map_err(|source| DataPlaneError::Path {
            action: "make an iterator of",
            path: program::WALK_TEMPLATES.into(),
            source,
        })?;
    Ok(SweptTemplates {
        entries,
        iterator,
        program: program_fd(ebpf, program::SWEEP_TEMPLATES)?,
    })
}

fn localities(ebpf: &Ebpf, sizes: &Sizes) -> Result<Localities, DataPlaneError> {
    let entries = map_fd(ebpf, map::LOCALITIES)?;
    let counts = map_fd(ebpf, map::LOCALITY_COUNTS)?;
    Ok(Localities::new(entries, counts, sizes.services))
}

fn map_fd(ebpf: &Ebpf, name: &'static str) -> Result<OwnedFd, DataPlaneError> {
    match ebpf.map(name) {
        Some(Map::Array(data) | Map::HashMap(data)) => owned(data.fd().as_fd(), name),
        _ => Err(DataPlaneError::Missing(format!("map {name}"))),
    }
}

/// A map as memory, of so many values.
fn mapped<V: aya::Pod>(
    ebpf: &Ebpf,
    name: &'static str,
    length: u32,
) -> Result<Mapped<V>, DataPlaneError> {
    let map = map_fd(ebpf, name)?;
    Mapped::new(map.as_fd(), length).map_err(|source| DataPlaneError::Path {
        action: "map into memory",
        path: name.into(),
        source,
    })
}

fn typed<T: TryFrom<Map, Error = aya::maps::MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<T, DataPlaneError> {
    T::try_from(take(ebpf, name)?).map_err(|source| DataPlaneError::Map { name, source })
}

fn tables(ebpf: &mut Ebpf, sizes: &Sizes, repair: OwnedFd) -> Result<Tables, DataPlaneError> {
    Ok(Tables {
        repair,
        services: typed(ebpf, map::SERVICES)?,
        addresses: typed(ebpf, map::ADDRESSES)?,
        filter: typed(ebpf, map::FILTER)?,
        masquerade: typed(ebpf, map::MASQUERADE)?,
        ports: typed(ebpf, map::PORTS)?,
        current_plans: typed::<Array<_, _>>(ebpf, map::CURRENT_PLANS)?,
        plans: typed(ebpf, map::PLANS)?,
        plan_words: mapped(ebpf, map::PLAN_WORDS, sizes.plan_words)?,
        localities: localities(ebpf, sizes)?,
        reals: typed(ebpf, map::REALS)?,
        real_counts: mapped(ebpf, map::REAL_COUNTS, sizes.reals)?,
        real_stats: typed::<PerCpuArray<_, _>>(ebpf, map::REAL_STATS)?,
        service_stats: typed(ebpf, map::SERVICE_STATS)?,
        next_hops: typed(ebpf, map::NEXT_HOPS)?,
        settings: typed(ebpf, map::SETTINGS)?,
        table_states: typed(ebpf, map::TABLE_STATES)?,
        deny: typed(ebpf, map::DENY)?,
        allow: typed(ebpf, map::ALLOW)?,
        marks: typed(ebpf, map::MARKS)?,
        policies: typed(ebpf, map::POLICIES)?,
        one_packet_reals: typed(ebpf, map::ONE_PACKET_REALS)?,
        drops: typed(ebpf, map::DROPS)?,
    })
}

const _: () = assert!(size_of::<Event>() <= EVENTS_BYTES as usize);
