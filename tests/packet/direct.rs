//! Direct routing: the frame gets the real's MAC address, the datagram loses
//! one from its TTL, and nothing else changes.

use lb_daemon::config::model::{ForwardingMethod::Dr, Scheduler::Rr};
use lb_tests::privilege;

use crate::{
    packet::{ACK, FIN, Header, Packet, Transport},
    rig::{Rig, service},
    row::{
        Expect::{Answered, Transmitted},
        Row, TIME_EXCEEDED, fragmentation_needed,
    },
    world::{DATAGRAM, EGRESS_MAC, PORT, REAL, REAL_MAC, TCP_SYN},
};

/// What becomes of [`TCP_SYN`].
const SYN_OUT: Packet = Packet {
    to_mac: REAL_MAC,
    from_mac: EGRESS_MAC,
    ..TCP_SYN
}
.ttl(63);
/// What becomes of [`DATAGRAM`].
const DATAGRAM_OUT: Packet = Packet {
    to_mac: REAL_MAC,
    from_mac: EGRESS_MAC,
    ..DATAGRAM
}
.ttl(63);

#[test]
fn tcp() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.serve(&service("tcp:192.0.2.10:80", Rr, Dr, PORT, &[(REAL, 1)]));
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
            what: "data of odd length",
            packet: Packet {
                payload: 777,
                ..TCP_SYN.with(ACK)
            },
            expect: Transmitted(Packet {
                payload: 777,
                ..SYN_OUT.with(ACK)
            }),
        },
        Row {
            what: "IP options, as many as there can be",
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
            what: "a new connection with IP options",
            packet: Packet {
                option_words: 1,
                ..TCP_SYN.port(2)
            },
            expect: Transmitted(Packet {
                option_words: 1,
                ..SYN_OUT.port(2)
            }),
        },
        Row {
            what: "TTL 2",
            packet: TCP_SYN.with(ACK).ttl(2),
            expect: Transmitted(SYN_OUT.with(ACK).ttl(1)),
        },
        Row {
            what: "TTL 255",
            packet: TCP_SYN.with(ACK).ttl(255),
            expect: Transmitted(SYN_OUT.with(ACK).ttl(254)),
        },
        Row {
            what: "TTL 1",
            packet: TCP_SYN.with(ACK).ttl(1),
            expect: Answered(TIME_EXCEEDED),
        },
        Row {
            what: "TTL 0",
            packet: TCP_SYN.with(ACK).ttl(0),
            expect: Answered(TIME_EXCEEDED),
        },
        Row {
            what: "TTL 1 in a SYN",
            packet: TCP_SYN.port(3).ttl(1),
            expect: Answered(TIME_EXCEEDED),
        },
        Row {
            what: "TTL 1, more than can be quoted",
            packet: Packet {
                payload: 1001,
                ..TCP_SYN.with(ACK)
            }
            .ttl(1),
            expect: Answered(TIME_EXCEEDED),
        },
        Row {
            what: "DSCP, ECN, an ID, no DF",
            packet: Packet {
                ip: Header {
                    tos: 0xb9,
                    id: 7,
                    df: false,
                    ..TCP_SYN.ip
                },
                ..TCP_SYN.with(ACK)
            },
            expect: Transmitted(Packet {
                ip: Header {
                    tos: 0xb9,
                    id: 7,
                    df: false,
                    ..SYN_OUT.ip
                },
                ..SYN_OUT.with(ACK)
            }),
        },
        Row {
            what: "as long as the MTU",
            packet: Packet {
                payload: 1460,
                ..TCP_SYN.with(ACK)
            },
            expect: Transmitted(Packet {
                payload: 1460,
                ..SYN_OUT.with(ACK)
            }),
        },
        Row {
            what: "a byte longer than the MTU",
            packet: Packet {
                payload: 1461,
                ..TCP_SYN.with(ACK)
            },
            expect: Answered(fragmentation_needed(1500)),
        },
        Row {
            what: "the end",
            packet: TCP_SYN.with(FIN | ACK),
            expect: Transmitted(SYN_OUT.with(FIN | ACK)),
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
    rig.serve(&service("udp:192.0.2.10:80", Rr, Dr, PORT, &[(REAL, 1)]));
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
            what: "no data, padded",
            packet: Packet {
                payload: 0,
                padding: 18,
                ..DATAGRAM
            },
            expect: Transmitted(Packet {
                payload: 0,
                padding: 18,
                ..DATAGRAM_OUT
            }),
        },
        Row {
            what: "IP options, odd length",
            packet: Packet {
                option_words: 10,
                payload: 1,
                ..DATAGRAM
            },
            expect: Transmitted(Packet {
                option_words: 10,
                payload: 1,
                ..DATAGRAM_OUT
            }),
        },
        Row {
            what: "no checksum",
            packet: unsummed(DATAGRAM),
            expect: Transmitted(unsummed(DATAGRAM_OUT)),
        },
        Row {
            what: "TTL 1",
            packet: DATAGRAM.ttl(1),
            expect: Answered(TIME_EXCEEDED),
        },
        Row {
            what: "TTL 1, a datagram of odd length",
            packet: Packet {
                payload: 33,
                ..DATAGRAM
            }
            .ttl(1),
            expect: Answered(TIME_EXCEEDED),
        },
        Row {
            what: "TTL 1, padding is not quoted",
            packet: Packet {
                payload: 1,
                padding: 17,
                ..DATAGRAM
            }
            .ttl(1),
            expect: Answered(TIME_EXCEEDED),
        },
        Row {
            what: "TTL 1, a new connection",
            packet: DATAGRAM.port(9).ttl(1),
            expect: Answered(TIME_EXCEEDED),
        },
        Row {
            what: "as long as the MTU",
            packet: Packet {
                payload: 1472,
                ..DATAGRAM
            },
            expect: Transmitted(Packet {
                payload: 1472,
                ..DATAGRAM_OUT
            }),
        },
        Row {
            what: "a byte longer than the MTU",
            packet: Packet {
                payload: 1473,
                ..DATAGRAM
            },
            expect: Answered(fragmentation_needed(1500)),
        },
    ]);
}

/// Frames of several buffers: 8 KB do not fit one page.
#[test]
fn jumbo_frames() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.serve(&service("udp:192.0.2.10:80", Rr, Dr, PORT, &[(REAL, 1)]));
    let jumbo = Packet {
        payload: 8000,
        ..DATAGRAM
    };
    rig.check(&[Row {
        what: "to a small MTU",
        packet: jumbo,
        expect: Answered(fragmentation_needed(1500)),
    }]);
    rig.resolve(REAL, crate::rig::LOOPBACK, 9000);
    rig.check(&[Row {
        what: "to an MTU of 9000",
        packet: jumbo,
        expect: Transmitted(Packet {
            payload: 8000,
            ..DATAGRAM_OUT
        }),
    }]);
}
