//! A director of its own for the benchmark, in a network namespace of its own.

use std::{collections::HashMap, net::IpAddr, ops::Range, time::Instant};

use anyhow::{Context as _, Result, ensure};
use aya::programs::{ProgramFd, TestRun as _, TestRunOptions};
use lb_common::{
    abi::program,
    limits::SWEEP_BATCH,
    real::{Egress, NextHop},
    sweep::{Header, mode},
};
use lb_daemon::{
    config::model::{
        Capacity, Defence, IpFamily, Options, Protocol, Service, Strategy, Timeouts, TunnelSources,
    },
    dataplane::{Loaded, Programs, Sizes, pinned::PinDir, sweep::Walked},
    reconcile::Reconciler,
};
use lb_tests::scratch::Scratch;

pub(crate) use crate::network::{NEIGHBOUR_MAC, ROUTE_MAC};
use crate::{
    cases::Method,
    expected::Expected,
    network,
    packets::{
        DENIED_BITS, DIRECTOR_MAC, FIRST_DENIED, Kind, PORTS, Packet, client, client_at, local, vip,
    },
    wrapper::{Flows, Wrapper, XDP_TX},
};

/// The next hop of every real.
pub(crate) const HOP_MAC: [u8; 6] = [2, 0, 0, 0, 0, 3];

/// Every run comes in by the namespace's loopback interface.
const INGRESS: u32 = 1;

pub(crate) struct Bench {
    wrapper: Wrapper,
    director: ProgramFd,
    programs: Programs,
    reconciler: Reconciler,
    walked: Option<Walked>,
    /// The flows whose connections are in the tables.
    connected: Vec<(IpFamily, Protocol, Range<u32>)>,
    pins: PinDir,
    _scratch: Scratch,
}

impl Bench {
    /// With room for so many entries of each family.
    pub(crate) fn open(connections: u32) -> Result<Self> {
        network::enter()?;
        let scratch = Scratch::create()?;
        let pins = PinDir::open(&scratch.bpffs()?)?;
        let sizes = Sizes::from(Capacity {
            services: 64,
            reals: 4096,
            connections,
            persistence: 1024,
        });
        let Loaded {
            mut programs,
            tables,
            walked,
            ..
        } = Programs::load(&pins, &sizes)?;
        programs.set_stages()?;
        let mut bench = Self {
            wrapper: Wrapper::load()?,
            director: programs.fd(program::DIRECTOR)?,
            programs,
            reconciler: Reconciler::new(tables, sizes)?,
            walked: Some(walked),
            connected: Vec::new(),
            pins,
            _scratch: scratch,
        };
        bench.deny(&[])?;
        Ok(bench)
    }

    /// Networks whose clients may not connect.
    fn deny(&mut self, networks: &[(IpAddr, u8)]) -> Result<()> {
        let options = Options {
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
            deny: networks.to_vec(),
            ..Defence::default()
        };
        self.reconciler
            .set_policy(&options, &defence, &Timeouts::default())?;
        Ok(())
    }

    /// Whether clients are kept out: even the look-up costs all others.
    pub(crate) fn set_denying(&mut self, is_denying: bool) -> Result<()> {
        if !is_denying {
            return self.deny(&[]);
        }
        // By the last word, which begins behind 96 bits in IPv6.
        self.deny(&[
            (client_at(IpFamily::V4, FIRST_DENIED), DENIED_BITS),
            (client_at(IpFamily::V6, FIRST_DENIED), 96 + DENIED_BITS),
        ])
    }

    /// The only service is this, and none of its reals has had a connection.
    pub(crate) fn serve_anew(&mut self, service: &Service) -> Result<()> {
        self.clear()?;
        let reconciler = &mut self.reconciler;
        let former: Vec<_> = reconciler.image().bound_services().collect();
        for former in former {
            reconciler.remove_service(former)?;
        }
        reconciler.free_retired(Instant::now(), |_| false)?;
        reconciler.set_service(service)?;
        for real in &service.reals {
            let family = match real.id.address {
                IpAddr::V4(_) => IpFamily::V4,
                IpAddr::V6(_) => IpFamily::V6,
            };
            let hop = NextHop {
                destination_mac: HOP_MAC,
                source_mac: DIRECTOR_MAC,
                egress: Egress {
                    ifindex: INGRESS,
                    ..Egress::default()
                },
                mtu: 1500,
                resolved: 1,
                local_address: local(family).into(),
                ..NextHop::default()
            };
            reconciler.set_next_hop(real.id.address, hop)?;
        }
        Ok(())
    }

    /// Ends every connection, as the sweep does it. An error if there were others
    /// than there should have been.
    pub(crate) fn clear(&mut self) -> Result<()> {
        for (family, protocol, flows) in std::mem::take(&mut self.connected) {
            let name = match family {
                IpFamily::V4 => program::SWEEP_V4,
                IpFamily::V6 => program::SWEEP_V6,
            };
            let program = self.programs.xdp(name)?;
            let mut ended = 0;
            for first in flows.clone().step_by(SWEEP_BATCH) {
                let batch = first..flows.end.min(first + SWEEP_BATCH as u32);
                let input = sweep_input(family, protocol, batch);
                let result = program.test_run(TestRunOptions {
                    data_in: Some(&input),
                    ..TestRunOptions::default()
                })?;
                ended += result.return_value;
            }
            let made = flows.len();
            ensure!(
                ended as usize == made,
                "{ended} connections were in the table, not {made}"
            );
        }
        Ok(())
    }

    /// Sends the packets of these flows through the director; the last one is
    /// compared byte for byte. Nanoseconds a packet.
    pub(crate) fn run(
        &mut self,
        method: Method,
        packet: &Packet,
        flows: Flows,
        repeat: u32,
    ) -> Result<f64> {
        let outcome = self.wrapper.run(&self.director, packet, flows, repeat)?;
        Expected::of(method, packet, outcome.flow)
            .check(&outcome)
            .with_context(|| format!("{packet:?} of flow {}", outcome.flow))?;
        if packet.kind == Kind::Beginning {
            let end = flows.first + repeat.min(flows.number - flows.first);
            self.connected
                .push((packet.family, packet.protocol, flows.first..end));
        }
        Ok(outcome.ns)
    }

    /// Likewise through the least that a program can do; what it sends is what the
    /// wrapper made.
    pub(crate) fn transmit(&mut self, packet: &Packet, flows: Flows, repeat: u32) -> Result<f64> {
        let program = self.wrapper.program("transmit")?;
        let outcome = self.wrapper.run(&program, packet, flows, repeat)?;
        ensure!(
            outcome.verdict == XDP_TX && outcome.frame == packet.frame(outcome.flow),
            "the wrapper made another {packet:?} of flow {}: {:02x?}",
            outcome.flow,
            outcome.frame
        );
        Ok(outcome.ns)
    }

    /// Likewise through the reference program, which sends what it has met.
    pub(crate) fn reference(&mut self, packet: &Packet, flows: Flows, repeat: u32) -> Result<f64> {
        let program = self.wrapper.program("reference")?;
        let outcome = self.wrapper.run(&program, packet, flows, repeat)?;
        Ok(outcome.ns)
    }

    /// Packets dropped under a reason.
    pub(crate) fn drops(&self, reason: &str) -> Result<u64> {
        let drops = self.reconciler.tables().drops()?;
        let found = drops.iter().find(|(name, _)| *name == reason);
        Ok(found.map_or(0, |(_, count)| *count))
    }

    /// What the sweep walks over. Nobody else has it.
    pub(crate) fn take_walked(&mut self) -> Result<Walked> {
        self.walked.take().context("the walk was measured before")
    }

    /// Where the maps are.
    pub(crate) fn pins(&self) -> &std::path::Path {
        self.pins.path()
    }

    pub(crate) fn verified_instructions(&self) -> HashMap<String, u32> {
        self.programs.verified_instructions()
    }
}

/// What the sweep program is given to end the connections of these flows
/// ([`Header`]).
fn sweep_input(family: IpFamily, protocol: Protocol, flows: Range<u32>) -> Vec<u8> {
    let mut input = vec![0; size_of::<Header>()];
    input[0] = flows.len() as u8;
    input[1] = mode::ALL;
    for flow in flows {
        for address in [client(family, flow), vip(family)] {
            match address {
                IpAddr::V4(address) => input.extend(address.octets()),
                IpAddr::V6(address) => input.extend(address.octets()),
            }
        }
        input.extend(PORTS.source.to_be_bytes());
        input.extend(PORTS.destination.to_be_bytes());
        input.extend([protocol.number(), 0, 0, 0]);
    }
    input
}
