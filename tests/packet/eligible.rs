//! Services without an eligible real, quiesced reals, and the limit on ICMP
//! messages of our own.

use lb_daemon::config::model::{
    ForwardingMethod::{Dr, Nat, Tun},
    Scheduler::{Rr, Wrr},
};
use lb_tests::privilege;

use crate::{
    cpus,
    kernel::Verdict,
    packet::{ACK, Packet},
    rig::{Rig, service},
    row::{
        Expect::{Answered, Transmitted},
        PORT_UNREACHABLE, Row,
    },
    world::{DATAGRAM, EGRESS_MAC, OTHER_REAL, PORT, REAL, REAL_MAC, TCP_SYN, mac_of},
};

#[test]
fn no_eligible_real() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for scheduler in [Rr, Wrr] {
        for method in [Dr, Nat, Tun] {
            for reals in [&[(REAL, 0), (OTHER_REAL, 0)][..], &[]] {
                rig.clear();
                rig.serve(&service(
                    "tcp:192.0.2.10:80",
                    scheduler,
                    method,
                    PORT,
                    reals,
                ));
                rig.serve(&service(
                    "udp:192.0.2.10:80",
                    scheduler,
                    method,
                    PORT,
                    reals,
                ));
                rig.check(&[
                    Row {
                        what: "a SYN",
                        packet: TCP_SYN,
                        expect: Answered(PORT_UNREACHABLE),
                    },
                    Row {
                        what: "a datagram",
                        packet: DATAGRAM,
                        expect: Answered(PORT_UNREACHABLE),
                    },
                    Row {
                        what: "a long datagram with IP options",
                        packet: Packet {
                            option_words: 10,
                            payload: 1001,
                            ..DATAGRAM
                        },
                        expect: Answered(PORT_UNREACHABLE),
                    },
                ]);
                assert_eq!(rig.entries().len(), 0);
            }
        }
    }
}

/// Weight 0: no new connections, established ones go on.
#[test]
fn quiesced() {
    if !privilege::bpf() {
        return;
    }
    let out = Packet {
        to_mac: REAL_MAC,
        from_mac: EGRESS_MAC,
        ..TCP_SYN
    }
    .ttl(63);
    let other_out = Packet {
        to_mac: mac_of(OTHER_REAL),
        ..out
    };
    let mut rig = Rig::shared();
    let with = |weight| {
        service(
            "tcp:192.0.2.10:80",
            Wrr,
            Dr,
            PORT,
            &[(REAL, weight), (OTHER_REAL, 1)],
        )
    };
    rig.serve(&with(1));
    rig.check(&[Row {
        what: "before",
        packet: TCP_SYN,
        expect: Transmitted(out),
    }]);
    rig.serve(&with(0));
    rig.check(&[
        Row {
            what: "the established one",
            packet: TCP_SYN.with(ACK),
            expect: Transmitted(out.with(ACK)),
        },
        Row {
            what: "a new one",
            packet: TCP_SYN.port(2),
            expect: Transmitted(other_out.port(2)),
        },
        Row {
            what: "and another",
            packet: TCP_SYN.port(3),
            expect: Transmitted(other_out.port(3)),
        },
    ]);
    rig.serve(&service(
        "tcp:192.0.2.10:80",
        Wrr,
        Dr,
        PORT,
        &[(OTHER_REAL, 0)],
    ));
    rig.check(&[
        Row {
            what: "its real is deleted",
            packet: TCP_SYN.with(ACK),
            expect: Transmitted(out.with(ACK)),
        },
        Row {
            what: "nobody is left",
            packet: TCP_SYN.port(4),
            expect: Answered(PORT_UNREACHABLE),
        },
    ]);
    rig.reconciler.remove_service(with(0).id).unwrap();
    rig.check(&[Row {
        what: "its service is deleted",
        packet: TCP_SYN.with(ACK),
        expect: Transmitted(out.with(ACK)),
    }]);
}

/// `icmp_rate` messages a second and CPU; the rest is dropped in silence and
/// counted apart.
#[test]
fn messages_are_limited() {
    const RATE: u32 = 5;
    const PACKETS: u64 = 100;
    if !privilege::bpf() {
        return;
    }
    // The limit is one for each CPU.
    cpus::stay_on_one();
    let mut rig = Rig::new();
    rig.serve(&service("udp:192.0.2.10:80", Rr, Dr, PORT, &[(REAL, 0)]));
    rig.change_settings(|settings| settings.icmp_rate = RATE);
    let began = std::time::Instant::now();
    let frame = DATAGRAM.frame();
    let mut sent = 0;
    for _ in 0..PACKETS {
        match rig.run(&frame).verdict {
            Verdict::Tx => sent += 1,
            verdict => assert_eq!(verdict, Verdict::Drop),
        }
    }
    // A second that began meanwhile brings RATE more.
    let seconds = 2 + began.elapsed().as_secs();
    assert!(
        (u64::from(RATE)..=u64::from(RATE) * seconds).contains(&sent),
        "{sent} messages"
    );
    assert_eq!(
        (rig.drops("no_real"), rig.drops("icmp_suppressed")),
        (PACKETS, PACKETS - sent)
    );

    rig.change_settings(|settings| settings.icmp_rate = 0);
    assert_eq!(rig.run(&frame).verdict, Verdict::Drop);
}
