//! Address translation, the real's half: the source becomes the VIP, and the
//! kernel's routes and neighbours say how to reach the client.

use lb_common::abi::{Event, event_kind};
use lb_daemon::config::model::{ForwardingMethod::Nat, Scheduler::Rr};
use lb_tests::privilege;

use crate::{
    packet::{ACK, Header, Ip, Mac, Packet, SYN, Transport},
    rig::{Rig, Shared, service},
    row::{
        Expect::{Answered, Dropped, Redirected, Transmitted},
        Row, TIME_EXCEEDED, fragmentation_needed,
    },
    wires::{CLIENT_MAC, OUTSIDE_MAC, with_wires},
    world::{DATAGRAM, PORT, REAL, REAL_MAC, REAL_PORT, TCP_SYN, VIP, v4},
};

/// The real's answer to a packet of the client.
pub const fn reply(packet: Packet) -> Packet {
    Packet {
        to_mac: packet.to_mac,
        from_mac: REAL_MAC,
        ip: Header {
            source: REAL,
            destination: packet.ip.source,
            ..packet.ip
        },
        source_port: REAL_PORT,
        destination_port: packet.source_port,
        ..packet
    }
}

/// What the client shall see of a real's answer.
const fn seen(reply: Packet) -> Packet {
    Packet {
        to_mac: CLIENT_MAC,
        from_mac: OUTSIDE_MAC,
        ip: Header {
            source: VIP,
            ttl: reply.ip.ttl - 1,
            ..reply.ip
        },
        source_port: PORT,
        ..reply
    }
}

const SYN_ACK: Packet = reply(TCP_SYN.with(SYN | ACK));
const ANSWER: Packet = reply(DATAGRAM);

fn director(id: &str) -> Shared {
    let mut rig = Rig::shared();
    rig.serve(&service(id, Rr, Nat, REAL_PORT, &[(REAL, 1)]));
    rig
}

#[test]
fn tcp() {
    if !privilege::bpf() {
        return;
    }
    with_wires(|_, wires| {
        let mut rig = director("tcp:192.0.2.10:80");
        rig.run(&TCP_SYN.frame());
        let rows = [
            Row {
                what: "SYN+ACK",
                packet: SYN_ACK,
                expect: Redirected(seen(SYN_ACK)),
            },
            Row {
                what: "ACK",
                packet: SYN_ACK.with(ACK),
                expect: Redirected(seen(SYN_ACK.with(ACK))),
            },
            Row {
                what: "odd length, IP options, DSCP, no DF",
                packet: Packet {
                    ip: Header {
                        tos: 0xb9,
                        id: 9,
                        df: false,
                        ..SYN_ACK.ip
                    },
                    option_words: 10,
                    payload: 77,
                    ..SYN_ACK.with(ACK)
                },
                expect: Redirected(seen(Packet {
                    ip: Header {
                        tos: 0xb9,
                        id: 9,
                        df: false,
                        ..SYN_ACK.ip
                    },
                    option_words: 10,
                    payload: 77,
                    ..SYN_ACK.with(ACK)
                })),
            },
            Row {
                what: "as long as the client's MTU",
                packet: Packet {
                    payload: 1360,
                    ..SYN_ACK.with(ACK)
                },
                expect: Redirected(seen(Packet {
                    payload: 1360,
                    ..SYN_ACK.with(ACK)
                })),
            },
            Row {
                what: "a byte longer",
                packet: Packet {
                    payload: 1361,
                    ..SYN_ACK.with(ACK)
                },
                expect: Answered(fragmentation_needed(1400)),
            },
            Row {
                what: "TTL 1",
                packet: SYN_ACK.with(ACK).ttl(1),
                expect: Answered(TIME_EXCEEDED),
            },
        ];
        for row in &rows {
            rig.check_at(wires.inside, row);
        }
        let row = Row {
            what: "on one arm",
            packet: SYN_ACK,
            expect: Transmitted(seen(SYN_ACK)),
        };
        rig.check_at(wires.outside, &row);
    });
}

#[test]
fn udp() {
    if !privilege::bpf() {
        return;
    }
    let unsummed = Packet {
        transport: Transport::UdpUnsummed,
        ..ANSWER
    };
    with_wires(|_, wires| {
        let mut rig = director("udp:192.0.2.10:80");
        rig.run(&DATAGRAM.frame());
        let rows = [
            Row {
                what: "an answer",
                packet: ANSWER,
                expect: Redirected(seen(ANSWER)),
            },
            Row {
                what: "a checksum of 0 stays 0",
                packet: unsummed,
                expect: Redirected(seen(unsummed)),
            },
            Row {
                what: "odd length",
                packet: Packet {
                    payload: 999,
                    ..ANSWER
                },
                expect: Redirected(seen(Packet {
                    payload: 999,
                    ..ANSWER
                })),
            },
        ];
        for row in &rows {
            rig.check_at(wires.inside, row);
        }
    });
}

/// A connection remembers its way for about a second; then it follows the kernel's
/// again.
#[test]
fn another_way() {
    const OTHER_MAC: Mac = [2, 0, 0, 0, 0, 0x78];
    if !privilege::bpf() {
        return;
    }
    let from_other = |packet: Packet| Packet {
        source_port: packet.source_port + 1,
        ..packet
    };
    with_wires(|namespace, wires| {
        let mut rig = director("tcp:192.0.2.10:80");
        rig.run(&TCP_SYN.frame());
        rig.run(&from_other(TCP_SYN).frame());
        let check = |rig: &mut Rig, what, packet: Packet, mac| {
            let row = Row {
                what,
                packet,
                expect: Redirected(Packet {
                    to_mac: mac,
                    ..seen(packet)
                }),
            };
            rig.check_at(wires.inside, &row);
        };
        check(&mut rig, "the first way", SYN_ACK, CLIENT_MAC);
        namespace
            .ip("neighbour replace 198.51.100.7 lladdr 02:00:00:00:00:78 nud permanent dev outside")
            .unwrap();
        check(&mut rig, "as a moment ago", SYN_ACK, CLIENT_MAC);
        let other = reply(from_other(TCP_SYN).with(SYN | ACK));
        check(&mut rig, "one that has none yet", other, OTHER_MAC);
        for (key, mut entry) in rig.entries() {
            entry.looked_up = entry.looked_up.wrapping_sub(15);
            assert!(rig.connections.put(&key, entry).unwrap());
        }
        check(&mut rig, "a second later", SYN_ACK, OTHER_MAC);
        check(&mut rig, "and on", SYN_ACK.with(ACK), OTHER_MAC);
    });
}

/// Never to the director's own stack: it owns the VIP and would answer.
#[test]
fn clients_that_cannot_be_reached() {
    if !privilege::bpf() {
        return;
    }
    let client = |address: Ip| Packet {
        ip: Header {
            source: address,
            ..TCP_SYN.ip
        },
        ..TCP_SYN
    };
    let (known, unknown, unroutable) = (
        TCP_SYN,
        client(v4(198, 51, 100, 8)),
        client(v4(192, 0, 2, 200)),
    );
    with_wires(|namespace, wires| {
        let mut rig = director("tcp:192.0.2.10:80");
        for packet in [known, unknown, unroutable] {
            rig.run(&packet.frame());
        }
        let reply_to = |packet: Packet| reply(packet.with(SYN | ACK));
        let row = Row {
            what: "a neighbour without an address",
            packet: reply_to(unknown),
            expect: Dropped("client_neighbour_missing"),
        };
        rig.check_at(wires.inside, &row);
        let event = next_event(&mut rig).expect("the daemon was not asked");
        assert_eq!(event.kind, event_kind::NEIGHBOUR_MISSING);
        assert_eq!(event.index, wires.outside);
        assert_eq!(std::net::IpAddr::from(event.address), v4(198, 51, 100, 8));

        let row = Row {
            what: "no route",
            packet: reply_to(unroutable),
            expect: Dropped("client_unreachable"),
        };
        rig.check_at(wires.inside, &row);

        namespace.sysctl("net/ipv4/ip_forward", "0").unwrap();
        let row = Row {
            what: "ip_forward is off",
            packet: reply_to(known),
            expect: Dropped("client_unreachable"),
        };
        rig.check_at(wires.inside, &row);
    });
}

/// The next message to the daemon.
pub fn next_event(rig: &mut Rig) -> Option<Event> {
    let item = rig.events.next()?;
    assert_eq!(item.len(), size_of::<Event>());
    // SAFETY: plain data of that length.
    Some(unsafe { item.as_ptr().cast::<Event>().read_unaligned() })
}
