//! A director of its own for the benchmark, in a network namespace of its
//! own, with one service, one real, and a way back to every client.

use std::{cell::RefCell, collections::HashMap, net::IpAddr, process::Command, time::Instant};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf,
    maps::{Array, MapData, ProgramArray},
    programs::{ProgramFd, TestRun as _, TestRunOptions, Xdp},
};
use lb_common::{
    abi::program,
    bench::Template,
    connection::Connection,
    flow::FlowKeyV4,
    real::{Egress, NextHop},
};
use lb_daemon::{
    config::model::{
        self, Capacity, Defence, ForwardingMethod, Real, RealId, Scheduler, Service, ServiceId,
        Strategy, Timeouts, TunnelSources,
    },
    dataplane::{Loaded, Programs, Sizes, object, pinned::PinDir, sweep::Walked},
    reconcile::Reconciler,
};
use lb_tests::scratch::Scratch;
use nix::sched::{CloneFlags, unshare};

use crate::{
    Options,
    packets::{self, Kind, PORT, REAL, VIP, frame, template},
    walk::{self, Walk},
};

pub(crate) const XDP_PASS: u32 = 2;
pub(crate) const XDP_TX: u32 = 3;
pub(crate) const XDP_REDIRECT: u32 = 4;

/// A million flows by nat take two entries each.
const CONNECTIONS: u32 = 1 << 21;
/// Every run comes in by the namespace's loopback interface.
const INGRESS: u32 = 1;

/// What every run of a case must end with.
#[derive(Clone, Copy)]
pub(crate) struct Expect {
    pub verdict: u32,
    pub bytes: usize,
}

impl Expect {
    /// For the packets that only prepare a case.
    pub(crate) fn any(self) -> Self {
        Self { bytes: 0, ..self }
    }
}

pub(crate) struct Bench {
    /// The virtual service.
    pub id: ServiceId,
    wrapper: RefCell<Ebpf>,
    templates: RefCell<Array<MapData, Template>>,
    under_test: RefCell<ProgramArray<MapData>>,
    director: ProgramFd,
    programs: Programs,
    reconciler: RefCell<Reconciler>,
    connections: RefCell<aya::maps::HashMap<MapData, FlowKeyV4, Connection>>,
    walked: RefCell<Option<Walked>>,
    _pins: PinDir,
    _scratch: Scratch,
}

impl Bench {
    pub(crate) fn open() -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET).context("a network namespace")?;
        network()?;
        let scratch = Scratch::create()?;
        let pin_dir = scratch.bpffs()?;
        let pins = PinDir::open(&pin_dir)?;
        let sizes = Sizes::from(Capacity {
            services: 64,
            reals: 4096,
            connections: CONNECTIONS,
            persistence: CONNECTIONS,
        });
        let Loaded {
            mut programs,
            tables,
            connections_v4,
            walked,
            ..
        } = Programs::load(&pins, &sizes)?;
        programs.set_stages()?;
        let mut reconciler = Reconciler::new(tables, sizes)?;
        let options = model::Options {
            sloppy_tcp: false,
            expire_nodest: false,
            expire_quiescent: false,
            reuse_fin_wait: false,
            lblc_expiry_s: 86_400,
            icmp_rate: 1000,
            tunnel_sources: TunnelSources::default(),
        };
        // A table that fills is no attack here.
        let defence = Defence {
            drop_entry: Strategy::Off,
            drop_packet: Strategy::Off,
            stateless: Strategy::Off,
            ..Defence::default()
        };
        reconciler.set_policy(&options, &defence, &Timeouts::default())?;

        let mut wrapper = aya::EbpfLoader::new().load(object::BENCH)?;
        for (_, program) in wrapper.programs_mut() {
            let program: &mut Xdp = program.try_into()?;
            program.load()?;
        }
        let templates = Array::try_from(wrapper.take_map("TEMPLATE").context("TEMPLATE")?)?;
        let under_test =
            ProgramArray::try_from(wrapper.take_map("UNDER_TEST").context("UNDER_TEST")?)?;
        let connections = aya::maps::HashMap::try_from(aya::maps::Map::HashMap(connections_v4))?;
        let id = format!("tcp:{VIP}:{PORT}").parse();
        Ok(Self {
            id: id.map_err(anyhow::Error::msg)?,
            wrapper: RefCell::new(wrapper),
            templates: RefCell::new(templates),
            under_test: RefCell::new(under_test),
            director: programs.fd(program::DIRECTOR)?,
            programs,
            reconciler: RefCell::new(reconciler),
            connections: RefCell::new(connections),
            walked: RefCell::new(Some(walked)),
            _pins: pins,
            _scratch: scratch,
        })
    }

    /// Gives the service one real, by this method.
    pub(crate) fn set_method(&self, forward: ForwardingMethod) -> Result<()> {
        let real = RealId {
            address: IpAddr::V4(REAL),
            port: PORT,
        };
        let service = Service {
            forward,
            reals: vec![Real::new(real, forward)],
            ..Service::new(self.id, Scheduler::Rr)
        };
        self.serve_anew(&service)
    }

    /// The service is this, and none of its reals has had a connection.
    pub(crate) fn serve_anew(&self, service: &Service) -> Result<()> {
        let hop = NextHop {
            destination_mac: [2, 0, 0, 0, 0, 3],
            source_mac: [2, 0, 0, 0, 0, 2],
            egress: Egress {
                ifindex: INGRESS,
                ..Egress::default()
            },
            mtu: 1500,
            resolved: 1,
            local_address: IpAddr::from([10, 0, 2, 1]).into(),
            ..NextHop::default()
        };
        let mut reconciler = self.reconciler.borrow_mut();
        reconciler.remove_service(service.id)?;
        reconciler.free_retired(Instant::now(), |_| false)?;
        reconciler.set_service(service)?;
        for real in &service.reals {
            reconciler.set_next_hop(real.id.address, hop)?;
        }
        Ok(())
    }

    /// Empties the connection table.
    pub(crate) fn clear(&self) -> Result<()> {
        let mut connections = self.connections.borrow_mut();
        let keys: Vec<_> = connections.keys().collect::<Result<_, _>>()?;
        for key in keys {
            connections.remove(&key)?;
        }
        Ok(())
    }

    /// The sweep over 2^20 connections, and the memory of the table.
    pub(crate) fn walk(&self) -> Result<Walk> {
        const FLOWS: u32 = 1 << 20;
        self.set_method(ForwardingMethod::Dr)?;
        self.clear()?;
        let expect = Expect {
            verdict: XDP_TX,
            bytes: 0,
        };
        self.run(Kind::Syn, FLOWS, FLOWS, expect)?;
        self.run(Kind::Established, FLOWS, FLOWS, expect)?;
        let walked = self.walked.borrow_mut().take();
        walk::measure(walked.context("the walk was measured before")?, CONNECTIONS)
    }

    pub(crate) fn transmit(&self, options: &Options) -> Result<f64> {
        self.least_of("transmit", options)
    }

    pub(crate) fn reference(&self, options: &Options) -> Result<f64> {
        self.least_of("reference", options)
    }

    /// The least figure of one of the wrapper's own programs.
    fn least_of(&self, name: &str, options: &Options) -> Result<f64> {
        let fd = {
            let wrapper = self.wrapper.borrow();
            let program = wrapper
                .program(name)
                .with_context(|| format!("program {name}"))?;
            program.fd()?.try_clone()?
        };
        self.under_test.borrow_mut().set(0, &fd, 0)?;
        let mut least = f64::INFINITY;
        for _ in 0..options.runs {
            let run = self.run_wrapper(Kind::Established, 1, options.repeat)?;
            least = least.min(run.1);
        }
        Ok(least)
    }

    /// Runs the director `repeat` times; checks what the last packet became.
    pub(crate) fn run(&self, kind: Kind, flows: u32, repeat: u32, expect: Expect) -> Result<f64> {
        self.under_test.borrow_mut().set(0, &self.director, 0)?;
        let ((verdict, bytes), ns) = self.run_wrapper(kind, flows, repeat)?;
        if expect.bytes > 0 {
            ensure!(
                (verdict, bytes) == (expect.verdict, expect.bytes),
                "the packet took another way: verdict {verdict}, {bytes} bytes"
            );
        }
        Ok(ns)
    }

    fn run_wrapper(&self, kind: Kind, flows: u32, repeat: u32) -> Result<((u32, usize), f64)> {
        self.templates
            .borrow_mut()
            .set(0, template(kind, flows), 0)?;
        let frame = frame(kind);
        let mut out = vec![0; frame.len() + 64];
        let mut wrapper = self.wrapper.borrow_mut();
        let program: &mut Xdp = wrapper
            .program_mut("wrapper")
            .context("program wrapper")?
            .try_into()?;
        let result = program.test_run(TestRunOptions {
            data_in: Some(&frame),
            data_out: Some(&mut out),
            repeat,
            ..TestRunOptions::default()
        })?;
        let ns = result.duration.as_nanos() as f64;
        Ok(((result.return_value, result.data_size_out as usize), ns))
    }

    pub(crate) fn verified_instructions(&self) -> HashMap<String, u32> {
        self.programs.verified_instructions()
    }
}

/// A veth pair with a default route through a neighbour that is always there.
fn network() -> Result<()> {
    let commands = [
        "link set lo up",
        "link add back type veth peer name far",
        "link set back up",
        "link set far up",
        "address add 10.0.1.1/24 dev back",
        "neighbour add 10.0.1.254 lladdr 02:00:00:00:00:09 dev back nud permanent",
        "route add default via 10.0.1.254",
    ];
    for command in commands {
        let status = Command::new("ip")
            .args(command.split(' '))
            .status()
            .context("run ip")?;
        ensure!(status.success(), "ip {command}");
    }
    for interface in ["all", "lo", "back"] {
        let path = format!("/proc/sys/net/ipv4/conf/{interface}/forwarding");
        std::fs::write(&path, "1").with_context(|| path)?;
    }
    debug_assert_eq!(
        packets::frame(Kind::Syn).len(),
        lb_common::bench::PACKET_BYTES
    );
    Ok(())
}
