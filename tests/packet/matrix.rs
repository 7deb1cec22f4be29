//! Every way with every shape of packet: what a table of literals would say
//! three thousand times.

use lb_daemon::config::model::Protocol;
use lb_tests::privilege;

use crate::{
    packet::Packet,
    rig::{LOOPBACK, Rig},
    row::{
        Expect::{self, Answered, Dropped, Passed, Transmitted},
        TIME_EXCEEDED, fragmentation_needed,
    },
    shapes::{self, Fate, Shape},
    ways::{GRE, GUE, IPIP, Method, Way, summed, tun},
    wires::with_wires,
};

const V4: bool = false;
const V6: bool = true;

/// The MTU that a rig's next hops have.
const MTU: u16 = 1500;
/// The MTU towards the clients.
const CLIENTS_MTU: u16 = 1400;

/// To the real: each shape in an established connection, and as the first
/// packet of one.
#[track_caller]
fn there(methods: &[(Method, bool)]) {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for (method, is_ipv6) in methods {
        check_there(&mut rig, *method, *is_ipv6);
    }
}

fn check_there(rig: &mut Rig, method: Method, is_ipv6: bool) {
    for protocol in protocols(method) {
        let mut way = Way::new(method, is_ipv6, protocol);
        rig.clear();
        rig.serve(&way.service());
        way.connect(rig);
        for shape in shapes::all(way.established(), way.fits(MTU)) {
            let expect = expect(&way, &shape, way.fits(MTU), |packet| way.there(packet));
            let what = format!("{way:?}: {}", shape.what);
            rig.check_one(LOOPBACK, &what, &shape.packet, &expect);
        }
        // The source that masquerade gives a new connection is its own choice.
        if method == Method::Masquerade {
            continue;
        }
        rig.clear();
        rig.serve(&way.service());
        for (port, shape) in (1000..).zip(shapes::all(way.first(), way.fits(MTU))) {
            let shape = Shape {
                packet: shape.packet.port(port),
                ..shape
            };
            let expect = expect(&way, &shape, way.fits(MTU), |packet| way.there(packet));
            let what = format!("{way:?}, a new connection: {}", shape.what);
            rig.check_one(LOOPBACK, &what, &shape.packet, &expect);
        }
    }
}

/// From the real, on one arm: what goes back by the interface that it came by
/// keeps its tags.
#[track_caller]
fn back(method: Method, is_ipv6: bool) {
    if !privilege::bpf() {
        return;
    }
    with_wires(|_, wires| {
        let mut rig = Rig::shared();
        for protocol in protocols(method) {
            let mut way = Way::new(method, is_ipv6, protocol);
            rig.clear();
            rig.serve(&way.service());
            way.connect(&mut rig);
            let first = way.first_reply();
            let expect_first = Transmitted(way.back(first));
            rig.check_one(wires.outside, "the first answer", &first, &expect_first);
            for shape in shapes::all(way.reply(way.established()), CLIENTS_MTU) {
                let expect = expect(&way, &shape, CLIENTS_MTU, |packet| way.back(packet));
                let what = format!("back, {way:?}: {}", shape.what);
                rig.check_one(wires.outside, &what, &shape.packet, &expect);
            }
        }
    });
}

fn protocols(method: Method) -> Vec<Protocol> {
    let all = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    let is_possible = |protocol| protocol != Protocol::Sctp || method != Method::Masquerade;
    all.into_iter().filter(|it| is_possible(*it)).collect()
}

fn expect(way: &Way, shape: &Shape, fits: u16, out: impl Fn(Packet) -> Packet) -> Expect {
    match shape.fate {
        Fate::IsDropped(reason @ "fragment_without_first") => Dropped(reason),
        _ if way.method == Method::Local => Passed,
        Fate::Goes => Transmitted(out(shape.packet)),
        Fate::Expires => Answered(TIME_EXCEEDED),
        Fate::IsTooLong => Answered(fragmentation_needed(fits)),
        Fate::IsDropped(reason) => Dropped(reason),
    }
}

#[test]
fn dr_v4() {
    there(&[(Method::Dr, V4)]);
}

#[test]
fn dr_v6() {
    there(&[(Method::Dr, V6)]);
}

#[test]
fn nat_v4() {
    there(&[(Method::Nat, V4)]);
}

#[test]
fn nat_v6() {
    there(&[(Method::Nat, V6)]);
}

#[test]
fn nat_back_v4() {
    back(Method::Nat, V4);
}

#[test]
fn nat_back_v6() {
    back(Method::Nat, V6);
}

#[test]
fn masquerade_v4() {
    there(&[(Method::Masquerade, V4)]);
}

#[test]
fn masquerade_v6() {
    there(&[(Method::Masquerade, V6)]);
}

#[test]
fn masquerade_back_v4() {
    back(Method::Masquerade, V4);
}

#[test]
fn masquerade_back_v6() {
    back(Method::Masquerade, V6);
}

#[test]
fn local_v4() {
    there(&[(Method::Local, V4)]);
}

#[test]
fn local_v6() {
    there(&[(Method::Local, V6)]);
}

#[test]
fn ipip_4_in_4() {
    there(&[(tun(IPIP, V4), V4)]);
}

#[test]
fn ipip_6_in_4() {
    there(&[(tun(IPIP, V4), V6)]);
}

#[test]
fn ipip_4_in_6() {
    there(&[(tun(IPIP, V6), V4)]);
}

#[test]
fn ipip_6_in_6() {
    there(&[(tun(IPIP, V6), V6)]);
}

#[test]
fn gue_in_v4() {
    there(&[(tun(GUE, V4), V4), (tun(GUE, V4), V6)]);
}

#[test]
fn gue_in_v6() {
    there(&[(tun(GUE, V6), V4), (tun(GUE, V6), V6)]);
}

#[test]
fn gue_with_checksum_in_v4() {
    there(&[(tun(summed(GUE), V4), V4), (tun(summed(GUE), V4), V6)]);
}

#[test]
fn gue_with_checksum_in_v6() {
    there(&[(tun(summed(GUE), V6), V4), (tun(summed(GUE), V6), V6)]);
}

#[test]
fn gre_in_v4() {
    there(&[(tun(GRE, V4), V4), (tun(GRE, V4), V6)]);
}

#[test]
fn gre_in_v6() {
    there(&[(tun(GRE, V6), V4), (tun(GRE, V6), V6)]);
}

#[test]
fn gre_with_checksum_in_v4() {
    there(&[(tun(summed(GRE), V4), V4), (tun(summed(GRE), V4), V6)]);
}

#[test]
fn gre_with_checksum_in_v6() {
    there(&[(tun(summed(GRE), V6), V4), (tun(summed(GRE), V6), V6)]);
}
