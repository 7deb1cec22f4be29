//! IPv6 extension headers that the data plane does not walk over: to the kernel,
//! as they came. Those that it does are in the matrix.

use lb_daemon::config::model::Protocol;
use lb_tests::privilege;

use crate::{
    extension::Extension::{self, Authentication, Destination, Fragment, HopByHop, Routing},
    kernel::Verdict,
    packet::Packet,
    rig::{LOOPBACK, Rig},
    row::Expect::{Passed, Transmitted},
    ways::{IPIP, Method, Way, tun},
};

/// Where IPv6's payload begins in a frame, and "next header" in the fixed one.
const PAYLOAD: usize = 14 + 40;
const NEXT_HEADER: usize = 14 + 6;

fn on_every_way(test: impl Fn(&mut Rig, &Way)) {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for method in [Method::Dr, Method::Nat, tun(IPIP, true)] {
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
            let mut way = Way::new(method, true, protocol);
            rig.clear();
            rig.serve(&way.service());
            way.connect(&mut rig);
            test(&mut rig, &way);
        }
    }
}

/// Of a connection, and of a new one.
fn packets(way: &Way) -> [Packet; 2] {
    [way.established(), way.first().port(7)]
}

#[test]
fn more_than_eight() {
    const HEADERS: [Extension; 10] = [
        HopByHop(0),
        Destination(0),
        Routing(0),
        Authentication,
        Destination(1),
        Destination(0),
        Destination(0),
        Fragment,
        Destination(0),
        Destination(0),
    ];
    on_every_way(|rig, way| {
        for (number, headers) in (0..).zip((1..=10).map(|count| &HEADERS[..count])) {
            let packet = way.first().port(100 + number).extended(headers);
            let what = format!("{way:?}: {} headers", headers.len());
            let expect = if headers.len() <= 8 {
                Transmitted(way.there(packet))
            } else {
                Passed
            };
            rig.check_one(LOOPBACK, &what, &packet, &expect);
        }
    });
}

/// What it is called, the headers, and octets of the frame that are changed.
type Malformed = (&'static str, &'static [Extension], &'static [(usize, u8)]);

/// A frame whose bytes here and there are others.
fn changed(packet: &Packet, changes: &[(usize, u8)]) -> Vec<u8> {
    let mut frame = packet.frame();
    for (at, byte) in changes {
        frame[*at] = *byte;
    }
    frame
}

#[test]
fn malformed() {
    const OPTIONS: &[Extension] = &[HopByHop(0)];
    let cases: [Malformed; 11] = [
        ("no next header", &[], &[(NEXT_HEADER, 59)]),
        ("encrypted", &[], &[(NEXT_HEADER, 50)]),
        ("mobility", &[], &[(NEXT_HEADER, 135)]),
        ("no next header, after another", OPTIONS, &[(PAYLOAD, 59)]),
        (
            "itself next, without end",
            &[],
            &[(NEXT_HEADER, 0), (PAYLOAD, 0)],
        ),
        ("longer than the datagram", OPTIONS, &[(PAYLOAD + 1, 200)]),
        ("the longest", OPTIONS, &[(PAYLOAD + 1, 255)]),
        (
            "a destination still to come",
            &[Routing(2)],
            &[(PAYLOAD + 3, 1)],
        ),
        (
            "an authentication header longer than the datagram",
            &[Authentication],
            &[(PAYLOAD + 1, 255)],
        ),
        (
            "to the datagram's end",
            &[Destination(0)],
            &[(14 + 4, 0), (14 + 5, 8)],
        ),
        (
            "a fragment header and nothing",
            &[Fragment],
            &[(14 + 4, 0), (14 + 5, 8)],
        ),
    ];
    on_every_way(|rig, way| {
        for (what, headers, changes) in cases {
            for packet in packets(way) {
                let frame = changed(&packet.extended(headers), changes);
                let what = format!("{way:?}: {what}");
                let out = rig.exchange(LOOPBACK, &what, &frame, Verdict::Pass, None);
                assert_eq!(out, frame, "{what}");
            }
        }
    });
}
