//! Part 1: packets a second and CPU time a packet, of UDP flows that are there already.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lb_tests::daemon::Binaries;
use lb_tests::topology::{Method, Topology};

use super::balancer::{Balancer, service};
use super::figures::{Figures, PLAIN};
use super::generator::{Aim, FLOWS, Generator};
use super::lane::{Lane, Stub};
use super::nftables::{Pick, Rules};

const ROUNDS: u32 = 5;
/// Frames a sample: a second, more or less.
const FRAMES: u32 = 1_000_000;
/// The frames that make the flows, and show that the way is open: each flow's twice.
const FIRST_FRAMES: u32 = 2 * FLOWS;

/// Cases, as the JSON has them.
const PACKETS: &str = "udp_64_packets";
const CPU: &str = "udp_64_cpu";
const ARRIVED: &str = "udp_64_arrived";

const GENERATOR: &str = "generator alone";

/// Whoever forwards.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Contender {
    Generator,
    Plain,
    Nftables(Pick),
    Lbd(Method),
}

const CONTENDERS: [Contender; 7] = [
    Contender::Generator,
    Contender::Plain,
    Contender::Nftables(Pick::Numgen),
    Contender::Nftables(Pick::Jhash),
    Contender::Lbd(Method::Nat),
    Contender::Lbd(Method::Dr),
    Contender::Lbd(Method::Tun),
];

impl Contender {
    fn name(self) -> String {
        match self {
            Self::Generator => GENERATOR.to_owned(),
            Self::Plain => PLAIN.to_owned(),
            Self::Nftables(pick) => pick.name(),
            Self::Lbd(method) => format!("lbd {}", method.name()),
        }
    }

    /// Each has flows of its own.
    fn port(self) -> u16 {
        let place = CONTENDERS.iter().position(|other| *other == self);
        9000 + place.unwrap_or_default() as u16
    }
}

/// The wires.
struct Wires<'a> {
    network: &'a Topology,
    lbd: Lane,
    kernel: Lane,
    stub: Stub,
}

pub(crate) fn measure(
    network: &Topology,
    binaries: &Binaries,
    figures: &mut Figures,
) -> Result<()> {
    let mut generator = Generator::load()?;
    let wires = Wires {
        network,
        lbd: Lane::lay(network, &mut generator, 2)?,
        kernel: Lane::lay(network, &mut generator, 4)?,
        stub: Stub::lay(network, &mut generator, 6)?,
    };
    wires.kernel.poll_without_xdp(network)?;
    let services = Method::ALL.map(|method| {
        let port = Contender::Lbd(method).port();
        service(method, "udp", network.vip(), port, &wires.lbd.reals)
    });
    let interfaces = [wires.lbd.front.as_str(), &wires.lbd.back];
    let balancer = Balancer::start(network, binaries, &interfaces, &services)?;
    for round in 0..ROUNDS {
        let mut samples = Vec::new();
        let mut order = CONTENDERS;
        if !round.is_multiple_of(2) {
            order.reverse();
        }
        for contender in order {
            let sample = wires
                .sample(&mut generator, contender)
                .with_context(|| format!("{}\n{}", contender.name(), balancer.account()))?;
            samples.push((contender, sample));
        }
        record(&samples, figures)?;
    }
    Ok(())
}

/// What came of [`FRAMES`] frames.
struct Sample {
    spent: Duration,
    arrived: f64,
}

impl Wires<'_> {
    fn sample(&self, generator: &mut Generator, contender: Contender) -> Result<Sample> {
        let _rules = match contender {
            Contender::Nftables(pick) => {
                let (port, reals) = (contender.port(), &self.kernel.reals);
                Some(Rules::put(self.network, pick, "udp", port, reals)?)
            }
            _ => None,
        };
        let first = self.send(generator, contender, FIRST_FRAMES)?;
        ensure!(
            first.arrived * 2.0 >= f64::from(FIRST_FRAMES),
            "of the first {FIRST_FRAMES} frames only {} have arrived",
            first.arrived
        );
        self.send(generator, contender, FRAMES)
    }

    fn send(&self, generator: &mut Generator, contender: Contender, count: u32) -> Result<Sample> {
        let client = &self.network.clients[0];
        let before = self.arrived(contender)?;
        let spent = generator.send(client, &self.aim(contender), count)?;
        let arrived = (self.arrived(contender)? - before) as f64;
        Ok(Sample { spent, arrived })
    }

    fn aim(&self, contender: Contender) -> Aim {
        let (vip, port) = (self.network.vip(), contender.port());
        match contender {
            Contender::Generator => self.stub.aim,
            Contender::Plain => self.kernel.aim(self.kernel.reals[0], port),
            Contender::Nftables(_) => self.kernel.aim(vip, port),
            Contender::Lbd(_) => self.lbd.aim(vip, port),
        }
    }

    fn arrived(&self, contender: Contender) -> Result<u64> {
        match contender {
            Contender::Generator => self.stub.arrived(self.network),
            Contender::Plain | Contender::Nftables(_) => self.kernel.arrived(self.network),
            Contender::Lbd(_) => self.lbd.arrived(self.network),
        }
    }
}

/// CPU time is net of what the generator alone took in the same round for as many frames.
fn record(samples: &[(Contender, Sample)], figures: &mut Figures) -> Result<()> {
    let alone = samples
        .iter()
        .find(|(contender, _)| *contender == Contender::Generator)
        .context("a round without the generator alone")?;
    let alone_ns = alone.1.spent.as_nanos() as f64;
    for (contender, sample) in samples {
        let Sample { spent, arrived } = sample;
        let name = contender.name();
        let own_ns = match contender {
            Contender::Generator => alone_ns,
            _ => spent.as_nanos() as f64 - alone_ns,
        };
        figures.add(PACKETS, "packets/s", &name, arrived / spent.as_secs_f64());
        figures.add(CPU, "ns/packet", &name, own_ns / arrived);
        figures.add(ARRIVED, "%", &name, arrived / f64::from(FRAMES) * 100.0);
    }
    Ok(())
}

pub(crate) fn print(figures: &Figures) {
    println!(
        "\nUDP frames of 64 bytes in {FLOWS} established flows, one processor; medians of {ROUNDS} rounds of\n\
         {FRAMES} frames (quartiles); ns of CPU net of the generator; ratios to plain forwarding\n\
         and to nftables numgen\n"
    );
    println!(
        "{:<18} {:>22} {:>6} {:>6} {:>22} {:>6} {:>6} {:>20}",
        "contender",
        "thousand packets/s",
        "plain",
        "nft",
        "CPU ns/packet",
        "plain",
        "nft",
        "arrived %"
    );
    let nft = Pick::Numgen.name();
    for contender in CONTENDERS {
        let name = contender.name();
        let ratio = |case, base: &str| match contender {
            Contender::Generator => String::new(),
            _ => figures.ratio_text(case, &name, base),
        };
        println!(
            "{name:<18} {:>22} {:>6} {:>6} {:>22} {:>6} {:>6} {:>20}",
            figures.spread(PACKETS, &name, 1e-3, 0),
            ratio(PACKETS, PLAIN),
            ratio(PACKETS, &nft),
            figures.spread(CPU, &name, 1.0, 0),
            ratio(CPU, PLAIN),
            ratio(CPU, &nft),
            figures.spread(ARRIVED, &name, 1.0, 1),
        );
    }
}
