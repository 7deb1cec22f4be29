//! Hostile input: ten million packets, random, false or merely odd, through the
//! real XDP programs by `BPF_PROG_TEST_RUN`. No one may abort, leave with a
//! wrong length or checksum, or vanish without a count.
//!
//! ```text
//! generate, draft    packets of a seed
//! method, world      the services they meet, and who is who
//! lane, director     a thread with its own data plane; run: one packet;
//!                    failure: what is reported of it
//! judge, view        what may become of it, read by code of our own
//! narrow             what takes a state of its own to be dropped
//! ```
//!
//! Environment:
//! - `LBD_HOSTILE_PACKETS`: how many, 10,000,000 unless told otherwise;
//! - `LBD_HOSTILE_SEED`: another seed than the fixed one;
//! - `LBD_HOSTILE_METHOD`: one method alone, by its name;
//! - `LBD_HOSTILE_FRAME`: `METHOD/clients/HEX` (or `reals`), as a failure prints
//!   it: this frame alone, on the method's conversations, each just opened.

mod checksum;
mod director;
mod draft;
mod failure;
mod generate;
mod judge;
mod kernel_log;
mod lane;
mod method;
mod narrow;
mod run;
mod tally;
mod view;
mod wires;
mod world;

use std::{collections::BTreeMap, env, thread::ScopedJoinHandle, time::Instant};

use lb_common::verdict::DropReason;
use lb_tests::privilege;

use crate::{
    generate::Side,
    kernel_log::KernelLog,
    lane::Lane,
    method::Method,
    tally::Tally,
    wires::{Wires, with_wires},
};

/// Threads, each with a data plane of its own.
const LANES: u64 = 2;
const PACKETS: u64 = 10_000_000;
const SEED: u64 = 0x6c62_6421;

/// Least share of packets that a method forwards or answers, percent.
const REACH: f64 = 30.0;

/// Reasons that no packet can be made to meet from outside, and why.
const UNREACHABLE: [(DropReason, &str); 1] = [(
    DropReason::Inconsistent,
    "stands where the verifier wants a second look at what was checked before, and for tables without an entry that the daemon writes before all that refers to it",
)];

#[test]
fn hostile_packets() {
    if !privilege::bpf() {
        return;
    }
    let packets = number("LBD_HOSTILE_PACKETS", PACKETS);
    let seed = number("LBD_HOSTILE_SEED", SEED);
    let methods = methods();
    println!("seed {seed:#x}, {packets} packets");
    with_wires(|wires| {
        if let Ok(frame) = env::var("LBD_HOSTILE_FRAME") {
            return again(wires, &frame);
        }
        let mut log = KernelLog::open();
        let mut drops = all_phases(wires, seed, packets, &methods);
        let (provoked, out_of_reach) = narrow::provoke(wires);
        add(&mut drops, &provoked);
        println!("drops: {drops:?}");
        let complaints = log.complaints();
        assert!(
            complaints.is_empty(),
            "seed {seed:#x}: the kernel complains: {complaints:#?}"
        );
        if methods.len() < Method::ALL.len() {
            return;
        }
        for reason in DropReason::ALL {
            let is_excused = Some(*reason) == out_of_reach
                || UNREACHABLE.iter().any(|(excused, _)| excused == reason);
            let count = drops.get(reason.name()).copied().unwrap_or(0);
            assert_eq!(
                count == 0,
                is_excused,
                "drops for {}: {count}",
                reason.name()
            );
        }
    });
}

/// Every method in both lanes; the drops by reason.
fn all_phases(
    wires: Wires,
    seed: u64,
    packets: u64,
    methods: &[Method],
) -> BTreeMap<&'static str, u64> {
    let each = packets.div_ceil(LANES * methods.len() as u64);
    let began = Instant::now();
    let run = |index: u64| {
        let mut lane = Lane::open(wires);
        let tally = |(phase, method): (u64, &Method)| {
            let lane_seed = seed ^ (index + 1) << 56 ^ (phase + 1) << 48;
            lane.phase(*method, lane_seed, each)
        };
        let tallies: Vec<Tally> = (0..).zip(methods).map(tally).collect();
        (tallies, lane.close())
    };
    let lanes: Vec<_> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES)
            .map(|index| scope.spawn(move || run(index)))
            .collect();
        let join = |lane: ScopedJoinHandle<'_, _>| lane.join().expect("a lane panicked");
        lanes.into_iter().map(join).collect()
    });
    let took = began.elapsed();
    let (mut sums, mut drops) = (vec![Tally::default(); methods.len()], BTreeMap::new());
    let mut failures = String::new();
    for (tallies, (lane_failures, lane_drops)) in lanes {
        for (sum, tally) in sums.iter_mut().zip(&tallies) {
            sum.add(tally);
        }
        add(&mut drops, &lane_drops);
        failures.extend(lane_failures.iter().map(ToString::to_string));
    }
    let run: u64 = sums.iter().map(Tally::packets).sum();
    let rate = run as f64 / took.as_secs_f64();
    println!("{run} packets in {took:.1?}: {rate:.0} a second");
    for (method, tally) in methods.iter().zip(&sums) {
        let (name, reach) = (method.name(), reach(*method, tally));
        println!("{name}: {reach:.1} % reach a forwarding or ICMP path\n{tally}");
    }
    assert!(failures.is_empty(), "\n{failures}");
    for (method, tally) in methods.iter().zip(&sums) {
        let reach = reach(*method, tally);
        assert!(reach >= REACH, "{}: {reach:.1} %", method.name());
    }
    drops
}

/// What `local` passes on looks like any other passed packet, but is counted.
fn reach(method: Method, tally: &Tally) -> f64 {
    match method {
        Method::Local => tally.counted(),
        _ => tally.reach(),
    }
}

fn add(sum: &mut BTreeMap<&'static str, u64>, more: &BTreeMap<&'static str, u64>) {
    for (name, count) in more {
        *sum.entry(name).or_default() += count;
    }
}

fn again(wires: Wires, text: &str) {
    let parts: Vec<_> = text.split('/').collect();
    let [method, side, frame] = parts[..] else {
        panic!("expected METHOD/SIDE/HEX: {text}")
    };
    let side = if side == Side::Reals.name() {
        Side::Reals
    } else {
        Side::Clients
    };
    let octet = |at: usize| u8::from_str_radix(&frame[at..at + 2], 16).expect("hexadecimal");
    let frame: Vec<u8> = (0..frame.len()).step_by(2).map(octet).collect();
    let mut lane = Lane::open(wires);
    let fate = lane.again(named(method), side, &frame);
    let (failures, drops) = lane.close();
    println!("{fate:?}, drops of all: {drops:?}");
    let failures: String = failures.iter().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "\n{failures}");
}

fn methods() -> Vec<Method> {
    env::var("LBD_HOSTILE_METHOD").map_or_else(|_| Method::ALL.to_vec(), |name| vec![named(&name)])
}

fn named(name: &str) -> Method {
    let found = Method::ALL.into_iter().find(|method| method.name() == name);
    found.unwrap_or_else(|| panic!("{name:?} is no method"))
}

fn number(variable: &str, default: u64) -> u64 {
    let Ok(text) = env::var(variable) else {
        return default;
    };
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.replace('_', "").parse(),
    };
    number.unwrap_or_else(|_| panic!("{variable}={text:?} is no number"))
}
