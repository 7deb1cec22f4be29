//! What Linux's own IPVS decided (tests/vectors), replayed packet by packet
//! through the data plane: every pick, the counts and the states at the end.

use std::{collections::BTreeMap, fs, net::Ipv4Addr, path::Path};

use lb_daemon::config::model::{ForwardingMethod::Dr, Persistence, Scheduler, Service, Weight};
use lb_tests::privilege;
use serde::Deserialize;

use crate::{
    judge,
    kernel::Verdict,
    packet::{ACK, FIN, Header, Ip, Packet, RST, SYN},
    rig::{Rig, service},
    world::{PORT, TCP_SYN, mac_of},
};

#[derive(Deserialize)]
struct Vectors {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    scheduler: String,
    kind: String,
    /// A text, or an object for firewall marks.
    service: serde_json::Value,
    reals_in_scan_order: Vec<Configured>,
    ops: Vec<Op>,
    #[serde(rename = "final")]
    counts: Vec<Counts>,
    final_states: Vec<State>,
}

#[derive(Deserialize)]
struct Configured {
    address: Ipv4Addr,
    weight: u32,
    #[serde(default)]
    upper_threshold: u32,
    #[serde(default)]
    lower_threshold: u32,
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Op {
    Syn {
        #[serde(flatten)]
        flow: Flow,
        real: Option<Ipv4Addr>,
    },
    Ack(Flow),
    Fin(Flow),
    Rst(Flow),
    Weight {
        real: Ipv4Addr,
        weight: u32,
    },
}

#[derive(Deserialize)]
struct Flow {
    src: Ipv4Addr,
    sport: u16,
    dst: Ipv4Addr,
}

#[derive(Deserialize)]
struct Counts {
    address: Ipv4Addr,
    active: u32,
    inactive: u32,
}

#[derive(Deserialize)]
struct State {
    #[serde(flatten)]
    flow: Flow,
    state: String,
}

/// ipvsadm's `-p 300 -M 255.255.255.0`, with which the cases of kind "persist"
/// were recorded.
const PERSISTENCE: Persistence = Persistence {
    timeout_s: 300,
    netmask: 24,
    netmask_v6: 128,
};

#[test]
fn ipvs_would_have_decided_the_same() {
    if !privilege::bpf() {
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/ipvs-6.1.json");
    let vectors: Vectors = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut rig = Rig::shared();
    let (mut replayed, mut skipped) = (BTreeMap::new(), BTreeMap::new());
    for (number, case) in vectors.cases.iter().enumerate() {
        let scheduler = Scheduler::from_name(&case.scheduler);
        let tally = match scheduler {
            Some(scheduler) => {
                replay(&mut rig, number, case, scheduler);
                &mut replayed
            }
            None => &mut skipped,
        };
        *tally
            .entry((case.scheduler.as_str(), case.kind.as_str()))
            .or_insert(0) += 1;
    }
    for (what, tally) in [
        ("replayed", replayed),
        ("skipped, not supported yet", skipped),
    ] {
        let total: u32 = tally.values().sum();
        println!("{total} {what}:");
        for ((scheduler, kind), cases) in tally {
            println!("  {cases} {scheduler} {kind}");
        }
        assert!(total > 0 || what != "replayed");
    }
}

impl Case {
    /// The service with the reals from `first` on.
    fn service(&self, scheduler: Scheduler, first: usize) -> Service {
        let id = self.service.as_str().expect("a service's name");
        let configured = &self.reals_in_scan_order[first..];
        let reals: Vec<_> = configured
            .iter()
            .map(|real| (real.address.into(), real.weight))
            .collect();
        let mut service = service(id, scheduler, Dr, PORT, &reals);
        for (real, configured) in service.reals.iter_mut().zip(configured) {
            real.upper_threshold = configured.upper_threshold;
            real.lower_threshold = configured.lower_threshold;
        }
        if self.kind == "persist" {
            service.persistence = Some(PERSISTENCE);
        }
        service
    }
}

fn replay(rig: &mut Rig, number: usize, case: &Case, scheduler: Scheduler) {
    rig.clear();
    // IPVS adjusted wrr's current weight as each real was added, last first.
    for first in (0..case.reals_in_scan_order.len()).rev() {
        rig.serve(&case.service(scheduler, first));
    }
    let mut configured = case.service(scheduler, 0);
    for (step, op) in case.ops.iter().enumerate() {
        let at = format!(
            "case {number} ({} {}), op {step}",
            case.scheduler, case.kind
        );
        match op {
            Op::Syn { flow, real } => assert_eq!(pick(rig, flow), *real, "{at}"),
            Op::Ack(flow) => send(rig, flow, ACK),
            Op::Fin(flow) => send(rig, flow, FIN | ACK),
            Op::Rst(flow) => send(rig, flow, RST),
            Op::Weight { real, weight } => {
                set_weight(&mut configured, *real, *weight);
                rig.reconciler.set_service(&configured).unwrap();
            }
        }
    }
    for expected in &case.counts {
        let counts = rig.counts(&configured, expected.address.into());
        assert_eq!(
            counts,
            (expected.active, expected.inactive),
            "case {number}, {}",
            expected.address
        );
    }
    assert_eq!(states(rig), expected_states(case), "case {number}");
}

fn set_weight(service: &mut Service, address: Ipv4Addr, weight: u32) {
    let real = service
        .reals
        .iter_mut()
        .find(|real| real.id.address == address)
        .unwrap();
    real.weight = Weight::new(weight).unwrap();
}

impl Flow {
    fn packet(&self, flags: u8) -> Packet {
        let ip = Header {
            source: self.src.into(),
            destination: self.dst.into(),
            ..TCP_SYN.ip
        };
        Packet { ip, ..TCP_SYN }.port(self.sport).with(flags)
    }
}

/// Sends a SYN; returns the real that it went to, by the frame's address.
fn pick(rig: &mut Rig, flow: &Flow) -> Option<Ipv4Addr> {
    let packet = flow.packet(SYN);
    let outcome = rig.run(&packet.frame());
    assert_eq!(outcome.verdict, Verdict::Tx);
    if outcome.frame[23] == 1 {
        assert_eq!(
            judge::message(&outcome.frame),
            crate::row::PORT_UNREACHABLE.about(&packet)
        );
        return None;
    }
    let [2, 1, address @ ..] = judge::packet(&outcome.frame).to_mac else {
        panic!("to no real: {:02x?}", outcome.frame)
    };
    let address = Ipv4Addr::from(address);
    assert_eq!(mac_of(address.into()), judge::packet(&outcome.frame).to_mac);
    Some(address)
}

/// Sends a segment of a connection, or of one that never came to be.
fn send(rig: &mut Rig, flow: &Flow, flags: u8) {
    let verdict = rig.run(&flow.packet(flags).frame()).verdict;
    assert!(
        matches!(verdict, Verdict::Tx | Verdict::Pass),
        "{verdict:?}"
    );
}

type States = BTreeMap<(Ip, u16), String>;

fn states(rig: &Rig) -> States {
    let entries = rig.entries().into_iter();
    let row = |(key, entry): (
        lb_common::flow::FlowKeyV4,
        lb_common::connection::Connection,
    )| {
        let client = (
            Ip::from(key.source.get().to_be_bytes()),
            key.source_port.get(),
        );
        (client, entry.state().name().to_owned())
    };
    entries.map(row).collect()
}

fn expected_states(case: &Case) -> States {
    let row = |state: &State| {
        (
            (state.flow.src.into(), state.flow.sport),
            state.state.clone(),
        )
    };
    case.final_states.iter().map(row).collect()
}
