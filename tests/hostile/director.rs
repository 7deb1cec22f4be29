//! A data plane of a lane's own: loaded and configured by the daemon's code, as
//! `lbd.toml` says, reached by test runs.

use std::{collections::BTreeMap, net::IpAddr, time::Instant};

use aya::{
    maps::{Map, MapData, ProgramArray},
    programs::{TestRun as _, TestRunOptions},
};
use lb_common::{
    abi::{map, program},
    addr::{Addr, Be16},
    flow::{FlowKeyV4, FlowKeyV6},
    limits::SWEEP_BATCH,
    real::{self, Egress, NextHop, VlanTag},
};
use lb_daemon::{
    config::{
        file,
        model::{Capacity, Defence, Options, RealId, ServiceId, Strategy, Timeouts, TunnelSources},
    },
    dataplane::{Loaded, Programs, connection_table::ConnectionTable, pinned::PinDir},
    reconcile::Reconciler,
};
use lb_tests::scratch::Scratch;

use crate::{
    method::Method,
    run::Runner,
    wires::Wires,
    world::{EGRESS_MAC, FAMILIES, family, local, mac_of, real_index, tunnel_sources, vlan},
};

/// Entries that a lane's tables hold: all conversations and what the spoilt
/// packets begin between two clearances.
pub const CONNECTIONS: u32 = 65_536;

/// Fields are dropped in order: the bpffs goes last.
pub struct Director {
    pub runner: Runner,
    programs: Programs,
    reconciler: Reconciler,
    connections_v4: ConnectionTable<FlowKeyV4>,
    connections_v6: ConnectionTable<FlowKeyV6>,
    /// What `configure` made: the slots of the reals.
    reals: Vec<(ServiceId, RealId)>,
    pins: PinDir,
    _scratch: Scratch,
}

impl Director {
    /// No services, tables with room for `connections`.
    pub fn open(connections: u32) -> Self {
        let scratch = Scratch::create().unwrap();
        let pins = PinDir::open(&scratch.bpffs().unwrap()).unwrap();
        let capacity = Capacity {
            services: 32,
            reals: 128,
            connections,
            persistence: connections,
        };
        let sizes = capacity.into();
        let loaded = Programs::load(&pins, &sizes).unwrap();
        let Loaded {
            mut programs,
            tables,
            connections_v4,
            connections_v6,
            ..
        } = loaded;
        programs.set_stages().unwrap();
        Self {
            runner: Runner::new(programs.fd(program::DIRECTOR).unwrap()),
            programs,
            reconciler: Reconciler::new(tables, sizes).unwrap(),
            connections_v4,
            connections_v6,
            reals: Vec::new(),
            pins,
            _scratch: scratch,
        }
    }

    /// Configures a method's services, and how their reals are reached.
    pub fn enter(&mut self, method: Method, wires: Wires) {
        self.set_policy(&options(method.spreads_sources()), &defenceless());
        self.configure(&method.configuration(), wires);
    }

    /// With another defence.
    pub fn defend(&mut self, defence: &Defence) {
        self.set_policy(&options(false), defence);
    }

    fn set_policy(&mut self, options: &Options, defence: &Defence) {
        self.reconciler
            .set_policy(options, defence, &Timeouts::default())
            .unwrap();
    }

    /// Runs the sweep of IPv4 on every connection, in a mode.
    pub fn sweep_v4(&mut self, mode: u8) {
        let entries = self.connections_v4.iter().unwrap();
        let keys: Vec<FlowKeyV4> = entries.map(|(key, _)| key).collect();
        for keys in keys.chunks(SWEEP_BATCH) {
            let mut input = vec![keys.len() as u8, mode];
            input.resize(16, 0);
            for key in keys {
                // SAFETY: plain data.
                input.extend(unsafe { std::mem::transmute::<FlowKeyV4, [u8; 16]>(*key) });
            }
            let options = TestRunOptions {
                data_in: Some(&input),
                ..TestRunOptions::default()
            };
            let sweep = self.programs.xdp(program::SWEEP_V4).unwrap();
            sweep.test_run(options).unwrap();
        }
    }

    /// Configures the services of `lbd.toml`, and how their reals are reached.
    pub fn configure(&mut self, text: &str, wires: Wires) {
        for (service, real) in self.set_services(text) {
            self.resolve(real.address, wires);
            self.reals.push((service, real));
        }
    }

    /// Configures the services alone.
    pub fn set_services(&mut self, text: &str) -> Vec<(ServiceId, RealId)> {
        let config =
            file::parse(text, "lbd.toml").unwrap_or_else(|error| panic!("{error}\n{text}"));
        let mut reals = Vec::new();
        for service in &config.services {
            self.reconciler.set_service(service).unwrap();
            reals.extend(service.reals.iter().map(|real| (service.id, real.id)));
        }
        reals
    }

    /// The first real is behind an ordinary interface, the second in a VLAN with
    /// jumbo frames, the third on the side of the clients.
    fn resolve(&mut self, address: IpAddr, wires: Wires) {
        let (ifindex, mtu) = match real_index(address) {
            Some(0) => (wires.inside, 1500),
            Some(1) => (wires.inside, 9000),
            _ => (wires.outside, 1400),
        };
        let hop = NextHop {
            destination_mac: mac_of(address),
            source_mac: EGRESS_MAC,
            egress: egress(ifindex, real_index(address).and_then(vlan)),
            mtu,
            resolved: 1,
            local_address: Addr::from(local(family(address))),
            ..NextHop::default()
        };
        self.reconciler.set_next_hop(address, hop).unwrap();
    }

    /// Takes all services and connections away.
    pub fn clear(&mut self) {
        self.forget_connections();
        let services: Vec<_> = self.reconciler.image().bound_services().collect();
        for service in services {
            self.reconciler.remove_service(service).unwrap();
        }
        self.reconciler
            .free_retired(Instant::now(), |_| false)
            .unwrap();
        assert_eq!(self.reconciler.image().fill(), (0, 0));
        self.reals.clear();
    }

    /// Takes all connections away, counts and all.
    pub fn forget_connections(&mut self) {
        self.connections_v4.clear().unwrap();
        self.connections_v6.clear().unwrap();
    }

    /// Takes a stage's program out of the program array.
    pub fn empty_stage(&mut self, index: u32) {
        let stages = MapData::from_pin(self.pins.path().join(map::STAGES)).unwrap();
        let mut stages = ProgramArray::try_from(Map::ProgramArray(stages)).unwrap();
        stages.clear_index(&index).unwrap();
    }

    /// Puts all stages in again.
    pub fn fill_stages(&mut self) {
        self.programs.set_stages().unwrap();
    }

    /// Dropped packets by reason.
    pub fn drops(&self) -> BTreeMap<&'static str, u64> {
        let mut drops: BTreeMap<_, _> = self
            .reconciler
            .tables()
            .drops()
            .unwrap()
            .into_iter()
            .collect();
        let suppressed = drops.remove("icmp_suppressed");
        assert_eq!(
            suppressed, None,
            "ICMP messages were suppressed, though no rate was set"
        );
        drops
    }

    /// Packets of connections, both ways.
    pub fn counted_packets(&self) -> u64 {
        let count = |(service, real): &(ServiceId, RealId)| {
            let slot = self
                .reconciler
                .real_slot(*service, *real)
                .expect("a configured real");
            let stats = self.reconciler.tables().real_stats(slot).unwrap();
            stats.in_packets + stats.out_packets
        };
        self.reals.iter().map(count).sum()
    }
}

/// Out by an interface, or by a VLAN's lower port.
fn egress(ifindex: u32, vlan: Option<u16>) -> Egress {
    let mut egress = Egress {
        ifindex,
        ..Egress::default()
    };
    if let Some(number) = vlan {
        egress.vlan = real::vlan::ONE_TAG;
        egress.tags[0] = VlanTag {
            protocol: Be16::new(0x8100),
            tci: Be16::new(number),
        };
    }
    egress
}

/// The tables are emptied past the programs, which go on counting.
pub fn defenceless() -> Defence {
    Defence {
        drop_entry: Strategy::Off,
        drop_packet: Strategy::Off,
        stateless: Strategy::Off,
        ..Defence::default()
    }
}

/// No limit to ICMP messages.
fn options(spreads_sources: bool) -> Options {
    let [(v4, v4_length), (v6, v6_length)] = FAMILIES.map(tunnel_sources);
    let mut tunnel_sources = TunnelSources::default();
    if spreads_sources {
        let (IpAddr::V4(v4), IpAddr::V6(v6)) = (v4, v6) else {
            panic!("{v4} {v6}");
        };
        tunnel_sources = TunnelSources {
            v4: Some((v4, v4_length)),
            v6: Some((v6, v6_length)),
        };
    }
    Options {
        sloppy_tcp: false,
        expire_nodest: false,
        expire_quiescent: false,
        reuse_fin_wait: false,
        lblc_expiry_s: 86_400,
        icmp_rate: u32::MAX,
        tunnel_sources,
    }
}
