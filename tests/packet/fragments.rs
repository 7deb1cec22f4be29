//! Fragments: the later ones go where the first one went, and without it
//! nowhere, unless they are none of the director's business.

use lb_daemon::config::model::{Protocol, Weight};
use lb_tests::privilege;

use crate::{
    packet::{ACK, END, Header, Packet, RST, Transport},
    rig::{LOOPBACK, Rig},
    row::Expect::{self, Dropped, Passed, Transmitted},
    ways::{IPIP, Method, Way, tun},
    world::{OTHER_REAL, OTHER_REAL_V6},
};

const METHODS: [Method; 3] = [Method::Dr, Method::Nat, tun(IPIP, false)];

/// Runs a test on every way, without a connection.
fn on_every_way(test: impl Fn(&mut Rig, &Way)) {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for method in METHODS {
        for is_ipv6 in [false, true] {
            for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
                let way = Way::new(method, is_ipv6, protocol);
                rig.clear();
                rig.serve(&way.service());
                test(&mut rig, &way);
            }
        }
    }
}

#[track_caller]
fn check(rig: &mut Rig, way: &Way, what: &str, packet: &Packet, expect: &Expect) {
    rig.check_one(LOOPBACK, &format!("{way:?}: {what}"), packet, expect);
}

/// A datagram of a new connection, whose ID no other test has.
fn datagram(way: &Way, id: u32) -> Packet {
    let id = if way.is_ipv6 { id << 16 | id } else { id };
    way.first().payload(2000).fragmentable(id)
}

fn entries(rig: &Rig) -> usize {
    rig.entries().len() + rig.entries_v6().len()
}

#[test]
fn a_first_fragment_makes_a_connection() {
    on_every_way(|rig, way| {
        let packet = datagram(way, 11);
        for (what, part) in [
            ("the first", packet.part(0, 800)),
            ("the second", packet.part(800, 1600)),
            ("the last", packet.part(1600, END)),
        ] {
            check(rig, way, what, &part, &Transmitted(way.there(part)));
        }
        let halves = if way.method == Method::Nat { 2 } else { 1 };
        assert_eq!(entries(rig), halves, "{way:?}");
        let service = way.service();
        let (active, inactive) = rig.counts(&service, way.real());
        assert_eq!(active + inactive, 1, "{way:?}");
    });
}

/// A later one that comes first is lost, as are those of other datagrams.
#[test]
fn each_datagram_by_itself() {
    on_every_way(|rig, way| {
        let packet = datagram(way, 21);
        let lost = Dropped("fragment_without_first");
        let later = packet.part(800, 1600);
        check(rig, way, "before the first", &later, &lost);
        let first = packet.part(0, 800);
        check(
            rig,
            way,
            "the first",
            &first,
            &Transmitted(way.there(first)),
        );
        check(rig, way, "after it", &later, &Transmitted(way.there(later)));
        let other = packet.fragmentable(packet.ip.id ^ 0x100).part(800, 1600);
        check(rig, way, "of another datagram", &other, &lost);
        if way.is_ipv6 {
            let other = packet.fragmentable(packet.ip.id ^ 1 << 31).part(800, END);
            check(rig, way, "of yet another datagram", &other, &lost);
        }
        let stranger = Packet {
            ip: Header {
                source: if way.is_ipv6 {
                    OTHER_REAL_V6
                } else {
                    OTHER_REAL
                },
                ..later.ip
            },
            ..later
        };
        check(rig, way, "of another client", &stranger, &lost);
        check(rig, way, "its own", &later, &Transmitted(way.there(later)));
    });
}

#[test]
fn the_connection_may_end_before_the_datagram() {
    on_every_way(|rig, way| {
        let packet = datagram(way, 31);
        let (first, later) = (packet.part(0, 800), packet.part(800, END));
        check(
            rig,
            way,
            "the first",
            &first,
            &Transmitted(way.there(first)),
        );
        for (key, _) in rig.entries() {
            rig.connections.remove(&key).unwrap();
        }
        for (key, _) in rig.entries_v6() {
            rig.connections_v6.remove(&key).unwrap();
        }
        let lost = Dropped("fragment_connection_gone");
        check(rig, way, "too late", &later, &lost);
    });
}

/// What the first fragment went to the kernel for, the others do too.
#[test]
fn what_is_passed_is_passed_whole() {
    on_every_way(|rig, way| {
        let other_port = |packet: Packet| Packet {
            destination_port: 9,
            ..packet
        };
        let mut datagrams = vec![("another port", other_port(datagram(way, 41)))];
        match way.protocol {
            Protocol::Tcp => datagrams.push(("a reset", datagram(way, 42).with(RST))),
            Protocol::Sctp => {
                let packet = way.established().payload(2000).fragmentable(43);
                datagrams.push(("no INIT", packet));
            }
            Protocol::Udp => {}
        }
        for (what, packet) in datagrams {
            check(rig, way, what, &packet.part(0, 800), &Passed);
            check(rig, way, what, &packet.part(800, 1600), &Passed);
            check(rig, way, what, &packet.part(1600, END), &Passed);
        }
        assert_eq!(entries(rig), 0);
    });
}

/// What the first fragment was dropped for is not the kernel's either.
#[test]
fn what_is_dropped_is_dropped_whole() {
    on_every_way(|rig, way| {
        let mut service = way.service();
        service.reals[0].weight = Weight::new(0).unwrap();
        rig.serve(&service);
        let packet = datagram(way, 45);
        rig.run(&packet.part(0, 800).frame());
        let lost = Dropped("fragment_without_first");
        check(rig, way, "no real", &packet.part(800, END), &lost);
    });
}

/// The kernel gets fragments for addresses and protocols that are no service's
/// and no nat real's.
#[test]
fn others_pass() {
    on_every_way(|rig, way| {
        let elsewhere = |packet: Packet| Packet {
            ip: Header {
                destination: if way.is_ipv6 {
                    OTHER_REAL_V6
                } else {
                    OTHER_REAL
                },
                ..packet.ip
            },
            ..packet
        };
        let other_protocol = |packet: Packet| Packet {
            transport: match way.protocol {
                Protocol::Tcp => Transport::Udp,
                _ => Transport::Tcp(ACK),
            },
            ..packet
        };
        let packet = datagram(way, 51);
        for (what, packet) in [
            ("to another address", elsewhere(packet)),
            ("of another protocol", other_protocol(packet)),
        ] {
            check(rig, way, what, &packet.part(800, END), &Passed);
            check(rig, way, what, &packet.part(0, 800), &Passed);
            check(rig, way, what, &packet.part(800, END), &Passed);
        }
        // From a real: under nat it would have to be translated.
        let from_real = Way {
            method: Method::Nat,
            ..*way
        }
        .reply(packet)
        .part(800, END);
        let is_mixed = way.is_ipv6 && matches!(way.method, Method::Tun { .. });
        if is_mixed {
            return;
        }
        let expect = if way.method == Method::Nat {
            Dropped("fragment_without_first")
        } else {
            Passed
        };
        check(rig, way, "from a real", &from_real, &expect);
        // The real's own business, for which the director is a router.
        let own = from_real.fragmentable(from_real.ip.id ^ 0x200);
        check(rig, way, "a real's own", &own.part(0, 800), &Passed);
        check(rig, way, "after it", &own.part(800, END), &Passed);
        let from_other = Packet {
            ip: Header {
                source: if way.is_ipv6 {
                    OTHER_REAL_V6
                } else {
                    OTHER_REAL
                },
                ..from_real.ip
            },
            ..from_real
        };
        check(rig, way, "from no real", &from_other, &Passed);
        let other = other_protocol(from_real);
        check(rig, way, "from a real, another protocol", &other, &Passed);
    });
}

/// A first fragment that does not hold its transport header whole can be
/// anything (RFC 1858, RFC 7112): it makes no connection.
#[test]
fn tiny_ones() {
    on_every_way(|rig, way| {
        if way.protocol == Protocol::Udp {
            return;
        }
        let packet = datagram(way, 61);
        check(rig, way, "eight bytes", &packet.part(0, 8), &Passed);
        assert_eq!(entries(rig), 0, "{way:?}");
    });
}
