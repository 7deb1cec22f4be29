//! A data plane of a test's own, on a bpffs of its own: loaded, configured and
//! adopted by the daemon's code, reached by `BPF_PROG_TEST_RUN` instead of a wire.

use std::{
    ops::{Deref, DerefMut},
    sync::Mutex,
    time::Instant,
};

use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, PerCpuValues, RingBuf};
use lb_common::{
    abi::{Settings, map, program, settings_flag},
    addr::Addr,
    connection::Connection,
    defence::TableState,
    flow::{FlowKeyV4, FlowKeyV6},
    fragment::{FragmentKey, FragmentVerdict},
    persistence::{Template, TemplateKey},
    real::{Egress, NextHop, RealCounts},
    verdict::DROP_SLOTS,
};
use lb_daemon::{
    config::model::{
        Defence, ForwardingMethod, Options, Real, RealId, Scheduler, Service, Strategy, Timeouts,
        TunnelSources, Weight,
    },
    dataplane::{
        DataPlaneError, Loaded, Programs, Sizes, connection_table::ConnectionTable,
        migrate::Migration, pinned::PinDir, sweep::Walked,
    },
    reconcile::{Reconciler, policy::settings},
};
use lb_tests::scratch::Scratch;

use crate::{
    kernel::{self, Outcome},
    packet::Ip,
    world::{EGRESS_MAC, LOCAL, LOCAL_V6, mac_of},
};

/// `lo` in every namespace.
pub const LOOPBACK: u32 = 1;

/// Modes of the sweep: end what is idle, end everything.
pub const IDLE: u8 = 1;
pub const ALL: u8 = 2;

/// Small maps: they are made anew for each test.
pub const SIZES: Sizes = Sizes {
    connections: 4096,
    services: 8,
    reals: 64,
    plans: 512,
    plan_words: 65_536,
    next_hops: 64,
    templates: 256,
};

/// Flags of the settings that follow from what the maps hold.
const DERIVED_FLAGS: u32 = settings_flag::MARKS
    | settings_flag::PORT_ZERO
    | settings_flag::ONE_PACKET_REALS
    | settings_flag::DENY
    | settings_flag::ALLOW;

/// The data plane. Fields are dropped in order: the bpffs goes last.
pub struct Rig {
    pub programs: Programs,
    pub reconciler: Reconciler,
    pub connections: ConnectionTable<FlowKeyV4>,
    pub connections_v6: ConnectionTable<FlowKeyV6>,
    pub events: RingBuf<MapData>,
    pub adopted: bool,
    pub walked: Option<Walked>,
    sizes: Sizes,
    pins: PinDir,
    scratch: Scratch,
}

/// Why a data plane was not adopted, and what it is in.
#[derive(Debug)]
pub struct Refusal {
    pub error: DataPlaneError,
    pub scratch: Scratch,
}

/// Rigs that tests have done with: to load the programs takes a second, and in
/// an emulated machine ten.
static POOL: Mutex<Vec<Rig>> = Mutex::new(Vec::new());

/// A rig that another test may use after this one.
pub struct Shared(Option<Rig>);

impl Deref for Shared {
    type Target = Rig;

    fn deref(&self) -> &Rig {
        self.0.as_ref().expect("there until it is dropped")
    }
}

impl DerefMut for Shared {
    fn deref_mut(&mut self) -> &mut Rig {
        self.0.as_mut().expect("there until it is dropped")
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // What a failed test leaves behind is nobody's measure.
        if let Some(rig) = self.0.take()
            && !std::thread::panicking()
            && rig.walked.is_some()
        {
            POOL.lock().unwrap().push(rig);
        }
    }
}

impl Rig {
    /// As [`Self::new`], perhaps one that an earlier test has used: what a CPU
    /// remembers of its own limits is as that test left it.
    pub fn shared() -> Shared {
        let pooled = POOL.lock().unwrap().pop();
        let rig = match pooled {
            Some(mut rig) => {
                rig.clear();
                rig.forget_drops();
                while rig.events.next().is_some() {}
                if let Some(walked) = &mut rig.walked {
                    while walked.expiries.next().is_some() {}
                }
                rig
            }
            None => Self::new(),
        };
        Shared(Some(rig))
    }

    /// Removes every connection past the programs: the counts of the reals stay.
    pub fn forget_connections(&mut self) {
        self.connections.clear().unwrap();
        self.connections_v6.clear().unwrap();
        self.forget_fill();
    }

    fn forget_drops(&self) {
        let pin = self.pins.path().join(map::DROPS);
        let map = MapData::from_pin(&pin).unwrap();
        let mut drops: PerCpuArray<_, u64> = Map::PerCpuArray(map).try_into().unwrap();
        let cpus = aya::util::nr_cpus().unwrap();
        for slot in 0..DROP_SLOTS {
            let zero = PerCpuValues::try_from(vec![0; cpus]).unwrap();
            drops.set(slot, zero, 0).unwrap();
        }
    }

    /// Empty maps, IPVS's timeouts, ICMP messages without a limit to speak of.
    pub fn new() -> Self {
        Self::with_sizes(SIZES)
    }

    pub fn with_sizes(sizes: Sizes) -> Self {
        let mut rig = Self::open(Scratch::create().unwrap(), sizes).unwrap();
        assert!(!rig.adopted);
        rig.reconciler.set_marks(&[]).unwrap();
        rig.set_policy(&OPTIONS, &Defence::default());
        rig
    }

    /// No services, no connections, default settings: as new, at a hundredth
    /// of the price. Counters of drops and of each CPU stay as they are.
    pub fn clear(&mut self) {
        self.forget_connections();
        self.forget_fragments();
        self.forget_rates();
        for (key, _) in self.templates() {
            self.pinned_templates().remove(&key).unwrap();
        }
        let services: Vec<_> = self.reconciler.image().bound_services().collect();
        for service in services {
            self.reconciler.remove_service(service).unwrap();
        }
        let began = Instant::now();
        self.reconciler.free_retired(began, |_| false).unwrap();
        assert_eq!(self.reconciler.image().fill(), (0, 0));
        self.reconciler.set_marks(&[]).unwrap();
        self.set_policy(&OPTIONS, &Defence::default());
    }

    /// Options and defences, with IPVS's timeouts.
    pub fn set_policy(&mut self, options: &Options, defence: &Defence) {
        let timeouts = Timeouts::default();
        self.reconciler
            .set_policy(options, defence, &timeouts)
            .unwrap();
        // Also where a test has written other ones past the reconciler.
        let settings = settings(&timeouts, options, defence, &self.sizes);
        let flags = self.reconciler.tables().settings().unwrap().flags;
        self.write_settings(Settings {
            flags: settings.flags | flags & DERIVED_FLAGS,
            ..settings
        });
    }

    fn write_settings(&mut self, settings: Settings) {
        self.reconciler.tables_mut().set_settings(settings).unwrap();
    }

    /// What clients and services have used of their limits.
    fn forget_rates(&self) {
        let map = |name| MapData::from_pin(self.pins.path().join(name)).unwrap();
        let mut services: Array<_, u64> = Map::Array(map(map::SERVICE_RATES)).try_into().unwrap();
        for slot in 0..self.sizes.services {
            services.set(slot, 0, 0).unwrap();
        }
        let mut sources: HashMap<_, Addr, u64> =
            Map::LruHashMap(map(map::SOURCE_RATES)).try_into().unwrap();
        let keys: Vec<_> = sources.keys().collect::<Result<_, _>>().unwrap();
        for key in keys {
            sources.remove(&key).unwrap();
        }
    }

    /// The entries were removed past the programs, which count them.
    fn forget_fill(&self) {
        self.pretend_fill(0);
    }

    /// So many entries, as far as the defences know, and no defence in force.
    pub fn pretend_fill(&self, entries: u32) {
        self.change_fill(|state| {
            *state = TableState {
                entries,
                ever_used: state.ever_used,
                ..TableState::default()
            };
        });
    }

    pub fn change_fill(&self, change: impl Fn(&mut TableState)) {
        let pin = self.pins.path().join(map::TABLE_STATES);
        let map = MapData::from_pin(&pin).unwrap();
        let mut states: Array<_, TableState> = Map::Array(map).try_into().unwrap();
        for family in 0..2 {
            let mut state = states.get(&family, 0).unwrap();
            change(&mut state);
            states.set(family, state, 0).unwrap();
        }
    }

    fn pinned_templates(&self) -> HashMap<MapData, TemplateKey, Template> {
        let pin = self.pins.path().join(map::TEMPLATES);
        let map = MapData::from_pin(&pin).unwrap();
        Map::HashMap(map).try_into().unwrap()
    }

    /// Every persistence template.
    pub fn templates(&self) -> Vec<(TemplateKey, Template)> {
        let templates = self.pinned_templates();
        templates.iter().collect::<Result<_, _>>().unwrap()
    }

    /// The daemon never looks at fragments: by the pin.
    fn forget_fragments(&self) {
        let pin = self.pins.path().join(map::FRAGMENTS);
        let map = MapData::from_pin(&pin).unwrap();
        let mut fragments: HashMap<_, FragmentKey, FragmentVerdict> =
            Map::LruHashMap(map).try_into().unwrap();
        let keys: Vec<_> = fragments.keys().collect::<Result<_, _>>().unwrap();
        for key in keys {
            fragments.remove(&key).unwrap();
        }
    }

    /// As when lbd is stopped and started again: another set of programs on
    /// the same maps. After an error the pins can be opened once more.
    pub fn restart(self, sizes: Sizes) -> Result<Self, Box<Refusal>> {
        let Self {
            programs,
            reconciler,
            connections,
            connections_v6,
            events,
            pins,
            scratch,
            ..
        } = self;
        drop((programs, reconciler, events, pins));
        drop((connections, connections_v6));
        Self::open(scratch, sizes)
    }

    /// Loads or adopts what is in `scratch`.
    pub fn open(scratch: Scratch, sizes: Sizes) -> Result<Self, Box<Refusal>> {
        let pins = PinDir::open(&scratch.bpffs().unwrap()).unwrap();
        let mut loaded = match Programs::load(&pins, &sizes) {
            Ok(loaded) => loaded,
            Err(error) => return Err(Box::new(Refusal { error, scratch })),
        };
        let migration = loaded.migration.take();
        let rig = Self::of(loaded, sizes, pins, scratch);
        if let Some(mut migration) = migration {
            migration.catch_up().unwrap();
            rig.finish(migration);
        }
        Ok(rig)
    }

    /// As [`Self::restart`], with maps of other sizes, while these programs run:
    /// `meanwhile` has them run before each step.
    pub fn migrate(mut self, sizes: Sizes, meanwhile: impl Fn(&mut Self, u16)) -> Self {
        let mut loaded = Programs::load(&self.pins, &sizes).unwrap();
        let mut migration = loaded.migration.take().unwrap();
        meanwhile(&mut self, 0);
        migration.catch_up().unwrap();
        meanwhile(&mut self, 1);
        let Self { pins, scratch, .. } = self;
        let rig = Self::of(loaded, sizes, pins, scratch);
        rig.finish(migration);
        rig
    }

    /// As [`Self::migrate`] by a daemon that dies when the maps have changed places, after
    /// which these programs run once more.
    pub fn begin_to_migrate(mut self, sizes: Sizes, meanwhile: impl Fn(&mut Self)) -> Scratch {
        let mut loaded = Programs::load(&self.pins, &sizes).unwrap();
        loaded.migration.take().unwrap().catch_up().unwrap();
        self.pins.promote().unwrap();
        meanwhile(&mut self);
        self.scratch
    }

    fn finish(&self, mut migration: Migration) {
        self.pins.promote().unwrap();
        let (counts, left_out) = migration.carry_over(self.pins.path()).unwrap();
        self.reconciler.tables().repair(&counts).unwrap();
        assert_eq!(left_out, 0);
        self.pins.retire_former().unwrap();
        self.pins.forget_staging().unwrap();
    }

    fn of(loaded: Loaded, sizes: Sizes, pins: PinDir, scratch: Scratch) -> Self {
        let Loaded {
            mut programs,
            tables,
            events,
            connections_v4,
            connections_v6,
            walked,
            adopted,
            migration: _,
        } = loaded;
        programs.set_stages().unwrap();
        Self {
            programs,
            reconciler: Reconciler::new(tables, sizes).unwrap(),
            connections: connections_v4,
            connections_v6,
            events,
            adopted,
            walked: Some(walked),
            sizes,
            pins,
            scratch,
        }
    }

    /// The programs a second time, on the same maps.
    pub fn load_again(&self) -> Programs {
        Programs::load(&self.pins, &SIZES).unwrap().programs
    }

    /// As a daemon does that has started.
    pub fn keep_programs(&mut self) {
        self.programs.keep(&self.pins);
    }

    /// Where the maps are pinned.
    pub fn pins(&self) -> &PinDir {
        &self.pins
    }

    pub fn change_settings(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.reconciler.tables().settings().unwrap();
        change(&mut settings);
        self.write_settings(settings);
    }

    /// Configures a service, and a way out by `lo` to each of its reals.
    pub fn serve(&mut self, service: &Service) {
        service.validate().unwrap();
        self.reconciler.set_service(service).unwrap();
        for real in &service.reals {
            self.resolve(real.id.address, LOOPBACK, 1500);
        }
    }

    /// Tells the data plane how frames for `address` leave.
    pub fn resolve(&mut self, address: Ip, ifindex: u32, mtu: u16) {
        let egress = Egress {
            ifindex,
            ..Egress::default()
        };
        self.resolve_by(address, egress, mtu);
    }

    /// Likewise, with VLAN tags.
    pub fn resolve_by(&mut self, address: Ip, egress: Egress, mtu: u16) {
        let hop = NextHop {
            destination_mac: mac_of(address),
            source_mac: EGRESS_MAC,
            egress,
            mtu,
            resolved: 1,
            local_address: Addr::from(if address.is_ipv6() { LOCAL_V6 } else { LOCAL }),
            ..NextHop::default()
        };
        self.reconciler.set_next_hop(address, hop).unwrap();
    }

    /// A frame that comes in by `lo`.
    pub fn run(&mut self, frame: &[u8]) -> Outcome {
        self.run_at(LOOPBACK, frame)
    }

    /// A frame that comes in by an interface of this thread's namespace.
    pub fn run_at(&mut self, ingress: u32, frame: &[u8]) -> Outcome {
        kernel::run(
            self.programs.xdp(program::DIRECTOR).unwrap(),
            ingress,
            frame,
        )
    }

    /// Dropped packets under one reason.
    pub fn drops(&self, reason: &str) -> u64 {
        let drops = self.all_drops();
        drops
            .iter()
            .find(|(name, _)| *name == reason)
            .map_or(0, |(_, count)| *count)
    }

    /// Dropped packets by reason.
    pub fn all_drops(&self) -> Vec<(&'static str, u64)> {
        self.reconciler.tables().drops().unwrap()
    }

    /// Every entry of IPv6's connection table.
    pub fn entries_v6(&self) -> Vec<(FlowKeyV6, Connection)> {
        self.connections_v6.iter().unwrap().collect()
    }

    /// Every entry of IPv4's connection table.
    pub fn entries(&self) -> Vec<(FlowKeyV4, Connection)> {
        self.connections.iter().unwrap().collect()
    }

    /// The keys of IPv4's connection table.
    pub fn keys(&self) -> Vec<FlowKeyV4> {
        self.entries().into_iter().map(|(key, _)| key).collect()
    }

    /// The slot of a real.
    pub fn slot(&self, service: &Service, address: Ip) -> u32 {
        let is_it = |real: &&Real| real.id.address == address;
        let real = service
            .reals
            .iter()
            .find(is_it)
            .expect("a real of the service");
        self.reconciler
            .real_slot(service.id, real.id)
            .expect("a configured real")
    }

    /// What the data plane counts for a real: active, inactive. They must be
    /// the live entries' numbers.
    #[track_caller]
    pub fn counts(&self, service: &Service, address: Ip) -> (u32, u32) {
        let slot = self.slot(service, address);
        let counts = self.reconciler.tables().real_counts(slot).unwrap();
        let RealCounts {
            active, inactive, ..
        } = counts;
        let mut live = (0, 0);
        let v4 = self.entries().into_iter().map(|(_, entry)| entry);
        let v6 = self.entries_v6().into_iter().map(|(_, entry)| entry);
        for entry in v4.chain(v6) {
            let is_cut = entry.state().name() == "CUT";
            if entry.real == slot && entry.direction == 0 && !is_cut {
                let active = ["ESTABLISHED", "SYN_SENT", "SYN_RECV", "SYNACK"];
                if active.contains(&entry.state().name()) {
                    live.0 += 1;
                } else {
                    live.1 += 1;
                }
            }
        }
        assert_eq!(
            (active, inactive),
            live,
            "counts of {address} and live entries"
        );
        live
    }
}

/// IPVS's timeouts, ICMP messages without a limit to speak of.
pub const OPTIONS: Options = Options {
    sloppy_tcp: false,
    expire_nodest: false,
    expire_quiescent: false,
    reuse_fin_wait: false,
    lblc_expiry_s: 86_400,
    icmp_rate: 1_000_000,
    tunnel_sources: TunnelSources { v4: None, v6: None },
};

/// Every strategy off.
pub const DEFENCELESS: Defence = Defence {
    drop_entry: Strategy::Off,
    drop_packet: Strategy::Off,
    secure_tcp: Strategy::Off,
    stateless: Strategy::Off,
    rate_limit: None,
    deny: Vec::new(),
    allow: Vec::new(),
};

/// What the sweep program is given: a head with the number of keys and a mode,
/// and the keys.
pub fn sweep_input(mode: u8, keys: &[FlowKeyV4]) -> Vec<u8> {
    let mut input = vec![u8::try_from(keys.len()).unwrap(), mode];
    input.resize(16, 0);
    for key in keys {
        input.extend(key.source.get().to_be_bytes());
        input.extend(key.destination.get().to_be_bytes());
        input.extend(key.source_port.get().to_be_bytes());
        input.extend(key.destination_port.get().to_be_bytes());
        input.extend(key.protocol.to_le_bytes());
    }
    input
}

/// A service as the configuration would describe it: its name, and the reals'
/// addresses with their weights, in order. `port` is the reals'.
pub fn service(
    id: &str,
    scheduler: Scheduler,
    forward: ForwardingMethod,
    port: u16,
    reals: &[(Ip, u32)],
) -> Service {
    let real = |&(address, weight): &(Ip, u32)| Real {
        weight: Weight::new(weight).unwrap(),
        ..Real::new(RealId { address, port }, forward)
    };
    Service {
        forward,
        reals: reals.iter().map(real).collect(),
        ..Service::new(id.parse().unwrap(), scheduler)
    }
}
