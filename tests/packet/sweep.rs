//! The end of idle connections: the sweep program, with the keys that the
//! daemon's walk would hand to it, and the walk itself.

use std::{
    thread,
    time::{Duration, Instant},
};

use lb_common::{abi::program, connection_state::ConnectionState, flow::FlowKeyV4};
use lb_daemon::{
    config::model::{
        Defence,
        ForwardingMethod::{Dr, Nat},
        Scheduler::Rr,
        Service, Strategy,
    },
    dataplane::sweep::{How, Report, Sweeper, Whose},
};
use lb_tests::privilege;
use nix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;

use crate::{
    kernel,
    packet::{ACK, FIN},
    rig::{ALL, DEFENCELESS, IDLE, OPTIONS, Rig, service, sweep_input},
    world::{DATAGRAM, PORT, REAL, REAL_PORT, TCP_SYN},
};

/// Seconds that the tests keep a connection.
const TIMEOUT: u32 = 5;

const FORWARD: u8 = 0;
const REVERSE: u8 = 1;

impl Rig {
    /// Runs the sweep program; returns the number of connections ended.
    pub fn sweep(&mut self, mode: u8, keys: &[FlowKeyV4]) -> u32 {
        let program = self.programs.xdp(program::SWEEP_V4).unwrap();
        kernel::return_value(program, &sweep_input(mode, keys))
    }

    /// Makes entries look as if their last packet came `seconds` ago.
    pub fn age(&mut self, seconds: u32, which: impl Fn(&FlowKeyV4, u8) -> bool) {
        let then_ns = ago_ns(seconds);
        for (key, mut entry) in self.entries() {
            if which(&key, entry.direction) {
                entry.last_seen_ns = then_ns;
                assert!(self.connections.put(&key, entry).unwrap());
            }
        }
    }

    pub fn start_sweeper(&mut self, reports: mpsc::Sender<Report>) -> Sweeper {
        let walked = self.walked.take().expect("the rig's only sweeper");
        Sweeper::start(walked, reports).unwrap()
    }

    fn shorten(&mut self) {
        self.change_settings(|settings| settings.timeouts_s = [TIMEOUT; 32]);
    }
}

/// The programs' clock `seconds` ago: a machine that has not been up for so
/// long is waited for.
pub fn ago_ns(seconds: u32) -> u64 {
    let seconds = Duration::from_secs(seconds.into());
    loop {
        let now: Duration = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE)
            .unwrap()
            .into();
        if now > seconds {
            return (now - seconds).as_nanos() as u64;
        }
        thread::sleep(seconds - now + Duration::from_millis(10));
    }
}

pub fn web(method: lb_daemon::config::model::ForwardingMethod) -> Service {
    let port = if method == Nat { REAL_PORT } else { PORT };
    service("tcp:192.0.2.10:80", Rr, method, port, &[(REAL, 1)])
}

#[test]
fn idle_ones_end_and_fresh_ones_stay() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.shorten();
    let web = web(Dr);
    rig.serve(&web);
    for port in 1..=6 {
        rig.run(&TCP_SYN.port(port).frame());
    }
    // Two of them are inactive.
    for port in [3, 6] {
        rig.run(&TCP_SYN.port(port).with(FIN).frame());
    }
    assert_eq!(rig.counts(&web, REAL), (4, 2));
    rig.age(TIMEOUT + 1, |key, _| key.source_port.get() <= 3);
    rig.age(TIMEOUT - 1, |key, _| key.source_port.get() > 3);
    let keys = rig.keys();
    assert_eq!(rig.sweep(IDLE, &keys), 3);
    let mut ports: Vec<_> = rig.keys().iter().map(|key| key.source_port.get()).collect();
    ports.sort_unstable();
    assert_eq!(ports, [4, 5, 6]);
    assert_eq!(rig.counts(&web, REAL), (2, 1));
    assert_eq!(rig.sweep(IDLE, &keys), 0, "what is gone is gone");
    assert_eq!(rig.counts(&web, REAL), (2, 1));
}

/// The timeout is that of the entry's state.
#[test]
fn each_state_has_its_timeout() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.change_settings(|settings| {
        settings.timeouts_s = [9; 32];
        settings.timeouts_s[ConnectionState::SynRecv as usize] = 3;
        settings.timeouts_s[ConnectionState::Udp as usize] = 6;
    });
    rig.serve(&web(Dr));
    rig.serve(&service("udp:192.0.2.10:80", Rr, Dr, PORT, &[(REAL, 1)]));
    rig.run(&TCP_SYN.frame());
    rig.run(&TCP_SYN.port(2).frame());
    rig.run(&TCP_SYN.port(2).with(ACK).frame());
    rig.run(&DATAGRAM.frame());
    for (age, ended) in [(2, 0), (4, 1), (5, 0), (7, 1), (8, 0), (10, 1)] {
        rig.age(age, |_, _| true);
        let keys = rig.keys();
        assert_eq!(rig.sweep(IDLE, &keys), ended, "after {age} s");
    }
    assert_eq!(rig.entries().len(), 0);
}

/// A nat connection lives while either half does, and goes as a whole.
#[test]
fn nat_pairs_go_together() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.shorten();
    let web = web(Nat);
    rig.serve(&web);
    rig.run(&TCP_SYN.frame());
    for (fresh, stale) in [(FORWARD, REVERSE), (REVERSE, FORWARD)] {
        rig.age(1, |_, direction| direction == fresh);
        rig.age(TIMEOUT + 1, |_, direction| direction == stale);
        let keys = rig.keys();
        assert_eq!(rig.sweep(IDLE, &keys), 0, "half {fresh} is fresh");
        assert_eq!((rig.entries().len(), rig.counts(&web, REAL)), (2, (1, 0)));
    }
    rig.age(TIMEOUT + 1, |_, _| true);
    let reverse: Vec<_> = rig
        .entries()
        .iter()
        .filter(|(_, entry)| entry.direction == REVERSE)
        .map(|(key, _)| *key)
        .collect();
    assert_eq!(rig.sweep(ALL, &reverse), 0, "named by its forward entry");
    assert_eq!(rig.entries().len(), 2);
    let keys = rig.keys();
    assert_eq!(rig.sweep(IDLE, &keys), 1);
    assert_eq!((rig.entries().len(), rig.counts(&web, REAL)), (0, (0, 0)));
}

/// A reverse entry whose connection is gone ends by itself, uncounted.
#[test]
fn orphans_end() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.shorten();
    rig.serve(&web(Nat));
    rig.run(&TCP_SYN.frame());
    for (key, entry) in rig.entries() {
        if entry.direction == FORWARD {
            rig.connections.remove(&key).unwrap();
        }
    }
    let keys = rig.keys();
    rig.sweep(IDLE, &keys);
    assert_eq!(rig.entries().len(), 1, "it is fresh");
    rig.age(TIMEOUT + 1, |_, _| true);
    rig.sweep(IDLE, &keys);
    assert_eq!(rig.entries().len(), 0);
}

/// Mode ALL cuts whatever it is given, and nothing else.
#[test]
fn cutting() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for (method, entries) in [(Dr, 1), (Nat, 2)] {
        rig.clear();
        let web = web(method);
        rig.serve(&web);
        for port in 1..=10 {
            rig.run(&TCP_SYN.port(port).frame());
        }
        let chosen: Vec<_> = rig
            .entries()
            .iter()
            .filter(|(_, entry)| entry.direction == FORWARD)
            .map(|(key, _)| *key)
            .filter(|key| key.source_port.get() > 3)
            .collect();
        assert_eq!(rig.sweep(ALL, &chosen), 7);
        assert_eq!(
            (rig.entries().len(), rig.counts(&web, REAL)),
            (3 * entries, (3, 0))
        );
        let rest = rig.keys();
        assert_eq!(rig.sweep(ALL, &rest), 3);
        assert_eq!((rig.entries().len(), rig.counts(&web, REAL)), (0, (0, 0)));
    }
}

/// A whole batch, and a batch that is shorter than it says.
#[test]
fn batches() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    let web = web(Dr);
    rig.serve(&web);
    for port in 1..=64 {
        rig.run(&TCP_SYN.port(port).frame());
    }
    let keys = rig.keys();
    assert_eq!(rig.sweep(IDLE, &keys), 0);
    assert_eq!(rig.sweep(ALL, &[]), 0);
    let mut lying = vec![64, ALL];
    lying.resize(16, 0);
    let program = rig.programs.xdp(program::SWEEP_V4).unwrap();
    assert_eq!(kernel::return_value(program, &lying), 0);
    assert_eq!(rig.sweep(ALL, &keys), 64);
    assert_eq!(rig.counts(&web, REAL), (0, 0));
}

/// The daemon's thread: it finds what is idle by itself and reports who is
/// still referred to.
#[test]
fn the_walk_ends_what_is_idle() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.shorten();
    let (idle, busy) = (
        web(Nat),
        service("udp:192.0.2.10:80", Rr, Dr, PORT, &[(REAL, 1)]),
    );
    rig.serve(&idle);
    rig.serve(&busy);
    for port in 1..=200 {
        rig.run(&TCP_SYN.port(port).frame());
        rig.run(&DATAGRAM.port(port).frame());
    }
    rig.age(TIMEOUT + 1, |key, _| key.protocol == 6);
    let (sender, mut reports) = mpsc::channel(4);
    let sweeper = rig.start_sweeper(sender);
    let report = reports.blocking_recv().unwrap();
    assert!(report.referenced.contains(rig.slot(&busy, REAL)));
    assert_eq!(
        (rig.counts(&idle, REAL), rig.counts(&busy, REAL)),
        ((0, 0), (0, 200))
    );
    // A reverse entry that is walked after its forward one is gone already.
    assert_eq!(rig.entries().len(), 200);
    assert_eq!(report.entries_v4, 200, "what is left");

    let slot = rig.slot(&busy, REAL);
    let cut = sweeper.end(Whose::Reals(vec![slot]), How::Cut);
    cut.blocking_recv().unwrap().unwrap();
    assert_eq!(rig.counts(&busy, REAL), (0, 0));
}

/// The defence drop_entry: a walk ends about half of those that have been
/// half-open for a second, whether or not they would be over soon.
#[test]
fn half_open_ones_are_dropped() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.set_policy(
        &OPTIONS,
        &Defence {
            drop_entry: Strategy::On,
            ..DEFENCELESS
        },
    );
    rig.serve(&web(Dr));
    let began = Instant::now();
    for port in 1..=220 {
        rig.run(&TCP_SYN.port(port).frame());
    }
    for port in 201..=210 {
        rig.run(&TCP_SYN.port(port).with(ACK).frame());
    }
    rig.age(59, |key, _| key.source_port.get() <= 100);
    rig.age(5, |key, _| (101..=210).contains(&key.source_port.get()));
    let (sender, mut reports) = mpsc::channel(4);
    let _sweeper = rig.start_sweeper(sender);
    reports.blocking_recv().unwrap();
    let count = |first: u16, last: u16| {
        let in_range = |key: &&FlowKeyV4| (first..=last).contains(&key.source_port.get());
        rig.keys().iter().filter(in_range).count()
    };
    let counts = [
        count(1, 100),
        count(101, 200),
        count(201, 210),
        count(211, 220),
    ];
    assert!((20..=80).contains(&counts[1]), "{counts:?}");
    assert!(counts[0] <= 80, "{counts:?}");
    assert_eq!(counts[2], 10, "established");
    // On a machine that took its time they were a second old as well.
    if began.elapsed() < Duration::from_millis(500) {
        assert_eq!(counts[3], 10, "just begun");
    }
}
