//! Address translation, the client's half: the destination becomes the real's
//! address and port.

use lb_daemon::config::model::{ForwardingMethod::Nat, Scheduler::Rr};
use lb_tests::privilege;

use crate::{
    packet::{ACK, FIN, Header, Packet, Transport},
    rig::{Rig, service},
    row::{
        Expect::{Answered, Transmitted},
        Row, TIME_EXCEEDED, fragmentation_needed,
    },
    world::{DATAGRAM, EGRESS_MAC, REAL, REAL_MAC, REAL_PORT, TCP_SYN},
};

pub const fn translated(packet: Packet) -> Packet {
    Packet {
        to_mac: REAL_MAC,
        from_mac: EGRESS_MAC,
        ip: Header {
            destination: REAL,
            ttl: 63,
            ..packet.ip
        },
        destination_port: REAL_PORT,
        ..packet
    }
}

const SYN_OUT: Packet = translated(TCP_SYN);
const DATAGRAM_OUT: Packet = translated(DATAGRAM);

#[test]
fn tcp() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.serve(&service(
        "tcp:192.0.2.10:80",
        Rr,
        Nat,
        REAL_PORT,
        &[(REAL, 1)],
    ));
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
            what: "IP options",
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
            what: "TTL 2",
            packet: TCP_SYN.with(ACK).ttl(2),
            expect: Transmitted(SYN_OUT.with(ACK).ttl(1)),
        },
        Row {
            what: "TTL 1: the quote is not translated",
            packet: TCP_SYN.with(ACK).ttl(1),
            expect: Answered(TIME_EXCEEDED),
        },
        Row {
            what: "TTL 1 in a SYN",
            packet: TCP_SYN.port(3).ttl(1),
            expect: Answered(TIME_EXCEEDED),
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
    rig.serve(&service(
        "udp:192.0.2.10:80",
        Rr,
        Nat,
        REAL_PORT,
        &[(REAL, 1)],
    ));
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
            what: "odd length with IP options",
            packet: Packet {
                option_words: 2,
                payload: 3,
                ..DATAGRAM
            },
            expect: Transmitted(Packet {
                option_words: 2,
                payload: 3,
                ..DATAGRAM_OUT
            }),
        },
        Row {
            what: "a checksum of 0 stays 0",
            packet: unsummed(DATAGRAM),
            expect: Transmitted(unsummed(DATAGRAM_OUT)),
        },
        Row {
            what: "TTL 1",
            packet: DATAGRAM.ttl(1),
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

/// Every checksum that the client's half can have comes out right, also where
/// the sum is 0 and is sent as all ones (RFC 768).
#[test]
fn every_sum_comes_out_right() {
    if !privilege::bpf() {
        return;
    }
    let sum = |packet: Packet| {
        let frame = packet.frame();
        u16::from_be_bytes([frame[40], frame[41]])
    };
    let mut rig = Rig::shared();
    rig.serve(&service(
        "udp:192.0.2.10:80",
        Rr,
        Nat,
        REAL_PORT,
        &[(REAL, 1)],
    ));
    // The sum falls by 1 with each port, so these few reach both sides of 0.
    let edge = (1..=u16::MAX).find(|port| sum(DATAGRAM_OUT.port(*port)) == 0xffff);
    let edge = edge.expect("a port whose translated checksum is 0");
    for port in edge - 3..=edge + 3 {
        rig.check(&[Row {
            what: "near 0 after translation",
            packet: DATAGRAM.port(port),
            expect: Transmitted(DATAGRAM_OUT.port(port)),
        }]);
    }
    for port in (1..=u16::MAX).step_by(97) {
        let outcome = rig.run(&DATAGRAM.port(port).frame());
        assert_eq!(
            outcome.frame[40..42],
            sum(DATAGRAM_OUT.port(port)).to_be_bytes(),
            "port {port}"
        );
    }
}
