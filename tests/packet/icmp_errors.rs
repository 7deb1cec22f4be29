//! ICMP and ICMPv6 errors about packets of connections: they go where a packet
//! of the connection goes, whichever end's packet they are about.

use lb_daemon::config::model::Protocol;
use lb_tests::privilege;

use crate::{
    extension::Extension::HopByHop,
    judge::{self, Message},
    kernel::Verdict,
    packet::Packet,
    quotations::{Kind, about, answer},
    rig::{LOOPBACK, Rig},
    ways::{GRE, GUE, IPIP, Method, Way, summed, tun},
    wires::with_wires,
};

/// Those that speak of a connection (RFC 792, RFC 4443).
const ERRORS: [&[Kind]; 2] = [
    &[(3, 1, 0), (3, 4, 1300), (3, 13, 0), (4, 0, 0), (11, 0, 0)],
    &[(1, 0, 0), (2, 0, 1280), (3, 0, 0), (4, 1, 40), (127, 0, 0)],
];
/// Those that do not, whatever they quote.
const OTHERS: [&[Kind]; 2] = [
    &[(0, 0, 1), (5, 1, 0x0102_0304), (8, 0, 1), (12, 0, 0)],
    &[(0, 0, 0), (128, 0, 1), (129, 0, 1), (137, 0, 0)],
];

/// Least and most of a datagram that an error quotes, and odd numbers between.
fn lengths(quoted: &Packet) -> [usize; 5] {
    if quoted.ip.is_ipv6() {
        [48, 61, 177, 600, 1232]
    } else {
        let header = 20 + quoted.option_words * 4;
        [header + 8, header + 9, 100, 177, 548]
    }
}

/// Whether the quoted packet has a transport with these; SCTP under masquerade
/// cannot be.
fn protocols(method: Method) -> impl Iterator<Item = Protocol> {
    let all = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter();
    all.filter(move |it| *it != Protocol::Sctp || method != Method::Masquerade)
}

/// About packets of the VIP, to the real.
fn there(methods: &[Method]) {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for method in methods {
        for (is_ipv6, protocol) in both_families(*method) {
            let mut way = Way::new(*method, is_ipv6, protocol);
            rig.clear();
            rig.serve(&way.service());
            way.connect(&mut rig);
            errors_there(&mut rig, &way);
        }
    }
}

fn both_families(method: Method) -> Vec<(bool, Protocol)> {
    let of = |is_ipv6| protocols(method).map(move |protocol| (is_ipv6, protocol));
    [false, true].into_iter().flat_map(of).collect()
}

#[track_caller]
fn errors_there(rig: &mut Rig, way: &Way) {
    let check = |rig: &mut Rig, what: &str, message: &Message, quoted: &Packet| {
        let what = format!("{way:?}: {what}");
        if way.method == Method::Local {
            let out = rig.exchange(LOOPBACK, &what, &message.frame(), Verdict::Pass, None);
            assert_eq!(out, message.frame(), "{what}");
            return;
        }
        let out = rig.exchange(LOOPBACK, &what, &message.frame(), Verdict::Tx, None);
        let expected = way.error_there(message, quoted);
        assert_eq!(judge::message(&out), expected, "{what}");
    };
    let quoted = answer(way);
    for kind in ERRORS[usize::from(way.is_ipv6)] {
        for bytes in lengths(&quoted) {
            let what = format!("{kind:?}, {bytes} bytes quoted");
            check(
                rig,
                &what,
                &about(&quoted, *kind, way.vip(), bytes),
                &quoted,
            );
        }
    }
    let kind = ERRORS[usize::from(way.is_ipv6)][0];
    let plain = about(&quoted, kind, way.vip(), 120);
    let carried = |packet| Message {
        packet,
        quote: plain.quote.clone(),
    };
    let dressed = if way.is_ipv6 {
        plain.packet.extended(&[HopByHop(1)])
    } else {
        plain.packet.options(5)
    };
    for (what, packet) in [
        ("tagged", plain.packet.tagged(0x2005)),
        ("tagged twice", plain.packet.tagged_twice(1, 2)),
        ("options or extension headers", dressed),
        (
            "padded",
            Packet {
                padding: 5,
                ..plain.packet
            },
        ),
        ("TTL 2", plain.packet.ttl(2)),
    ] {
        check(rig, what, &carried(packet), &quoted);
    }
    let dressed = if way.is_ipv6 {
        quoted.extended(&[HopByHop(0)])
    } else {
        quoted.options(10)
    };
    let message = about(&dressed, kind, way.vip(), 100);
    check(rig, "the quoted packet has options", &message, &dressed);
    let first = quoted.fragmentable(5).part(0, 400);
    let message = about(&first, kind, way.vip(), 100);
    check(
        rig,
        "the quoted packet is a first fragment",
        &message,
        &first,
    );
    if way.method == Method::Local {
        return;
    }
    // Nothing is ever said about an ICMP error.
    let expired = carried(plain.packet.ttl(1));
    rig.exchange(
        LOOPBACK,
        "TTL 1",
        &expired.frame(),
        Verdict::Drop,
        Some("ttl_exceeded"),
    );
    let long = about(&quoted.payload(1600), kind, way.vip(), 1500);
    rig.exchange(
        LOOPBACK,
        "longer than the MTU",
        &long.frame(),
        Verdict::Drop,
        Some("fragmentation_needed"),
    );
}

#[test]
fn dr() {
    there(&[Method::Dr]);
}

#[test]
fn nat() {
    there(&[Method::Nat]);
}

#[test]
fn masquerade() {
    there(&[Method::Masquerade]);
}

#[test]
fn local() {
    there(&[Method::Local]);
}

#[test]
fn ipip() {
    there(&[tun(IPIP, false), tun(IPIP, true)]);
}

#[test]
fn gue() {
    there(&[
        tun(GUE, false),
        tun(GUE, true),
        tun(summed(GUE), false),
        tun(summed(GUE), true),
    ]);
}

#[test]
fn gre() {
    there(&[
        tun(GRE, false),
        tun(GRE, true),
        tun(summed(GRE), false),
        tun(summed(GRE), true),
    ]);
}

/// About packets to a real under nat, from a router or the real itself: they
/// seem to come from the VIP and speak of it.
fn back(method: Method) {
    if !privilege::bpf() {
        return;
    }
    with_wires(|_, wires| {
        let mut rig = Rig::shared();
        for (is_ipv6, protocol) in both_families(method) {
            let mut way = Way::new(method, is_ipv6, protocol);
            rig.clear();
            rig.serve(&way.service());
            way.connect(&mut rig);
            let quoted = way.there(way.established().payload(1000));
            let to = quoted.ip.source;
            for kind in ERRORS[usize::from(is_ipv6)] {
                for bytes in lengths(&quoted) {
                    let what = format!("{way:?}: {kind:?}, {bytes} bytes quoted");
                    let message = about(&quoted, *kind, to, bytes);
                    let frame = message.frame();
                    let out = rig.exchange(wires.outside, &what, &frame, Verdict::Tx, None);
                    let expected = way.error_back(&message, &quoted);
                    assert_eq!(judge::message(&out), expected, "{what}");
                }
            }
            let mut message = about(&quoted, ERRORS[usize::from(is_ipv6)][0], to, 99);
            message.packet.ip.source = way.real();
            let frame = message.frame();
            let what = format!("{way:?}: the real's own, by another interface");
            let out = rig.exchange(wires.inside, &what, &frame, Verdict::Redirect, None);
            let expected = way.error_back(&message, &quoted);
            assert_eq!(judge::message(&out), expected, "{what}");
        }
    });
}

#[test]
fn nat_back() {
    back(Method::Nat);
}

#[test]
fn masquerade_back() {
    back(Method::Masquerade);
}

/// What is no error about a connection goes to the kernel as it came.
#[test]
fn others_pass() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for method in [Method::Dr, Method::Nat, tun(IPIP, false)] {
        for (is_ipv6, protocol) in both_families(method) {
            let mut way = Way::new(method, is_ipv6, protocol);
            rig.clear();
            rig.serve(&way.service());
            way.connect(&mut rig);
            let quoted = answer(&way);
            let kind = ERRORS[usize::from(is_ipv6)][0];
            let mut messages: Vec<_> = OTHERS[usize::from(is_ipv6)]
                .iter()
                .map(|kind| (format!("{kind:?}"), about(&quoted, *kind, way.vip(), 100)))
                .collect();
            let stranger = Packet {
                destination_port: 9,
                ..quoted
            };
            let header = if is_ipv6 { 40 } else { 20 };
            let mut other_version = about(&quoted, kind, way.vip(), 100);
            other_version.quote[0] ^= 0x20;
            let mut other_protocol = about(&quoted, kind, way.vip(), 100);
            other_protocol.quote[if is_ipv6 { 6 } else { 9 }] = 99;
            messages.extend([
                (
                    "no such connection".to_owned(),
                    about(&stranger, kind, way.vip(), 100),
                ),
                (
                    "no quotation".to_owned(),
                    about(&quoted, kind, way.vip(), 0),
                ),
                (
                    "half a header quoted".to_owned(),
                    about(&quoted, kind, way.vip(), header - 1),
                ),
                (
                    "ports not quoted".to_owned(),
                    about(&quoted, kind, way.vip(), header + 3),
                ),
                ("of the other family".to_owned(), other_version),
                ("of another protocol".to_owned(), other_protocol),
                (
                    "a later fragment quoted".to_owned(),
                    about(&quoted.fragmentable(3).part(400, 800), kind, way.vip(), 100),
                ),
            ]);
            for (what, message) in messages {
                let what = format!("{way:?}: {what}");
                let frame = message.frame();
                let out = rig.exchange(LOOPBACK, &what, &frame, Verdict::Pass, None);
                assert_eq!(out, frame, "{what}");
            }
        }
    }
}
