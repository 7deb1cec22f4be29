//! Where frames leave: by which interface, and what happens while the way to a
//! real is not known.

use lb_common::abi::event_kind;
use lb_daemon::config::model::{
    ForwardingMethod::{Dr, Nat, Tun},
    Scheduler::Rr,
};
use lb_tests::privilege;

use crate::{
    nat_replies::next_event,
    packet::{ACK, Encapsulation, Header, Outer, Packet},
    rig::{LOOPBACK, Rig, service},
    row::{
        Expect::{Dropped, Redirected, Transmitted},
        Row,
    },
    world::{EGRESS_MAC, LOCAL, PORT, REAL, REAL_MAC, TCP_SYN},
};

/// An interface other than the ingress.
const ELSEWHERE: u32 = 4711;

const OUT: Packet = Packet {
    to_mac: REAL_MAC,
    from_mac: EGRESS_MAC,
    ..TCP_SYN
}
.ttl(63);
const NAT_OUT: Packet = Packet {
    ip: Header {
        destination: REAL,
        ..OUT.ip
    },
    ..OUT
};
const TUN_OUT: Packet = Packet {
    outer: Some(Outer {
        ip: Header {
            source: LOCAL,
            destination: REAL,
            tos: 0,
            id: 0,
            df: true,
            ttl: 63,
            label: 0,
        },
        encapsulation: Encapsulation::Ip,
    }),
    ..OUT
};

/// `XDP_TX` on the ingress, else `XDP_REDIRECT`, in each method, for the first
/// packet and the second.
#[test]
fn egress_decides_between_tx_and_redirect() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::new();
    for (method, out) in [(Dr, OUT), (Nat, NAT_OUT), (Tun, TUN_OUT)] {
        rig.clear();
        rig.serve(&service(
            "tcp:192.0.2.10:80",
            Rr,
            method,
            PORT,
            &[(REAL, 1)],
        ));
        rig.resolve(REAL, ELSEWHERE, 1500);
        rig.check(&[
            Row {
                what: "new, elsewhere",
                packet: TCP_SYN,
                expect: Redirected(out),
            },
            Row {
                what: "established, elsewhere",
                packet: TCP_SYN.with(ACK),
                expect: Redirected(out.with(ACK)),
            },
        ]);
        rig.resolve(REAL, LOOPBACK, 1500);
        rig.check(&[
            Row {
                what: "established, back",
                packet: TCP_SYN.with(ACK),
                expect: Transmitted(out.with(ACK)),
            },
            Row {
                what: "new, back",
                packet: TCP_SYN.port(5),
                expect: Transmitted(out.port(5)),
            },
        ]);
    }
}

/// Unresolved: dropped, counted, the daemon asked; and never to the kernel,
/// which owns the VIP. The connection is made all the same.
#[test]
fn an_unresolved_hop_is_asked_for() {
    if !privilege::bpf() {
        return;
    }
    for method in [Dr, Nat, Tun] {
        let web = service("tcp:192.0.2.10:80", Rr, method, PORT, &[(REAL, 1)]);
        let mut rig = Rig::new();
        rig.reconciler.set_service(&web).unwrap();
        rig.check(&[Row {
            what: "a SYN",
            packet: TCP_SYN,
            expect: Dropped("next_hop_unresolved"),
        }]);
        let event = next_event(&mut rig).expect("the daemon was not asked");
        assert_eq!(event.kind, event_kind::NEXT_HOP_UNRESOLVED);
        assert_eq!(rig.reconciler.image().hop_address(event.index), Some(REAL));
        rig.check(&[Row {
            what: "its ACK",
            packet: TCP_SYN.with(ACK),
            expect: Dropped("next_hop_unresolved"),
        }]);
        assert_eq!(rig.counts(&web, REAL), (1, 0));

        rig.resolve(REAL, LOOPBACK, 1500);
        let verdict = rig.run(&TCP_SYN.with(ACK).frame()).verdict;
        assert_eq!(verdict, crate::kernel::Verdict::Tx);
        assert_eq!(rig.drops("next_hop_unresolved"), 2);
    }
}

/// Many packets towards an unresolved hop make few events: the ring is small.
#[test]
fn requests_to_the_daemon_are_limited() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::new();
    let web = service("tcp:192.0.2.10:80", Rr, Dr, PORT, &[(REAL, 1)]);
    rig.reconciler.set_service(&web).unwrap();
    let began = std::time::Instant::now();
    let frame = TCP_SYN.frame();
    for _ in 0..2000 {
        rig.run(&frame);
    }
    // One each 10 ms on each CPU that the test ran on.
    let cpus = std::thread::available_parallelism().unwrap().get() as u128;
    let limit = (began.elapsed().as_millis() / 10 + 2) * cpus;
    let mut events = 0;
    while next_event(&mut rig).is_some() {
        events += 1;
    }
    assert!(
        (1..=limit).contains(&events),
        "{events} events, at most {limit} expected"
    );
    assert_eq!(rig.drops("next_hop_unresolved"), 2000);
}
