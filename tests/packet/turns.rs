//! Turns are taken by an atomic addition whose result is used, which LLVM 22
//! miscompiles with relaxed ordering (lb-ebpf: verifier.rs): from two CPUs at
//! once, no turn may be taken twice or left out.

use std::ops::RangeInclusive;

use crate::{
    cpus,
    kernel::{self, Verdict},
    packet::Ip,
    rig::{LOOPBACK, Rig, service},
    world::{OTHER_REAL, PORT, REAL, TCP_SYN, THIRD_REAL, mac_of},
};
use lb_common::abi::program;
use lb_daemon::config::model::{
    ForwardingMethod::{Dr, Nat},
    Scheduler::{Rr, Wrr},
};
use lb_tests::privilege;

const REALS: [Ip; 3] = [REAL, OTHER_REAL, THIRD_REAL];

#[test]
fn round_robin_from_two_cpus() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for method in [Dr, Nat] {
        rig.clear();
        let web = service(
            "tcp:192.0.2.10:80",
            Rr,
            method,
            PORT,
            &REALS.map(|real| (real, 1)),
        );
        rig.serve(&web);
        connect(&mut rig, 1000);
        let shares = REALS.map(|real| rig.counts(&web, real));
        assert_eq!(shares, [(334, 0), (333, 0), (333, 0)], "{}", method.name());
    }
}

#[test]
fn weighted_round_robin_from_two_cpus() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    let weights = [(REAL, 1), (OTHER_REAL, 2), (THIRD_REAL, 3)];
    let web = service("tcp:192.0.2.10:80", Wrr, Dr, PORT, &weights);
    rig.serve(&web);
    connect(&mut rig, 1200);
    let shares = REALS.map(|real| rig.counts(&web, real));
    assert_eq!(shares, [(200, 0), (400, 0), (600, 0)]);
}

/// An overloaded real loses its turns, and nobody is refused because the other CPU
/// has taken the turns between.
#[test]
fn around_an_overloaded_real_from_two_cpus() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for scheduler in [Rr, Wrr] {
        rig.clear();
        let weights = [(REAL, 3), (OTHER_REAL, 1)];
        let mut web = service("tcp:192.0.2.10:80", scheduler, Dr, PORT, &weights);
        web.reals[0].upper_threshold = 1;
        rig.serve(&web);
        connect(&mut rig, 2000);
        let shares = [REAL, OTHER_REAL].map(|real| rig.counts(&web, real).0);
        // Two CPUs may see that the first one is free at once.
        assert!(
            shares[0] <= 2 && shares[0] + shares[1] == 2000,
            "{shares:?}"
        );
    }
}

/// The same SYN on two CPUs at once: one connection, counted once.
#[test]
fn the_same_connection_from_two_cpus() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for method in [Dr, Nat] {
        rig.clear();
        let web = service("tcp:192.0.2.10:80", Rr, method, PORT, &[(REAL, 1)]);
        rig.serve(&web);
        syn_from_two_cpus(&mut rig, 1..=1000, 1..=1000);
        assert_eq!(rig.counts(&web, REAL), (1000, 0), "{}", method.name());
        let halves = if method == Nat { 2 } else { 1 };
        assert_eq!(rig.entries().len(), 1000 * halves, "{}", method.name());
    }
}

/// The picks go round: the first turn is the first real's.
#[test]
fn one_after_the_other() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.serve(&service(
        "tcp:192.0.2.10:80",
        Rr,
        Dr,
        PORT,
        &REALS.map(|real| (real, 1)),
    ));
    for turn in 0..9 {
        let frame = rig.run(&TCP_SYN.port(1 + turn).frame()).frame;
        let expected = REALS[usize::from(turn) % 3];
        assert_eq!(
            crate::judge::packet(&frame).to_mac,
            mac_of(expected),
            "turn {turn}"
        );
    }
}

/// New connections, half of them from each of two CPUs.
fn connect(rig: &mut Rig, number: u16) {
    let (half, whole) = (number / 2, number);
    syn_from_two_cpus(rig, 1..=half, half + 1..=whole);
}

/// A SYN from each port, on either CPU.
fn syn_from_two_cpus(rig: &mut Rig, left: RangeInclusive<u16>, right: RangeInclusive<u16>) {
    let director = &*rig.programs.xdp(program::DIRECTOR).unwrap();
    let send = |ports: RangeInclusive<u16>| {
        for port in ports {
            let frame = TCP_SYN.port(port).frame();
            assert_eq!(kernel::run(director, LOOPBACK, &frame).verdict, Verdict::Tx);
        }
    };
    cpus::on_two(|| send(left), || send(right));
}
