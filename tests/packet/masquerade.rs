//! nat that translates the source too: pools, ports, and reals that are clients
//! of their own service.

use std::collections::HashSet;

use lb_daemon::{config::model::Protocol, dataplane::Sizes};
use lb_tests::privilege;

use crate::{
    judge,
    kernel::Verdict,
    packet::{ACK, Header, Ip, Packet, SYN},
    rig::{LOOPBACK, Rig, SIZES},
    row::Expect::{Redirected, Transmitted},
    ways::{Method, Way},
    wires::with_wires,
    world::{EGRESS_MAC, PORT, mac_of, v4, v6},
};

fn ways() -> [Way; 4] {
    let way = |is_ipv6, protocol| Way::new(Method::Masquerade, is_ipv6, protocol);
    [
        way(false, Protocol::Tcp),
        way(false, Protocol::Udp),
        way(true, Protocol::Tcp),
        way(true, Protocol::Udp),
    ]
}

/// Each client has a port of its own, keeps it, and gets its answers there.
#[test]
fn ports_are_not_shared() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for way in ways() {
        rig.clear();
        let mut web = way.service();
        web.masquerade.push(other_pool(&way));
        rig.serve(&web);
        let mut sources = HashSet::new();
        for number in 0..1000 {
            // Two clients with the same ports.
            let client = client(&way, number % 2);
            let first = from(way.first(), client).port(10_000 + number / 2);
            let out = judge::packet(&rig.run(&first.frame()).frame);
            assert!(out.source_port >= 1024);
            assert!(web.masquerade.contains(&out.ip.source), "{out:?}");
            assert!(
                sources.insert((out.ip.source, out.source_port)),
                "{way:?}: {out:?} has another's port"
            );
            let way = Way {
                masquerade_port: out.source_port,
                ..way
            };
            let translated = |packet| Packet {
                ip: Header {
                    source: out.ip.source,
                    ..way.there(packet).ip
                },
                ..way.there(packet)
            };
            assert_eq!(out, translated(first));
            let next = from(way.established(), client).port(first.source_port);
            rig.check_one(
                LOOPBACK,
                "established",
                &next,
                &Transmitted(translated(next)),
            );
        }
        let used: HashSet<_> = sources.iter().map(|(address, _)| *address).collect();
        assert_eq!(used.len(), 2, "{way:?}: one address is idle");
    }
}

fn other_pool(way: &Way) -> Ip {
    if way.is_ipv6 {
        v6([0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 0x201])
    } else {
        v4(203, 0, 113, 201)
    }
}

fn client(way: &Way, number: u16) -> Ip {
    if way.is_ipv6 {
        v6([0x2001, 0xdb8, 0xc, 0, 0, 0, 1, number])
    } else {
        v4(198, 51, 100, 100 + number as u8)
    }
}

fn from(packet: Packet, source: Ip) -> Packet {
    Packet {
        ip: Header {
            source,
            ..packet.ip
        },
        ..packet
    }
}

/// The real asks its own service: the answer passes by the director, because
/// the real sees the pool's address. On one arm, towards the reals.
#[test]
fn hairpins() {
    if !privilege::bpf() {
        return;
    }
    with_wires(|namespace, wires| {
        let mut rig = Rig::shared();
        for way in ways() {
            let mac = mac_of(way.real())
                .map(|octet| format!("{octet:02x}"))
                .join(":");
            namespace
                .ip(&format!(
                    "neighbour replace {} lladdr {mac} nud permanent dev inside\n",
                    way.real()
                ))
                .unwrap();
            rig.clear();
            rig.serve(&way.service());
            rig.resolve(way.real(), wires.inside, 1500);
            let packet = Packet {
                from_mac: mac_of(way.real()),
                ..from(way.first(), way.real())
            };
            let out = rig.run_at(wires.inside, &packet.frame());
            assert_eq!(out.verdict, Verdict::Tx);
            let out = judge::packet(&out.frame);
            let way = Way {
                masquerade_port: out.source_port,
                ..way
            };
            assert_eq!(out, way.there(packet), "{way:?}");
            assert_eq!((out.to_mac, out.from_mac), (mac_of(way.real()), EGRESS_MAC));
            let mut answer = way.reply(way.first());
            if way.protocol == Protocol::Tcp {
                answer = answer.with(SYN | ACK);
            }
            let out = rig.run_at(wires.inside, &answer.frame());
            assert_eq!(out.verdict, Verdict::Tx, "{way:?}");
            let out = judge::packet(&out.frame);
            let ends = (out.ip.source, out.source_port, out.ip.destination);
            assert_eq!(ends, (way.vip(), PORT, way.real()), "{way:?}");
            assert_eq!(out.destination_port, packet.source_port, "{way:?}");
            assert_eq!(out.to_mac, mac_of(way.real()));
        }
    });
}

/// A way from the wire to the wire: by `inside` and out by `outside`.
#[test]
fn answers_by_another_interface() {
    if !privilege::bpf() {
        return;
    }
    with_wires(|_, wires| {
        let mut rig = Rig::shared();
        for mut way in ways() {
            rig.clear();
            rig.serve(&way.service());
            way.connect(&mut rig);
            let answer = way.first_reply();
            let expect = Redirected(way.back(answer));
            rig.check_one(wires.inside, &format!("{way:?}"), &answer, &expect);
        }
    });
}

/// 64,512 ports are all that one address has towards one real's port: when
/// they are taken a new connection is refused, and none is given away twice.
#[test]
fn ports_run_out() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::with_sizes(Sizes {
        connections: 300_000,
        ..SIZES
    });
    let way = Way::new(Method::Masquerade, false, Protocol::Udp);
    rig.serve(&way.service());
    let mut taken = HashSet::new();
    let mut refused = 0_u64;
    for number in 0..140_000_u32 {
        let source = v4(198, 51, 100, (number / 60_000) as u8 + 10);
        let port = (number % 60_000) as u16 + 1;
        let packet = from(way.first(), source).port(port);
        let out = rig.run(&packet.frame());
        match out.verdict {
            Verdict::Tx => {
                let port = u16::from_be_bytes([out.frame[34], out.frame[35]]);
                assert!(port >= 1024, "port {port}");
                assert!(taken.insert(port), "port {port} is given away twice");
            }
            Verdict::Drop => refused += 1,
            verdict => panic!("{verdict:?}"),
        }
        if refused > 1000 {
            break;
        }
    }
    assert_eq!(rig.drops("masquerade_ports_exhausted"), refused);
    assert!(refused > 1000, "{refused} refused, {} taken", taken.len());
    // Sixteen random tries fail once in a thousand at two thirds.
    assert!(taken.len() > 40_000, "{} taken", taken.len());
}
