//! One-packet scheduling: every datagram is picked for, and none leaves an
//! entry.

use lb_daemon::config::model::{
    ForwardingMethod::{self, Dr, Nat, Tun},
    Persistence,
    Scheduler::Rr,
    Service,
};
use lb_tests::privilege;

use crate::{
    judge,
    kernel::Verdict,
    packet::{Header, Packet},
    rig::{Rig, service},
    wires::with_wires,
    world::{
        CLIENT, DATAGRAM, DATAGRAM_V6, OTHER_REAL, OTHER_REAL_V6, PORT, REAL, REAL_PORT, REAL_V6,
        VIP, mac_of, v4,
    },
};

fn dns(method: ForwardingMethod) -> Service {
    let port = if method == Nat { REAL_PORT } else { PORT };
    let reals = [(REAL, 1), (OTHER_REAL, 1)];
    Service {
        one_packet: true,
        ..service("udp:192.0.2.10:80", Rr, method, port, &reals)
    }
}

/// With persistence a client's datagrams go where his first one went, by a
/// template that each of them renews, and under which there is nothing.
#[test]
fn a_persistent_client_keeps_its_real() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for method in [Dr, Nat, Tun] {
        rig.clear();
        rig.serve(&Service {
            persistence: Some(Persistence {
                timeout_s: 300,
                netmask: 24,
                netmask_v6: 64,
            }),
            ..dns(method)
        });
        let neighbour = Header {
            source: v4(198, 51, 100, 200),
            ..DATAGRAM.ip
        };
        let stranger = Header {
            source: v4(203, 0, 113, 77),
            ..DATAGRAM.ip
        };
        for (turn, (ip, real)) in [
            (DATAGRAM.ip, REAL),
            (DATAGRAM.ip, REAL),
            (neighbour, REAL),
            (stranger, OTHER_REAL),
            (DATAGRAM.ip, REAL),
        ]
        .into_iter()
        .enumerate()
        {
            let outcome = rig.run(&Packet { ip, ..DATAGRAM }.frame());
            assert_eq!(outcome.verdict, Verdict::Tx);
            let out = judge::packet(&outcome.frame);
            assert_eq!(out.to_mac, mac_of(real), "{method:?}, datagram {turn}");
        }
        assert!(rig.entries().is_empty(), "{method:?}");
        let templates = rig.templates();
        assert_eq!(templates.len(), 2);
        assert!(templates.iter().all(|(_, t)| t.connections == 0));
    }
}

#[test]
fn each_datagram_is_scheduled() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for method in [Dr, Nat, Tun] {
        rig.clear();
        let dns = dns(method);
        rig.serve(&dns);
        for turn in 0..6 {
            let outcome = rig.run(&DATAGRAM.frame());
            assert_eq!(outcome.verdict, Verdict::Tx);
            let out = judge::packet(&outcome.frame);
            let real = if turn % 2 == 0 { REAL } else { OTHER_REAL };
            assert_eq!(out.to_mac, mac_of(real), "{method:?}, datagram {turn}");
            if method == Nat {
                assert_eq!(
                    (out.ip.destination, out.destination_port),
                    (real, REAL_PORT)
                );
                assert_eq!(
                    (out.ip.source, out.source_port),
                    (CLIENT, DATAGRAM.source_port)
                );
            }
            assert!(rig.entries().is_empty(), "{method:?}");
        }
        assert_eq!(rig.counts(&dns, REAL), (0, 0));
        let tables = rig.reconciler.tables();
        let stats = tables.real_stats(rig.slot(&dns, REAL)).unwrap();
        assert!(stats.connections >= 3 && stats.in_packets >= 3, "{stats:?}");
        assert_eq!(tables.table_states().unwrap()[0].entries, 0);
    }
    let six = Service {
        one_packet: true,
        ..service(
            "udp:[2001:db8:a::10]:80",
            Rr,
            Dr,
            PORT,
            &[(REAL_V6, 1), (OTHER_REAL_V6, 1)],
        )
    };
    rig.serve(&six);
    for real in [REAL_V6, OTHER_REAL_V6, REAL_V6] {
        let out = judge::packet(&rig.run(&DATAGRAM_V6.frame()).frame);
        assert_eq!(out.to_mac, mac_of(real));
    }
    assert!(rig.entries_v6().is_empty());
}

/// Under nat a reply is known by where it comes from.
#[test]
fn replies_come_from_the_service() {
    if !privilege::bpf() {
        return;
    }
    with_wires(|_, wires| {
        let mut rig = Rig::shared();
        let mut dns = dns(Nat);
        rig.serve(&dns);
        let reply = Packet {
            ip: Header {
                source: OTHER_REAL,
                destination: CLIENT,
                ..DATAGRAM.ip
            },
            source_port: REAL_PORT,
            destination_port: DATAGRAM.source_port,
            ..DATAGRAM
        };
        let outcome = rig.run_at(wires.inside, &reply.frame());
        assert_ne!(outcome.verdict, Verdict::Pass);
        let out = judge::packet(&outcome.frame);
        assert_eq!((out.ip.source, out.source_port), (VIP, PORT));
        assert_eq!(
            (out.ip.destination, out.destination_port),
            (CLIENT, DATAGRAM.source_port)
        );
        // From another port it is none.
        let other = Packet {
            source_port: 53,
            ..reply
        };
        assert_eq!(
            rig.run_at(wires.inside, &other.frame()).verdict,
            Verdict::Pass
        );
        // Nor is it when the real has gone.
        dns.reals.pop();
        rig.serve(&dns);
        assert_eq!(
            rig.run_at(wires.inside, &reply.frame()).verdict,
            Verdict::Pass
        );
        rig.reconciler.remove_service(dns.id).unwrap();
        assert!(rig.reconciler.tables().replies().unwrap().is_empty());
    });
}
