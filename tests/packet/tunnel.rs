//! Encapsulation (RFC 2003): the datagram with its TTL less one, behind a
//! header to the real.

use lb_daemon::config::model::{ForwardingMethod::Tun, Scheduler::Rr};
use lb_tests::privilege;

use crate::{
    packet::{ACK, Encapsulation, Header, Outer, Packet, Transport},
    rig::{LOOPBACK, Rig, service},
    row::{
        Expect::{Answered, Transmitted},
        Row, TIME_EXCEEDED, fragmentation_needed,
    },
    world::{DATAGRAM, EGRESS_MAC, LOCAL, PORT, REAL, REAL_MAC, TCP_SYN},
};

/// The outer header of an inner one with TTL 64 and DF: the ID is 0 (RFC 6864).
const OUTER: Outer = Outer {
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
};

const SYN_OUT: Packet = Packet {
    to_mac: REAL_MAC,
    from_mac: EGRESS_MAC,
    outer: Some(OUTER),
    ..TCP_SYN
}
.ttl(63);
const DATAGRAM_OUT: Packet = Packet {
    to_mac: REAL_MAC,
    from_mac: EGRESS_MAC,
    outer: Some(OUTER),
    ..DATAGRAM
}
.ttl(63);

#[test]
fn tcp() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.serve(&service("tcp:192.0.2.10:80", Rr, Tun, PORT, &[(REAL, 1)]));
    rig.check(&[
        Row {
            what: "a new connection",
            packet: TCP_SYN,
            expect: Transmitted(SYN_OUT),
        },
        Row {
            what: "established",
            packet: TCP_SYN.with(ACK),
            expect: Transmitted(SYN_OUT.with(ACK)),
        },
        Row {
            what: "the shortest frame, padded",
            packet: Packet {
                padding: 6,
                ..TCP_SYN.with(ACK)
            },
            expect: Transmitted(Packet {
                padding: 6,
                ..SYN_OUT.with(ACK)
            }),
        },
        Row {
            what: "IP options stay inside",
            packet: Packet {
                option_words: 10,
                payload: 5,
                ..TCP_SYN.with(ACK)
            },
            expect: Transmitted(Packet {
                option_words: 10,
                payload: 5,
                ..SYN_OUT.with(ACK)
            }),
        },
        Row {
            what: "TTL 2: the outer one is the inner one's",
            packet: TCP_SYN.with(ACK).ttl(2),
            expect: Transmitted(Packet {
                outer: Some(OUTER.ttl(1)),
                ..SYN_OUT.with(ACK).ttl(1)
            }),
        },
        Row {
            what: "TTL 1",
            packet: TCP_SYN.with(ACK).ttl(1),
            expect: Answered(TIME_EXCEEDED),
        },
        Row {
            what: "TTL 1 in a SYN",
            packet: TCP_SYN.port(3).ttl(1),
            expect: Answered(TIME_EXCEEDED),
        },
        Row {
            what: "exactly the tunnel's MTU",
            packet: Packet {
                payload: 1440,
                ..TCP_SYN.with(ACK)
            },
            expect: Transmitted(Packet {
                payload: 1440,
                ..SYN_OUT.with(ACK)
            }),
        },
        Row {
            what: "a byte over, odd length",
            packet: Packet {
                payload: 1441,
                ..TCP_SYN.with(ACK)
            },
            expect: Answered(fragmentation_needed(1480)),
        },
        Row {
            what: "twenty bytes over",
            packet: Packet {
                payload: 1460,
                ..TCP_SYN.with(ACK)
            },
            expect: Answered(fragmentation_needed(1480)),
        },
        Row {
            what: "over without DF: no fragments are made",
            packet: Packet {
                ip: Header {
                    df: false,
                    ..TCP_SYN.ip
                },
                payload: 1441,
                ..TCP_SYN.with(ACK)
            },
            expect: Answered(fragmentation_needed(1480)),
        },
        Row {
            what: "over with IP options",
            packet: Packet {
                option_words: 10,
                payload: 1401,
                ..TCP_SYN.with(ACK)
            },
            expect: Answered(fragmentation_needed(1480)),
        },
        Row {
            what: "over in a SYN",
            packet: Packet {
                payload: 1442,
                ..TCP_SYN.port(4)
            },
            expect: Answered(fragmentation_needed(1480)),
        },
    ]);
}

#[test]
fn udp() {
    if !privilege::bpf() {
        return;
    }
    let unsummed = |packet| Packet {
        transport: Transport::UdpUnsummed,
        ..packet
    };
    let mut rig = Rig::shared();
    rig.serve(&service("udp:192.0.2.10:80", Rr, Tun, PORT, &[(REAL, 1)]));
    rig.check(&[
        Row {
            what: "a new connection",
            packet: DATAGRAM,
            expect: Transmitted(DATAGRAM_OUT),
        },
        Row {
            what: "established",
            packet: DATAGRAM,
            expect: Transmitted(DATAGRAM_OUT),
        },
        Row {
            what: "no data",
            packet: Packet {
                payload: 0,
                ..DATAGRAM
            },
            expect: Transmitted(Packet {
                payload: 0,
                ..DATAGRAM_OUT
            }),
        },
        Row {
            what: "no checksum",
            packet: unsummed(DATAGRAM),
            expect: Transmitted(unsummed(DATAGRAM_OUT)),
        },
        Row {
            what: "IP options",
            packet: Packet {
                option_words: 3,
                ..DATAGRAM
            },
            expect: Transmitted(Packet {
                option_words: 3,
                ..DATAGRAM_OUT
            }),
        },
        Row {
            what: "TTL 1",
            packet: DATAGRAM.ttl(1),
            expect: Answered(TIME_EXCEEDED),
        },
        Row {
            what: "exactly the tunnel's MTU",
            packet: Packet {
                payload: 1452,
                ..DATAGRAM
            },
            expect: Transmitted(Packet {
                payload: 1452,
                ..DATAGRAM_OUT
            }),
        },
        Row {
            what: "a byte over",
            packet: Packet {
                payload: 1453,
                ..DATAGRAM
            },
            expect: Answered(fragmentation_needed(1480)),
        },
    ]);
    rig.resolve(REAL, LOOPBACK, 576);
    rig.check(&[
        Row {
            what: "another MTU, all of it quoted but the last",
            packet: Packet {
                payload: 529,
                ..DATAGRAM
            },
            expect: Answered(fragmentation_needed(556)),
        },
        Row {
            what: "exactly that MTU",
            packet: Packet {
                payload: 528,
                ..DATAGRAM
            },
            expect: Transmitted(Packet {
                payload: 528,
                ..DATAGRAM_OUT
            }),
        },
    ]);
    rig.resolve(REAL, LOOPBACK, 9000);
    rig.check(&[Row {
        what: "a jumbo frame",
        packet: Packet {
            payload: 8001,
            ..DATAGRAM
        },
        expect: Transmitted(Packet {
            payload: 8001,
            ..DATAGRAM_OUT
        }),
    }]);
}

/// Quotations around 548 bytes, the longest that RFC 1812 leaves room for.
#[test]
fn quotations() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.serve(&service("udp:192.0.2.10:80", Rr, Tun, PORT, &[(REAL, 1)]));
    rig.resolve(REAL, LOOPBACK, 100);
    for payload in [53, 54, 100, 101, 518, 519, 520, 521, 522, 1000, 1471, 1472] {
        rig.check(&[Row {
            what: "too long for a tunnel of 80 bytes",
            packet: Packet {
                payload,
                ..DATAGRAM
            },
            expect: Answered(fragmentation_needed(80)),
        }]);
    }
}

/// RFC 2983 and RFC 6040 section 4.1, normal mode: the outer octet is the
/// inner one's. DF is copied; without it the ID is too.
#[test]
fn outer_fields_follow_the_inner_ones() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.serve(&service("udp:192.0.2.10:80", Rr, Tun, PORT, &[(REAL, 1)]));
    let cases = [
        ("best effort", 0x00, 0, true, 0),
        ("ECT(1)", 0x01, 0x1234, true, 0),
        ("ECT(0)", 0x02, 0x1234, true, 0),
        ("congestion experienced", 0x03, 0x1234, true, 0),
        ("expedited forwarding", 0xb8, 0x1234, true, 0),
        ("every bit", 0xff, 0xffff, true, 0),
        ("no DF", 0x00, 0x1234, false, 0x1234),
        ("no DF, every bit", 0xff, 0xffff, false, 0xffff),
    ];
    for (what, tos, id, df, outer_id) in cases {
        let outer = Outer {
            ip: Header {
                tos,
                id: outer_id,
                df,
                ..OUTER.ip
            },
            ..OUTER
        };
        rig.check(&[Row {
            what,
            packet: Packet {
                ip: Header {
                    tos,
                    id,
                    df,
                    ..DATAGRAM.ip
                },
                ..DATAGRAM
            },
            expect: Transmitted(Packet {
                outer: Some(outer),
                ip: Header {
                    tos,
                    id,
                    df,
                    ..DATAGRAM_OUT.ip
                },
                ..DATAGRAM_OUT
            }),
        }]);
    }
}
