//! When a table is nearly full: dr and tun go on without entries, by hash; under
//! nat half-open connections make room.

use std::collections::HashMap;

use lb_common::limits::STATELESS_ECHO_S;
use lb_daemon::{
    config::model::{
        Defence,
        ForwardingMethod::{Dr, Nat, Tun},
        Persistence,
        Scheduler::Rr,
        Service, Strategy,
    },
    dataplane::Sizes,
};
use lb_tests::privilege;

use crate::{
    judge,
    kernel::Verdict,
    packet::{ACK, FIN, Header, Ip, Mac, Packet, RST},
    rig::{DEFENCELESS, OPTIONS, Rig, SIZES, service},
    sweep::ago_ns,
    world::{DATAGRAM, OTHER_REAL, PORT, REAL, TCP_SYN, THIRD_REAL, v4},
};

fn stateless() -> Defence {
    Defence {
        stateless: Strategy::Auto,
        ..DEFENCELESS
    }
}

const REALS: [(Ip, u32); 3] = [(REAL, 1), (OTHER_REAL, 1), (THIRD_REAL, 2)];

fn per_cent(fill: u32) -> u32 {
    SIZES.connections * fill / 100
}

impl Rig {
    fn goes_to(&mut self, packet: &Packet) -> Mac {
        let outcome = self.run(&packet.frame());
        assert_eq!(outcome.verdict, Verdict::Tx, "{packet:?}");
        judge::packet(&outcome.frame).to_mac
    }
}

#[test]
fn a_syn_leaves_no_entry_and_its_ack_makes_one() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for method in [Dr, Tun] {
        rig.clear();
        let web = service("tcp:192.0.2.10:80", Rr, method, PORT, &REALS);
        rig.serve(&web);
        rig.set_policy(&OPTIONS, &stateless());
        rig.pretend_fill(per_cent(89));
        rig.goes_to(&TCP_SYN.port(60_000));
        assert_eq!(rig.entries().len(), 1, "below the mark");

        rig.pretend_fill(per_cent(90) + 1);
        let before = rig.drops("stateless");
        let mut homes = HashMap::new();
        for port in 1..=400 {
            homes.insert(port, rig.goes_to(&TCP_SYN.port(port)));
        }
        assert_eq!(rig.entries().len(), 1, "{method:?}");
        assert_eq!(rig.drops("stateless"), before + 400);
        // By weight: 1, 1, 2.
        let mut shares = HashMap::new();
        for mac in homes.values() {
            *shares.entry(*mac).or_insert(0) += 1;
        }
        let mut shares: Vec<_> = shares.into_values().collect();
        shares.sort_unstable();
        assert!(
            shares.len() == 3 && shares[0] > 60 && shares[2] > 150 && shares[2] < 250,
            "{shares:?}"
        );
        for port in 1..=20 {
            let ack = TCP_SYN.port(port).with(ACK);
            assert_eq!(rig.goes_to(&ack), homes[&port], "{method:?}");
            // Half-open until the next one.
            let states = |rig: &Rig| {
                let entries = rig.entries();
                let entry = entries
                    .iter()
                    .find(|(key, _)| key.source_port.get() == port);
                entry.map(|(_, entry)| (entry.state().name(), entry.packets))
            };
            assert_eq!(states(&rig), Some(("SYN_RECV", 1)));
            assert_eq!(rig.goes_to(&ack), homes[&port]);
            assert_eq!(states(&rig), Some(("ESTABLISHED", 2)));
        }
        // Counted like any.
        for (real, _) in REALS {
            rig.counts(&web, real);
        }
        // Nothing is answered to an RST, and no entry made for it.
        assert_eq!(
            rig.run(&TCP_SYN.port(30).with(RST).frame()).verdict,
            Verdict::Pass
        );

        // Nor for one that is closing, which is forwarded.
        let entries = rig.entries().len();
        let fin = TCP_SYN.port(31).with(FIN | ACK);
        assert_eq!(rig.goes_to(&fin), homes[&31]);
        assert_eq!(rig.entries().len(), entries);

        // Above 97 % an ACK makes none and still goes its way.
        rig.pretend_fill(per_cent(97) + 1);
        let entries = rig.entries().len();
        for port in 100..120 {
            for flags in [ACK, ACK, FIN | ACK] {
                let packet = TCP_SYN.port(port).with(flags);
                assert_eq!(rig.goes_to(&packet), homes[&port]);
            }
        }
        assert_eq!(rig.entries().len(), entries);

        // Over when there are fewer than 80 %.
        rig.pretend_fill(per_cent(97) + 1);
        rig.goes_to(&TCP_SYN.port(1000));
        assert_eq!(rig.entries().len(), entries);
        rig.pretend_fill(per_cent(79));
        rig.goes_to(&TCP_SYN.port(1001));
        assert_eq!(rig.entries().len(), entries + 1);
        assert_eq!(
            rig.run(&TCP_SYN.port(130).with(ACK).frame()).verdict,
            Verdict::Pass
        );
    }
}

/// A client that was served without an entry when the table was full is served
/// on when it is not any more, and has an entry then. Not for ever: strangers
/// are the kernel's again.
#[test]
fn who_had_no_entry_gets_one_afterwards() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.serve(&service("tcp:192.0.2.10:80", Rr, Dr, PORT, &REALS));
    rig.set_policy(&OPTIONS, &stateless());
    rig.pretend_fill(per_cent(97) + 1);
    let homes: Vec<_> = (1..=20)
        .map(|port| rig.goes_to(&TCP_SYN.port(port)))
        .collect();
    for (port, home) in (1..).zip(&homes) {
        assert_eq!(rig.goes_to(&TCP_SYN.port(port).with(ACK)), *home);
    }
    assert_eq!(rig.entries().len(), 0);
    // The mode ends with the next new connection, or when the daemon looks.
    rig.change_fill(|state| state.entries = per_cent(50));
    rig.goes_to(&TCP_SYN.port(1000));
    assert_eq!(rig.entries().len(), 1);
    for (port, home) in (1..).zip(&homes) {
        let ack = TCP_SYN.port(port).with(ACK);
        assert_eq!([rig.goes_to(&ack), rig.goes_to(&ack)], [*home; 2]);
    }
    let entries = rig.entries();
    assert_eq!(entries.len(), 21);
    let states = entries.iter().map(|(_, entry)| entry.state().name());
    assert_eq!(states.filter(|state| *state == "ESTABLISHED").count(), 20);
    // Those who go on leave no entries that would bring the mode back.
    rig.change_fill(|state| state.entries = per_cent(80));
    for port in 3001..3010 {
        rig.goes_to(&TCP_SYN.port(port).with(ACK));
    }
    assert_eq!(rig.entries().len(), 21);
    let long_ago = ago_ns(STATELESS_ECHO_S + 1);
    rig.change_fill(|state| state.stateful_since_ns = long_ago);
    let stranger = TCP_SYN.port(2000).with(ACK);
    assert_eq!(rig.run(&stranger.frame()).verdict, Verdict::Pass);
}

/// Always, where it is "on".
#[test]
fn on_is_at_any_fill() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.serve(&service("tcp:192.0.2.10:80", Rr, Dr, PORT, &REALS));
    let defence = Defence {
        stateless: Strategy::On,
        ..DEFENCELESS
    };
    rig.set_policy(&OPTIONS, &defence);
    let home = rig.goes_to(&TCP_SYN);
    assert!(rig.entries().is_empty());
    assert_eq!(rig.goes_to(&TCP_SYN), home);
}

/// All of a persistent client's connections go to one real without a template,
/// too.
#[test]
fn persistent_clients_stay_together() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    let web = Service {
        persistence: Some(Persistence {
            timeout_s: 300,
            netmask: 24,
            netmask_v6: 64,
        }),
        ..service("tcp:192.0.2.10:80", Rr, Dr, PORT, &REALS)
    };
    rig.serve(&web);
    let defence = Defence {
        stateless: Strategy::On,
        ..DEFENCELESS
    };
    rig.set_policy(&OPTIONS, &defence);
    for network in 1..20 {
        let from = |host: u8| Packet {
            ip: Header {
                source: v4(198, 51, network, host),
                ..TCP_SYN.ip
            },
            ..TCP_SYN
        };
        let home = rig.goes_to(&from(1));
        for host in 2..10 {
            assert_eq!(rig.goes_to(&from(host).port(u16::from(host))), home);
        }
    }
}

/// A table that is really full.
#[test]
fn a_full_table_keeps_nobody_out() {
    if !privilege::bpf() {
        return;
    }
    let sizes = Sizes {
        connections: 64,
        ..SIZES
    };
    let mut rig = Rig::with_sizes(sizes);
    let web = service("tcp:192.0.2.10:80", Rr, Dr, PORT, &REALS);
    rig.serve(&web);
    rig.serve(&service("udp:192.0.2.10:80", Rr, Dr, PORT, &REALS));
    // The mark out of reach: the insertion itself fails.
    rig.set_policy(&OPTIONS, &stateless());
    let mut homes = HashMap::new();
    for port in 1..=500 {
        rig.pretend_fill(0);
        homes.insert(port, rig.goes_to(&TCP_SYN.port(port)));
    }
    let entries = rig.entries().len();
    assert!((64..300).contains(&entries), "{entries}");
    assert_eq!(rig.drops("stateless"), 500 - entries as u64);
    for port in 1..=500 {
        rig.pretend_fill(0);
        assert_eq!(
            rig.goes_to(&TCP_SYN.port(port)),
            homes[&port],
            "it came again"
        );
        rig.goes_to(&DATAGRAM.port(port));
    }
    assert_eq!(rig.drops("connection_table_full"), 0);
    rig.set_policy(&OPTIONS, &DEFENCELESS);
    let verdicts: Vec<_> = (600..620)
        .map(|port| rig.run(&TCP_SYN.port(port).frame()).verdict)
        .collect();
    assert!(
        verdicts.iter().all(|verdict| *verdict == Verdict::Drop),
        "{verdicts:?}"
    );
    assert_eq!(rig.drops("connection_table_full"), 20);
}

/// Under nat a new connection takes the place of one that is half-open; the
/// established ones stay.
#[test]
fn half_open_connections_make_room_under_nat() {
    if !privilege::bpf() {
        return;
    }
    let sizes = Sizes {
        connections: 512,
        ..SIZES
    };
    let mut rig = Rig::with_sizes(sizes);
    let web = service("tcp:192.0.2.10:80", Rr, Nat, PORT, &[(REAL, 1)]);
    rig.serve(&web);
    rig.set_policy(&OPTIONS, &stateless());
    // Established: the real's half has been seen, and the client's ACK.
    for port in 1..=50 {
        rig.run(&TCP_SYN.port(port).frame());
        rig.run(&TCP_SYN.port(port).with(ACK).frame());
    }
    let (active, _) = rig.counts(&web, REAL);
    assert_eq!(active, 50);
    let mut served = 0;
    for port in 1000..6000 {
        served += u32::from(rig.run(&TCP_SYN.port(port).frame()).verdict == Verdict::Tx);
    }
    let entries = rig.entries().len();
    let states = rig.reconciler.tables().table_states().unwrap();
    assert_eq!(
        states[0].entries as usize, entries,
        "the fill is what is there"
    );
    assert!(served > 4500, "{served} of 5000 served");
    for port in 1..=50 {
        let outcome = rig.run(&TCP_SYN.port(port).with(ACK).frame());
        assert_eq!(outcome.verdict, Verdict::Tx, "an established one was hurt");
    }
    rig.counts(&web, REAL);
}
