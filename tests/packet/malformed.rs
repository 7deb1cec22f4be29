//! Packets that no correct sender sends, in both families and with tags: to the
//! kernel, as they came, and no connection comes of them.

use lb_daemon::config::model::Protocol;
use lb_tests::privilege;

use crate::{
    kernel::Verdict,
    packet::{Header, Ip, Packet, pattern},
    rig::{LOOPBACK, Rig},
    row::Expect::Passed,
    ways::{GRE, GUE, IPIP, Method, Way, tun},
    world::{v4, v6},
};

const ETHERNET: usize = 14;

fn ways() -> Vec<Way> {
    let mut ways = Vec::new();
    for method in [
        Method::Dr,
        Method::Nat,
        tun(IPIP, false),
        tun(GUE, true),
        tun(GRE, false),
    ] {
        for is_ipv6 in [false, true] {
            for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
                ways.push(Way::new(method, is_ipv6, protocol));
            }
        }
    }
    ways
}

/// Runs a test on every way with a connection; it must make no other.
fn on_every_way(test: impl Fn(&mut Rig, &Way)) {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for mut way in ways() {
        rig.clear();
        rig.serve(&way.service());
        way.connect(&mut rig);
        let entries = |rig: &Rig| rig.entries().len() + rig.entries_v6().len();
        let before = entries(&rig);
        assert_ne!(before, 0, "{way:?}");
        test(&mut rig, &way);
        assert_eq!(entries(&rig), before, "{way:?}");
    }
}

/// Of the connection, and of a new one.
fn packets(way: &Way) -> [Packet; 2] {
    [way.established(), way.first().port(7)]
}

#[track_caller]
fn passes(rig: &mut Rig, way: &Way, what: &str, frame: &[u8]) {
    let what = format!("{way:?}: {what}");
    let out = rig.exchange(LOOPBACK, &what, frame, Verdict::Pass, None);
    assert_eq!(out, frame, "{what}");
}

/// Every prefix, long enough for an Ethernet header.
#[test]
fn truncated() {
    on_every_way(|rig, way| {
        for packet in packets(way) {
            for packet in [packet, packet.tagged(5), packet.tagged_twice(5, 6)] {
                let frame = packet.frame();
                for length in ETHERNET..frame.len() {
                    passes(rig, way, "truncated", &frame[..length]);
                }
            }
        }
    });
}

/// As long as its IP header says and no longer, but that is too short for the
/// transport header.
#[test]
fn datagrams_that_end_early() {
    on_every_way(|rig, way| {
        let least = match way.protocol {
            Protocol::Tcp => 20,
            Protocol::Udp => 8,
            Protocol::Sctp => 16,
        };
        let header = if way.is_ipv6 { 40 } else { 20 };
        for packet in packets(way) {
            let datagram = packet.datagram(&pattern(packet.payload));
            for length in 0..least {
                let mut frame = packet.frame();
                frame.truncate(ETHERNET + header + length);
                assert!(datagram.len() > header + length);
                set_length(&mut frame, header + length);
                passes(rig, way, "an early end", &frame);
                // The frame may be longer all the same.
                frame.resize(64.max(frame.len()), 0);
                passes(rig, way, "an early end, padded", &frame);
            }
        }
    });
}

/// Writes the datagram's length; in IPv4 the checksum, too.
fn set_length(frame: &mut [u8], length: usize) {
    if frame[ETHERNET] >> 4 == 6 {
        let length = u16::try_from(length - 40).unwrap().to_be_bytes();
        frame[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&length);
        return;
    }
    let length = u16::try_from(length).unwrap().to_be_bytes();
    frame[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&length);
    sum_ipv4(frame);
}

fn sum_ipv4(frame: &mut [u8]) {
    let header = &mut frame[ETHERNET..ETHERNET + 20];
    header[10..12].fill(0);
    let sum = crate::sums::internet(header).to_be_bytes();
    header[10..12].copy_from_slice(&sum);
}

#[test]
fn lengths_beyond_the_frame() {
    on_every_way(|rig, way| {
        for packet in packets(way) {
            let length = packet.length();
            for wrong in [length + 1, length + 8, 0xffff] {
                let mut frame = packet.frame();
                set_length(&mut frame, wrong);
                passes(rig, way, "longer than the frame", &frame);
            }
        }
    });
}

#[test]
fn transport_headers() {
    on_every_way(|rig, way| {
        let transport = ETHERNET + if way.is_ipv6 { 40 } else { 20 };
        let cases: &[(&str, usize, &[u8])] = match way.protocol {
            Protocol::Tcp => &[
                ("data offset 0", 12, &[0x00]),
                ("data offset 4", 12, &[0x40]),
                ("options beyond the end", 12, &[0xf0]),
            ],
            Protocol::Udp => &[
                ("length 0", 4, &[0, 0]),
                ("length 7", 4, &[0, 7]),
                ("length beyond the end", 4, &[0, 41]),
                ("the largest length", 4, &[0xff, 0xff]),
            ],
            // What is in a chunk is the real's to judge.
            Protocol::Sctp => &[],
        };
        for (what, at, bytes) in cases {
            for packet in packets(way) {
                let mut frame = packet.frame();
                let at = transport + at;
                frame[at..at + bytes.len()].copy_from_slice(bytes);
                passes(rig, way, what, &frame);
            }
        }
    });
}

#[test]
fn ip_headers() {
    on_every_way(|rig, way| {
        for packet in packets(way) {
            let with = |at: usize, byte: u8| {
                let mut frame = packet.frame();
                frame[at] = byte;
                frame
            };
            if way.is_ipv6 {
                passes(rig, way, "version 4", &with(ETHERNET, 0x45));
                passes(rig, way, "version 7", &with(ETHERNET, 0x70));
                continue;
            }
            let mut other_version = with(ETHERNET, 0x65);
            sum_ipv4(&mut other_version);
            passes(rig, way, "version 6", &other_version);
            for bit in 0..16 {
                let at = ETHERNET + 10 + bit / 8;
                let wrong = packet.frame()[at] ^ 1 << (bit % 8);
                passes(rig, way, "a wrong checksum", &with(at, wrong));
            }
            for octet in [0, 1, 4, 8, 9, 12, 15, 16, 19] {
                let at = ETHERNET + octet;
                let wrong = packet.frame()[at] ^ 0x10;
                passes(rig, way, "not what was summed", &with(at, wrong));
            }
            let options = packet.options(4);
            let at = ETHERNET + 20 + 7;
            let mut frame = options.frame();
            frame[at] = 0;
            passes(rig, way, "an option not as it was summed", &frame);
        }
    });
}

#[test]
fn frames_to_groups() {
    on_every_way(|rig, way| {
        for packet in packets(way) {
            for to_mac in [[0xff; 6], [1, 0, 0x5e, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1]] {
                let packet = Packet { to_mac, ..packet };
                rig.check_one(LOOPBACK, "to a group", &packet, &Passed);
                let packet = packet.tagged(3);
                rig.check_one(LOOPBACK, "to a group, tagged", &packet, &Passed);
            }
        }
    });
}

#[test]
fn sources_that_are_not_unicast() {
    const V4: [Ip; 8] = [
        v4(0, 0, 0, 0),
        v4(0, 1, 2, 3),
        v4(127, 0, 0, 1),
        v4(127, 255, 255, 254),
        v4(224, 0, 0, 1),
        v4(239, 255, 255, 255),
        v4(240, 0, 0, 1),
        v4(255, 255, 255, 255),
    ];
    const V6: [Ip; 4] = [
        v6([0; 8]),
        v6([0, 0, 0, 0, 0, 0, 0, 1]),
        v6([0xff02, 0, 0, 0, 0, 0, 0, 1]),
        v6([0xff0e, 0, 0, 0, 0, 0, 0, 1]),
    ];
    on_every_way(|rig, way| {
        for source in if way.is_ipv6 { &V6[..] } else { &V4 } {
            let packet = Packet {
                ip: Header {
                    source: *source,
                    ..way.first().ip
                },
                ..way.first()
            };
            let what = format!("{way:?}: from {source}");
            rig.check_one(LOOPBACK, &what, &packet, &Passed);
        }
    });
}

/// A datagram of one family under the EtherType of the other.
#[test]
fn another_ether_type() {
    on_every_way(|rig, way| {
        for packet in packets(way) {
            let mut frame = packet.frame();
            let other = if way.is_ipv6 {
                [0x08, 0x00]
            } else {
                [0x86, 0xdd]
            };
            frame[12..14].copy_from_slice(&other);
            passes(rig, way, "the other family's EtherType", &frame);
            let mut frame = packet.tagged(3).frame();
            frame[16..18].copy_from_slice(&[0x81, 0x00]);
            passes(rig, way, "a tag without a type", &frame);
        }
    });
}
