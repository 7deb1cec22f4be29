//! What Linux's own IPVS decided (tests/vectors), replayed twice: on the host and,
//! packet by packet, through the XDP program. Every pick, the counts and the
//! states at the end; of dh and sh, whose hash is our own, what holds whatever
//! the hash. The plans are the daemon's own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::Ipv4Addr,
    path::Path,
};

use lb_daemon::config::model::{
    ForwardingMethod::Dr, MarkRule, Persistence, Protocol, RealId, Scheduler, Service, Weight,
};
use lb_tests::privilege;
use serde::Deserialize;

use crate::{
    packet::{ACK, FIN, Ip, RST},
    rig::{Rig, service},
    world::PORT,
};

mod host;
mod program;

/// Cases of the file.
const CASES: u32 = 105;

/// What decides: the program, or its likeness on the host.
pub trait Plane {
    /// The service is there, and nothing else.
    fn serve(&mut self, service: &Service, marks: &[MarkRule]);
    /// The service that is there is this now.
    fn change(&mut self, service: &Service);
    /// The real that a SYN goes to; none where the client hears so.
    fn syn(&mut self, flow: &Flow) -> Option<Ipv4Addr>;
    /// A segment of a connection, or of one that never came to be.
    fn segment(&mut self, flow: &Flow, flags: u8);
    /// Active and inactive connections of a real.
    fn counts(&mut self, service: &Service, real: RealId) -> (u32, u32);
    fn states(&mut self) -> States;
}

#[derive(Deserialize)]
struct Vectors {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    scheduler: String,
    flags: Vec<String>,
    kind: String,
    /// An address with a port, or "fwmark".
    service: String,
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
pub struct Flow {
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
    let mut rig = Rig::shared();
    replay_all(|case, number| {
        rig.clear();
        case.replay(number, &mut rig);
    });
}

#[test]
fn and_so_on_the_host() {
    replay_all(|case, number| case.replay(number, &mut host::Plain::new()));
}

fn replay_all(mut replay: impl FnMut(&Case, usize)) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/ipvs-6.1.json");
    let vectors: Vectors = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut replayed = BTreeMap::new();
    for (number, case) in vectors.cases.iter().enumerate() {
        replay(case, number);
        let kind = (case.scheduler.as_str(), case.kind.as_str());
        *replayed.entry(kind).or_insert(0) += 1;
    }
    for ((scheduler, kind), cases) in &replayed {
        println!("{cases} {scheduler} {kind}");
    }
    assert_eq!(replayed.values().sum::<u32>(), CASES);
}

impl Case {
    /// The service with the reals from `first` on.
    fn service(&self, first: usize) -> Service {
        let (id, port) = match self.service.as_str() {
            "fwmark" => ("fwmark:1", 0),
            id => (id, PORT),
        };
        let scheduler = Scheduler::from_name(&self.scheduler).unwrap();
        let names = scheduler.layout().flags();
        let flags = names.iter().filter(|(name, _)| self.has(name));
        let flags = flags.fold(0u32, |flags, (_, flag)| flags | flag);
        assert_eq!(self.flags.len() as u32, flags.count_ones());
        let configured = &self.reals_in_scan_order[first..];
        let reals: Vec<_> = configured
            .iter()
            .map(|real| (real.address.into(), real.weight))
            .collect();
        let mut service = service(id, scheduler, Dr, port, &reals);
        for (real, configured) in service.reals.iter_mut().zip(configured) {
            real.upper_threshold = configured.upper_threshold;
            real.lower_threshold = configured.lower_threshold;
        }
        if self.kind == "persist" {
            service.persistence = Some(PERSISTENCE);
        }
        service.scheduler_flags = flags;
        service
    }

    /// All that the mark of the cases stands for.
    fn marks(&self) -> Vec<MarkRule> {
        let destination = (Ip::from([10, 50, 0, 0]), 16);
        let rule = MarkRule {
            mark: 1,
            protocol: Protocol::Tcp,
            destination,
            ports: Vec::new(),
        };
        (self.service == "fwmark")
            .then_some(rule)
            .into_iter()
            .collect()
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|name| name == flag)
    }

    /// Whether the picks hang on a hash, which is not the kernel's.
    fn has_hash(&self) -> bool {
        matches!(self.scheduler.as_str(), "dh" | "sh")
    }

    fn replay(&self, number: usize, plane: &mut impl Plane) {
        // IPVS adjusted wrr's current weight as each real was added, last first.
        for first in (0..self.reals_in_scan_order.len()).rev() {
            plane.serve(&self.service(first), &self.marks());
        }
        let mut configured = self.service(0);
        let mut picks = Vec::new();
        for (step, op) in self.ops.iter().enumerate() {
            let at = format!(
                "case {number} ({} {}), op {step}",
                self.scheduler, self.kind
            );
            match op {
                Op::Syn { flow, real } => {
                    let pick = plane.syn(flow);
                    assert!(
                        self.has_hash() || pick == *real,
                        "{at}: {pick:?}, not {real:?}"
                    );
                    picks.push((flow, pick));
                }
                Op::Ack(flow) => plane.segment(flow, ACK),
                Op::Fin(flow) => plane.segment(flow, FIN | ACK),
                Op::Rst(flow) => plane.segment(flow, RST),
                Op::Weight { real, weight } => {
                    set_weight(&mut configured, *real, *weight);
                    plane.change(&configured);
                }
            }
        }
        if self.has_hash() {
            return self.judge_hash(number, &configured, &picks);
        }
        for expected in &self.counts {
            let address = Ip::from(expected.address);
            let real = configured
                .reals
                .iter()
                .find(|real| real.id.address == address);
            let real = real.expect("a real of the case").id;
            let counts = plane.counts(&configured, real);
            let expected = (expected.active, expected.inactive);
            assert_eq!(counts, expected, "case {number}, {}", real.address);
        }
        assert_eq!(plane.states(), expected_states(self), "case {number}");
    }

    /// What holds for dh and sh whatever their hash: the same key has the same
    /// real, nobody gets one of weight 0, and with a fallback or without such reals
    /// everybody gets one.
    fn judge_hash(&self, number: usize, service: &Service, picks: &[(&Flow, Option<Ipv4Addr>)]) {
        let at = format!("case {number} ({} {:?})", self.scheduler, self.flags);
        let mut by_key = BTreeMap::new();
        for (flow, pick) in picks {
            let key = match self.scheduler.as_str() {
                "dh" => (flow.dst, 0),
                _ if self.has("sh-port") => (flow.src, flow.sport),
                _ => (flow.src, 0),
            };
            let first = *by_key.entry(key).or_insert(*pick);
            assert_eq!(first, *pick, "{at}: {key:?}");
        }
        let eligible: BTreeSet<Ip> = service
            .reals
            .iter()
            .filter(|real| real.weight.get() > 0)
            .map(|real| real.id.address)
            .collect();
        let got: BTreeSet<Ip> = by_key
            .values()
            .flatten()
            .map(|real| (*real).into())
            .collect();
        assert!(got.is_subset(&eligible), "{at}: {got:?}");
        let are_all_eligible = eligible.len() == service.reals.len();
        if self.has("sh-fallback") || are_all_eligible {
            assert!(by_key.values().all(Option::is_some), "{at}: {by_key:?}");
        }
        // Those of IPVS's hash say the same.
        let refused = |op: &Op| matches!(op, Op::Syn { real: None, .. });
        let has_refused = self.ops.iter().any(refused);
        assert!(
            !has_refused || !are_all_eligible && !self.has("sh-fallback"),
            "{at}"
        );
    }
}

fn set_weight(service: &mut Service, address: Ipv4Addr, weight: u32) {
    let real = service
        .reals
        .iter_mut()
        .find(|real| real.id.address == address)
        .unwrap();
    real.weight = Weight::new(weight).unwrap();
}

/// The states of the clients' connections.
pub type States = BTreeMap<(Ip, u16), String>;

fn expected_states(case: &Case) -> States {
    let row = |state: &State| {
        (
            (state.flow.src.into(), state.flow.sport),
            state.state.clone(),
        )
    };
    case.final_states.iter().map(row).collect()
}
