//! Connections that two CPUs make, move and end at the same moment: whatever
//! the order, the counts are those of the live entries, and a nat connection
//! has both its halves.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use aya::programs::Xdp;
use lb_common::abi::program;
use lb_daemon::config::model::{
    ForwardingMethod::{self, Dr, Nat},
    Scheduler::Rr,
    Service, Weight,
};
use lb_tests::privilege;

use crate::{
    cpus, judge,
    kernel::{self, Outcome, Verdict},
    packet::{ACK, FIN, Header, Ip, Packet, RST, SYN},
    rig::{ALL, DEFENCELESS, LOOPBACK, OPTIONS, Rig, SIZES, service, sweep_input},
    wires::with_wires,
    world::{CLIENT, EGRESS_MAC, OTHER_REAL, PORT, REAL, TCP_SYN, mac_of},
};

/// How long the CPUs are let loose on each other.
const STORM: Duration = Duration::from_millis(500);
/// So few flows that the CPUs meet on each.
const FLOWS: u16 = 3;
/// Lives of a connection, one after the other.
const SEGMENTS: [u8; 8] = [SYN, ACK, FIN | ACK, RST, SYN, ACK, RST, SYN];

#[test]
fn segments_against_segments() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for method in [Dr, Nat] {
        let web = web(method);
        rig.clear();
        rig.serve(&web);
        let director = &*rig.programs.xdp(program::DIRECTOR).unwrap();
        // The same flows by two CPUs, which a network card never does: where a
        // table's element is used again under a packet's hands, that packet may
        // even leave with the new owner's address. Counts and halves must hold.
        let send = || storm(director, FLOWS, |_, _| {});
        cpus::on_two(send, send);
        check(&rig, &web);
    }
}

/// More flows than the table has room for: buckets are full, connections are in
/// others than their first, and places change their owners all the time.
#[test]
fn in_a_full_table() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::with_sizes(lb_daemon::dataplane::Sizes {
        connections: 64,
        ..SIZES
    });
    rig.set_policy(&OPTIONS, &DEFENCELESS);
    for method in [Dr, Nat] {
        let web = web(method);
        rig.clear();
        rig.serve(&web);
        let director = &*rig.programs.xdp(program::DIRECTOR).unwrap();
        let send = || storm(director, 100, |_, _| {});
        cpus::on_two(send, send);
        check(&rig, &web);
        assert!(rig.entries().len() > 32, "{method:?}");
    }
}

#[test]
fn segments_against_the_sweep() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    // The sweep of another set of programs on the same maps, as after a restart.
    let mut others = rig.load_again();
    let sweep = &*others.xdp(program::SWEEP_V4).unwrap();
    for method in [Dr, Nat] {
        let web = web(method);
        rig.clear();
        rig.serve(&web);
        for port in 1..=FLOWS {
            rig.run(&TCP_SYN.port(port).frame());
        }
        let keys = sweep_input(ALL, &rig.keys());
        let director = &*rig.programs.xdp(program::DIRECTOR).unwrap();
        let until = Instant::now() + STORM;
        let end = || {
            while Instant::now() < until {
                kernel::return_value(sweep, &keys);
            }
        };
        let send = || {
            storm(director, FLOWS, |packet, outcome| {
                check_segment(method, packet, outcome);
            });
        };
        cpus::on_two(send, end);
        check(&rig, &web);
        let drops = rig.all_drops();
        assert!(
            drops.iter().all(|(reason, _)| *reason == "inconsistent"),
            "{drops:?}"
        );
    }
}

/// Changes of the configuration under traffic.
const CHANGES: u32 = 1000;

/// Both halves of nat connections, each on a CPU of its own.
#[test]
fn one_half_against_the_other() {
    if !privilege::bpf() {
        return;
    }
    with_wires(|_, wires| {
        let mut rig = Rig::shared();
        let web = web(Nat);
        rig.serve(&web);
        for port in 1..=FLOWS {
            rig.run(&TCP_SYN.port(port).frame());
        }
        let director = &*rig.programs.xdp(program::DIRECTOR).unwrap();
        let until = Instant::now() + STORM;
        let client = || storm(director, FLOWS, |_, _| {});
        let real = || {
            for flags in [SYN | ACK, ACK, FIN | ACK, ACK].into_iter().cycle() {
                if Instant::now() > until {
                    return;
                }
                for port in 1..=FLOWS {
                    for real in [REAL, OTHER_REAL] {
                        let packet = Packet {
                            ip: Header {
                                source: real,
                                destination: CLIENT,
                                ..TCP_SYN.ip
                            },
                            source_port: PORT,
                            destination_port: port,
                            ..TCP_SYN.with(flags)
                        };
                        kernel::run(director, wires.inside, &packet.frame());
                    }
                }
            }
        };
        cpus::on_two(client, real);
        check(&rig, &web);
    });
}

/// A real's weight changes a thousand times, and it is deleted and added a
/// thousand times, while two CPUs make connections, move and end them.
#[test]
fn segments_against_changes() {
    if !privilege::bpf() {
        return;
    }
    type Change = fn(&mut Service, u32);
    let weights: Change = |web, turn| {
        web.reals[0].weight = Weight::new(turn % 5).unwrap();
    };
    let presence: Change = |web, turn| {
        if turn % 2 == 0 {
            web.reals.remove(0);
        }
    };
    let mut rig = Rig::shared();
    for (method, change) in [
        (Dr, weights),
        (Dr, presence),
        (Nat, weights),
        (Nat, presence),
    ] {
        rig.clear();
        let web = web(method);
        rig.serve(&web);
        let Rig {
            programs,
            reconciler,
            ..
        } = &mut *rig;
        let director = &*programs.xdp(program::DIRECTOR).unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for half in 0..2u16 {
                let is_over = &is_over;
                scope.spawn(move || established(director, method, half, is_over));
            }
            for turn in 0..CHANGES {
                let mut changed = web.clone();
                change(&mut changed, turn);
                reconciler.set_service(&changed).unwrap();
            }
            is_over.store(true, Relaxed);
        });
        rig.serve(&web);
        for real in [REAL, OTHER_REAL] {
            rig.counts(&web, real);
        }
    }
}

/// Conversations, each with a client's port of its own: whatever becomes of the
/// service, no segment goes to another real than the first.
fn established(director: &Xdp, method: ForwardingMethod, half: u16, is_over: &AtomicBool) {
    let mut port = 1 + half * 30_000;
    while !is_over.load(Relaxed) {
        port = 1 + half * 30_000 + (port + 1) % 1000;
        let run = |flags| {
            let packet = TCP_SYN.port(port).with(flags);
            let outcome = kernel::run(director, LOOPBACK, &packet.frame());
            (outcome.verdict == Verdict::Tx).then(|| judge::packet(&outcome.frame).to_mac)
        };
        let Some(home) = run(SYN) else { continue };
        for flags in [ACK, ACK, FIN | ACK, ACK, RST] {
            let next = run(flags);
            assert_eq!(next, Some(home), "{method:?}, port {port}, {flags:#x}");
        }
    }
}

fn web(method: ForwardingMethod) -> Service {
    let reals = [(REAL, 1), (OTHER_REAL, 1)];
    service("tcp:192.0.2.10:80", Rr, method, PORT, &reals)
}

/// Sends the segments of every flow, over and over.
fn storm(director: &Xdp, flows: u16, check: impl Fn(&Packet, &Outcome)) {
    let until = Instant::now() + STORM;
    for flags in SEGMENTS.iter().cycle() {
        if Instant::now() > until {
            return;
        }
        for port in 1..=flows {
            let packet = TCP_SYN.port(port).with(*flags);
            check(&packet, &kernel::run(director, LOOPBACK, &packet.frame()));
        }
    }
}

/// No client's segment may leave with another's address or port. A connection
/// that goes away while it is looked for costs a packet, which in life is sent
/// again.
fn check_segment(method: ForwardingMethod, packet: &Packet, outcome: &Outcome) {
    match outcome.verdict {
        Verdict::Tx => {
            let out = judge::packet(&outcome.frame);
            let to = |real| out == sent_to(real, method, *packet);
            assert!(to(REAL) || to(OTHER_REAL), "{packet:#?} became {out:#?}");
        }
        Verdict::Pass | Verdict::Drop => {}
        verdict => panic!("{verdict:?}"),
    }
}

/// The packet as it leaves for a real.
fn sent_to(real: Ip, method: ForwardingMethod, packet: Packet) -> Packet {
    let sent = Packet {
        to_mac: mac_of(real),
        from_mac: EGRESS_MAC,
        ..packet
    }
    .ttl(63);
    match method {
        Nat => Packet {
            ip: Header {
                destination: real,
                ..sent.ip
            },
            ..sent
        },
        _ => sent,
    }
}

fn check(rig: &Rig, web: &Service) {
    let method = web.forward.name();
    for real in [REAL, OTHER_REAL] {
        // The comparison with the live entries is made there.
        let counts = rig.counts(web, real);
        eprintln!("{method}: {counts:?}");
    }
    assert_eq!(rig.connections.faults().unwrap(), Vec::<String>::new());
    let entries = rig.entries();
    assert!(
        entries
            .iter()
            .all(|(_, entry)| entry.state().name() != "NONE"),
        "{method}: {entries:#?}"
    );
    if method != "nat" {
        return;
    }
    for (key, entry) in entries.iter().filter(|(_, entry)| entry.direction == 0) {
        let is_half = |half: &lb_common::flow::FlowKeyV4| {
            (half.source, half.destination) == (entry.new_destination.v4(), key.source)
                && half.destination_port == key.source_port
        };
        assert!(
            entries.iter().any(|(half, _)| is_half(half)),
            "{key:?} has no reverse half"
        );
    }
}
