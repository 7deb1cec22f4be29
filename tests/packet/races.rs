//! Connections that two CPUs make, move and end at the same moment: whatever
//! the order, the counts are those of the live entries, and a nat connection
//! has both its halves.

use std::time::{Duration, Instant};

use aya::programs::Xdp;
use lb_common::abi::program;
use lb_daemon::config::model::{
    ForwardingMethod::{self, Dr, Nat},
    Scheduler::Rr,
    Service,
};
use lb_tests::privilege;

use crate::{
    cpus, judge,
    kernel::{self, Outcome, Verdict},
    packet::{ACK, FIN, Header, Ip, Packet, RST, SYN},
    rig::{ALL, LOOPBACK, Rig, service, sweep_input},
    world::{EGRESS_MAC, OTHER_REAL, PORT, REAL, TCP_SYN, mac_of},
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
    let mut rig = Rig::new();
    for method in [Dr, Nat] {
        let web = web(method);
        rig.clear();
        rig.serve(&web);
        let director = &*rig.programs.xdp(program::DIRECTOR).unwrap();
        // The same flows by two CPUs, which a network card never does: where a
        // table's element is used again under a packet's hands, that packet may
        // even leave with the new owner's address. Counts and halves must hold.
        let send = || storm(director, |_, _| {});
        cpus::on_two(send, send);
        check(&rig, &web);
    }
}

#[test]
fn segments_against_the_sweep() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::new();
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
            storm(director, |packet, outcome| {
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

fn web(method: ForwardingMethod) -> Service {
    let reals = [(REAL, 1), (OTHER_REAL, 1)];
    service("tcp:192.0.2.10:80", Rr, method, PORT, &reals)
}

/// Sends the segments of every flow, over and over.
fn storm(director: &Xdp, check: impl Fn(&Packet, &Outcome)) {
    let until = Instant::now() + STORM;
    for flags in SEGMENTS.iter().cycle() {
        if Instant::now() > until {
            return;
        }
        for port in 1..=FLOWS {
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
