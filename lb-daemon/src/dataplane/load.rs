//! Loads the programs and makes or adopts the maps.

use std::{
    collections::HashMap,
    fs,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Array, Map, MapData, PerCpuArray, ProgramArray, RingBuf},
    programs::{Program, ProgramFd, Xdp},
};
use aya_log::EbpfLogger;
use lb_common::{
    abi::{ABI_VERSION, map, program, stage},
    flow::{FlowKey, FlowKeyV4, FlowKeyV6},
    scheduler::Scheduler,
    table::{self, Shape},
};

use tokio::io::unix::AsyncFd;

use super::{
    DataPlaneError, Tables,
    connection_table::{ConnectionTable, Maps},
    held_signals::HeldSignals,
    kept::{self, Kept},
    localities::Localities,
    mapped::Mapped,
    migrate::{self, Migration},
    object,
    pinned::PinDir,
    sizes::Sizes,
    sweep::{SweptConnections, SweptTemplates, Walked},
    syscall::link_iterator,
    values::Values,
};

/// The kernel's iterator over the elements of a map.
const MAP_ELEMENTS: &str = "bpf_map_elem";

/// The programs in the kernel, loaded and not yet attached.
pub struct Programs {
    ebpf: Ebpf,
    /// Of an earlier daemon: the object's own are not loaded then.
    kept: Kept,
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
    /// The maps that were there are of other sizes, or have not been left altogether:
    /// see [`Migration`] for what is to be done.
    pub migration: Option<Migration>,
}

impl Programs {
    /// Loads the programs. The maps are those pinned in `pins`, which match
    /// `sizes`, or new ones, pinned there; or new ones in [`PinDir::staging`], filled
    /// from those that are pinned. After an error nothing new is left.
    pub fn load(pins: &PinDir, sizes: &Sizes) -> Result<Loaded, DataPlaneError> {
        let is_unfinished = pins.recover()?;
        if !pins.is_adoptable(sizes) {
            pins.check_other_versions()?;
            // What a start that was cut off may have left.
            pins.clear()?;
            make_folder(pins.path())?;
            let loaded = Self::load_all(pins.path(), sizes, None);
            if loaded.is_err() {
                let _ = pins.clear();
            }
            return loaded;
        }
        pins.check_other_versions()?;
        match pins.check(sizes) {
            Ok(()) => {
                let mut loaded = Self::load_all(pins.path(), sizes, Some(pins))?;
                if is_unfinished {
                    loaded.migration = Some(Migration::open(&pins.former(), ABI_VERSION)?);
                }
                Ok(loaded)
            }
            Err(mismatch) if is_unfinished => Err(mismatch),
            Err(_) => {
                let migration = migrate::of(pins, sizes)?;
                let loaded = Self::load_migrated(pins, sizes, migration);
                if loaded.is_err() {
                    let _ = pins.forget_staging();
                }
                loaded
            }
        }
    }

    fn load_migrated(
        pins: &PinDir,
        sizes: &Sizes,
        mut migration: Migration,
    ) -> Result<Loaded, DataPlaneError> {
        make_folder(&pins.staging())?;
        let loaded = Self::load_all(&pins.staging(), sizes, None)?;
        migration.copy(&pins.staging())?;
        Ok(Loaded {
            adopted: true,
            migration: Some(migration),
            ..loaded
        })
    }

    /// The maps of `folder` are `adopted`, or made there.
    fn load_all(
        folder: &Path,
        sizes: &Sizes,
        adopted: Option<&PinDir>,
    ) -> Result<Loaded, DataPlaneError> {
        let level = log_level();
        let mut loader = EbpfLoader::new();
        loader.default_map_pin_directory(folder);
        // Programs of another level are not kept, and none of an object with other globals.
        loader.override_global(aya_log::LEVEL, &level, true);
        for layout in sizes.layouts() {
            loader.map_max_entries(layout.name, layout.max_entries);
        }
        let mut ebpf = loader.load(object::DIRECTOR)?;
        let kept = match adopted {
            Some(pins) if !logs(level) => kept::find(pins, &ebpf),
            _ => Kept::new(),
        };
        let held = HeldSignals::hold();
        load_programs(&mut ebpf, &kept)?;
        drop(held);
        let adopted = adopted.is_some();
        let shape = shape(&mut ebpf, sizes, adopted)?;
        let walked = walked(&mut ebpf, &kept, sizes, shape)?;
        let connections_v4 = connections_v4(&ebpf, sizes, shape)?;
        let connections_v6 = connections_v6(&ebpf, sizes, shape)?;
        let repair = program_fd(&ebpf, &kept, program::REPAIR)?;
        let tables = tables(&mut ebpf, sizes, repair)?;
        let stages = typed(&mut ebpf, map::STAGES)?;
        let events = typed(&mut ebpf, map::EVENTS)?;
        Ok(Loaded {
            programs: Self { ebpf, kept, stages },
            tables,
            events,
            connections_v4,
            connections_v6,
            walked,
            adopted,
            migration: None,
        })
    }

    /// Pins what had to be verified: the next daemon need not do it again.
    pub fn keep(&mut self, pins: &PinDir) {
        if self.kept.is_empty() && !logs(log_level()) {
            kept::keep(pins, &mut self.ebpf);
        }
    }

    /// Whether they are an earlier daemon's, and nothing had to be verified.
    #[must_use]
    pub fn are_kept(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Puts every stage's program into the program array.
    pub fn set_stages(&mut self) -> Result<(), DataPlaneError> {
        self.set_stages_but(&[])
    }

    /// As [`Self::set_stages`], without some of them.
    pub fn set_stages_but(&mut self, held: &[u32]) -> Result<(), DataPlaneError> {
        let schedulers = Scheduler::ALL.iter().map(|s| (*s as u32, s.program()));
        let stages = schedulers.chain(stage::ALL);
        for (index, name) in stages.filter(|(index, _)| !held.contains(index)) {
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
        match self.kept.get_mut(name) {
            Some(program) => Ok(program),
            None => xdp(&mut self.ebpf, name),
        }
    }

    /// A descriptor of a loaded program.
    pub fn fd(&mut self, name: &str) -> Result<ProgramFd, DataPlaneError> {
        let error = |source| DataPlaneError::Program {
            name: name.to_owned(),
            source,
        };
        let fd = self.xdp(name)?.fd().map_err(error)?;
        fd.try_clone().map_err(|source| DataPlaneError::Path {
            action: "duplicate",
            path: name.into(),
            source,
        })
    }

    /// What the kernel says of a loaded program.
    pub fn info(&self, name: &str) -> Result<aya::programs::ProgramInfo, DataPlaneError> {
        let info = match (self.kept.get(name), self.ebpf.program(name)) {
            (Some(program), _) => program.info(),
            (None, Some(program)) => program.info(),
            (None, None) => return Err(DataPlaneError::Missing(format!("program {name}"))),
        };
        info.map_err(|source| DataPlaneError::Program {
            name: name.to_owned(),
            source,
        })
    }

    /// Starts to pass on what the programs log, if they may log anything.
    /// Must be called within a tokio runtime.
    pub fn start_log(&mut self) -> std::io::Result<()> {
        if !logs(log_level()) {
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
        let count = |(name, _)| {
            let count = self.info(name).ok()?.verified_instruction_count()?;
            Some((name.to_owned(), count))
        };
        self.ebpf.programs().filter_map(count).collect()
    }
}

/// Gives the programs to the kernel, on all processors: its verifier is most of a start,
/// and looks at as many at once as there are threads that ask (`bpf_check` of Linux 5.2
/// and later locks only who may not see pointers out).
fn load_programs(ebpf: &mut Ebpf, kept: &Kept) -> Result<(), DataPlaneError> {
    let btf = Btf::from_sys_fs().map_err(aya::EbpfError::from)?;
    let programs = ebpf.programs_mut();
    let programs = Mutex::new(programs.filter(|(name, _)| !kept.contains_key(*name)));
    let next = || programs.lock().expect("nobody panics with it").next();
    let work = || {
        while let Some((name, program)) = next() {
            load_program(name, program, &btf)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..processors()).map(|_| scope.spawn(work)).collect();
        let mut outcomes = workers.into_iter().map(|worker| {
            let outcome = worker.join();
            outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        outcomes.try_for_each(|outcome| outcome)
    })
}

fn load_program(name: &str, program: &mut Program, btf: &Btf) -> Result<(), DataPlaneError> {
    let error = |source| DataPlaneError::Program {
        name: name.to_owned(),
        source,
    };
    let loaded = match program {
        Program::Iter(program) => program.load(MAP_ELEMENTS, btf),
        program => {
            let program: &mut Xdp = program.try_into().map_err(error)?;
            program.load()
        }
    };
    loaded.map_err(|error| DataPlaneError::load(name, error))
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
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

/// Whether programs of this level log anything. Their log is their own daemon's.
fn logs(level: u8) -> bool {
    level > aya_log::Level::Info as u8
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

fn program_fd(ebpf: &Ebpf, kept: &Kept, name: &str) -> Result<OwnedFd, DataPlaneError> {
    let fd = match (kept.get(name), ebpf.program(name)) {
        (Some(program), _) => program.fd(),
        (None, Some(program)) => program.fd(),
        (None, None) => return Err(DataPlaneError::Missing(format!("program {name}"))),
    };
    let fd = fd.map_err(|source| DataPlaneError::Program {
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

fn make_folder(path: &Path) -> Result<(), DataPlaneError> {
    fs::create_dir_all(path).map_err(|source| DataPlaneError::Path {
        action: "create",
        path: path.to_owned(),
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
    let shape = Shape::new(seed, sizes.connections, processors() as u32);
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

fn walked(
    ebpf: &mut Ebpf,
    kept: &Kept,
    sizes: &Sizes,
    shape: Shape,
) -> Result<Walked, DataPlaneError> {
    let expiries = typed(ebpf, map::EXPIRIES)?;
    Ok(Walked {
        v4: SweptConnections {
            table: Arc::new(connections_v4(ebpf, sizes, shape)?),
            program: program_fd(ebpf, kept, program::SWEEP_V4)?,
        },
        v6: SweptConnections {
            table: Arc::new(connections_v6(ebpf, sizes, shape)?),
            program: program_fd(ebpf, kept, program::SWEEP_V6)?,
        },
        templates: swept_templates(ebpf, kept)?,
        live: map_fd(ebpf, map::LIVE)?,
        real_counts: map_fd(ebpf, map::REAL_COUNTS)?,
        reals: sizes.reals,
        localities: localities(ebpf, sizes)?,
        settings: map_fd(ebpf, map::SETTINGS)?,
        table_states: map_fd(ebpf, map::TABLE_STATES)?,
        repair: program_fd(ebpf, kept, program::REPAIR)?,
        pace: map_fd(ebpf, map::PACE)?,
        expiries,
    })
}

fn swept_templates(ebpf: &Ebpf, kept: &Kept) -> Result<SweptTemplates, DataPlaneError> {
    let entries = map_fd(ebpf, map::TEMPLATES)?;
    let walk = program_fd(ebpf, kept, program::WALK_TEMPLATES)?;
    let iterator =
        link_iterator(walk.as_fd(), entries.as_fd()).map_err(|source| DataPlaneError::Path {
            action: "make an iterator of",
            path: program::WALK_TEMPLATES.into(),
            source,
        })?;
    Ok(SweptTemplates {
        entries,
        iterator,
        program: program_fd(ebpf, kept, program::SWEEP_TEMPLATES)?,
    })
}

fn localities(ebpf: &Ebpf, sizes: &Sizes) -> Result<Localities, DataPlaneError> {
    let entries = map_fd(ebpf, map::LOCALITIES)?;
    let counts = map_fd(ebpf, map::LOCALITY_COUNTS)?;
    Ok(Localities::new(entries, counts, sizes.services))
}

fn map_fd(ebpf: &Ebpf, name: &'static str) -> Result<OwnedFd, DataPlaneError> {
    match ebpf.map(name) {
        Some(Map::Array(data) | Map::HashMap(data) | Map::PerCpuArray(data)) => {
            owned(data.fd().as_fd(), name)
        }
        _ => Err(DataPlaneError::Missing(format!("map {name}"))),
    }
}

/// An array map, read and written by many values at a time.
fn values<V: aya::Pod>(ebpf: &Ebpf, name: &'static str) -> Result<Values<V>, DataPlaneError> {
    Ok(Values::new(map_fd(ebpf, name)?, name))
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
    let all_real_stats = map_fd(ebpf, map::REAL_STATS)?;
    Ok(Tables {
        repair,
        services: typed(ebpf, map::SERVICES)?,
        addresses: typed(ebpf, map::ADDRESSES)?,
        filter: typed(ebpf, map::FILTER)?,
        masquerade: typed(ebpf, map::MASQUERADE)?,
        ports: typed(ebpf, map::PORTS)?,
        current_plans: values(ebpf, map::CURRENT_PLANS)?,
        plans: values(ebpf, map::PLANS)?,
        plan_words: mapped(ebpf, map::PLAN_WORDS, sizes.plan_words)?,
        localities: localities(ebpf, sizes)?,
        reals: values(ebpf, map::REALS)?,
        real_counts: mapped(ebpf, map::REAL_COUNTS, sizes.reals)?,
        real_stats: typed::<PerCpuArray<_, _>>(ebpf, map::REAL_STATS)?,
        all_real_stats,
        cpus: aya::util::nr_cpus().map_err(|(_, source)| DataPlaneError::Path {
            action: "read",
            path: "/sys/devices/system/cpu/possible".into(),
            source,
        })?,
        service_stats: typed(ebpf, map::SERVICE_STATS)?,
        next_hops: values(ebpf, map::NEXT_HOPS)?,
        settings: typed(ebpf, map::SETTINGS)?,
        table_states: typed(ebpf, map::TABLE_STATES)?,
        deny: typed(ebpf, map::DENY)?,
        allow: typed(ebpf, map::ALLOW)?,
        marks: typed(ebpf, map::MARKS)?,
        policies: values(ebpf, map::POLICIES)?,
        one_packet_reals: typed(ebpf, map::ONE_PACKET_REALS)?,
        drops: typed(ebpf, map::DROPS)?,
    })
}
