//! Routers on the way to a real that find a tunnel's packets too big: the next
//! hop's MTU falls, and the clients hear of it with their next long packet.

use std::net::IpAddr;

use lb_common::{
    abi::event_kind,
    limits::{MIN_PATH_MTU_V4, MIN_PATH_MTU_V6},
};
use lb_daemon::config::model::Protocol;
use lb_tests::privilege;

use crate::{
    judge::Message,
    kernel::Verdict,
    nat_replies::next_event,
    packet::{Packet, Transport},
    quotations::quoting,
    rig::{LOOPBACK, Rig},
    row::{
        Expect::{Answered, Transmitted},
        fragmentation_needed,
    },
    ways::{GRE, GUE, IPIP, Method, Way, summed, tun},
    world::{OTHER_REAL, OTHER_REAL_V6},
};

const ETHERNET: usize = 14;
/// What the way to the real has before anybody complains.
const MTU: u16 = 1500;

/// "Fragmentation needed" or "packet too big" about a packet that we sent.
fn too_big(way: &Way, sent: &Packet, mtu: u16, bytes: usize) -> Message {
    let outer = sent.outer.expect("a tunnel's packet");
    let mut quote = sent.frame()[ETHERNET..].to_vec();
    quote.truncate(bytes);
    let kind = if way.real().is_ipv6() {
        (2, 0, u32::from(mtu))
    } else {
        (3, 4, u32::from(mtu))
    };
    quoting(quote, kind, outer.ip.source)
}

/// Gives the message to the data plane, which passes it to the kernel.
#[track_caller]
fn tell(rig: &mut Rig, what: &str, message: &Message) {
    let frame = message.frame();
    let out = rig.exchange(LOOPBACK, what, &frame, Verdict::Pass, None);
    assert_eq!(out, frame, "{what}");
}

/// The next hop's MTU is this, by what fits and what does not.
#[track_caller]
fn check_mtu(rig: &mut Rig, way: &Way, what: &str, mtu: u16) {
    let fits = way.fits(mtu);
    let packet = way.established().filling(usize::from(fits));
    let what = format!("{way:?}: {what}");
    let expect = Transmitted(way.there(packet));
    rig.check_one(LOOPBACK, &format!("{what}: fits"), &packet, &expect);
    let packet = way.established().filling(usize::from(fits) + 1);
    let expect = Answered(fragmentation_needed(fits));
    rig.check_one(LOOPBACK, &format!("{what}: too long"), &packet, &expect);
}

fn ways() -> Vec<Way> {
    let mut ways = Vec::new();
    for tunnel in [IPIP, GUE, summed(GUE), GRE, summed(GRE)] {
        for (outer_is_ipv6, is_ipv6) in [(false, false), (false, true), (true, false), (true, true)]
        {
            for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
                ways.push(Way::new(tun(tunnel, outer_is_ipv6), is_ipv6, protocol));
            }
        }
    }
    ways
}

fn on_every_way(test: impl Fn(&mut Rig, &Way)) {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for mut way in ways() {
        rig.clear();
        rig.serve(&way.service());
        way.connect(&mut rig);
        while next_event(&mut rig).is_some() {}
        test(&mut rig, &way);
    }
}

#[test]
fn it_falls() {
    on_every_way(|rig, way| {
        check_mtu(rig, way, "before", MTU);
        let sent = way.there(way.established().filling(usize::from(way.fits(MTU))));
        tell(rig, "too big", &too_big(way, &sent, 1440, 548));
        check_mtu(rig, way, "after", 1440);
        let event = next_event(rig).expect("the daemon was not told");
        assert_eq!(event.kind, event_kind::PATH_MTU);
        assert_eq!(
            rig.reconciler.image().hop_address(event.index),
            Some(way.real())
        );
        let sent = way.there(way.established().filling(usize::from(way.fits(1440))));
        let message = too_big(way, &sent, 1380, 200);
        let tagged = Message {
            packet: message.packet.tagged(9),
            ..message
        };
        tell(rig, "too big once more, tagged", &tagged);
        check_mtu(rig, way, "after that", 1380);
        if way.real().is_ipv6() {
            return;
        }
        // RFC 4884: the second byte says how many words are quoted before
        // extensions.
        let sent = way.there(way.established().filling(usize::from(way.fits(1380))));
        let mut message = too_big(way, &sent, 1360, 128);
        message.packet.transport = Transport::Icmp {
            kind: 3,
            code: 4,
            word: 32 << 16 | 1360,
        };
        tell(rig, "too big, with the quotation's length", &message);
        check_mtu(rig, way, "in the end", 1360);
    });
}

#[test]
fn it_does_not_rise_and_has_a_floor() {
    on_every_way(|rig, way| {
        let sent = way.there(way.established().filling(usize::from(way.fits(MTU))));
        tell(rig, "smaller", &too_big(way, &sent, 1400, 548));
        check_mtu(rig, way, "smaller", 1400);
        tell(rig, "larger again", &too_big(way, &sent, 1450, 548));
        check_mtu(rig, way, "as it was", 1400);
        tell(rig, "tiny", &too_big(way, &sent, 68, 548));
        let floor = if way.real().is_ipv6() {
            MIN_PATH_MTU_V6
        } else {
            MIN_PATH_MTU_V4
        };
        check_mtu(rig, way, "the family's least", floor);
    });
}

/// Only what we really sent counts.
#[test]
fn strangers_are_not_believed() {
    on_every_way(|rig, way| {
        let sent = way.there(way.established().filling(usize::from(way.fits(MTU))));
        let short = way.there(way.established().payload(600));
        let other_tunnel = match way.method {
            Method::Tun { tunnel, .. } if tunnel.kind != GRE.kind => GRE,
            _ => IPIP,
        };
        let otherwise = Way {
            method: tun(other_tunnel, way.real().is_ipv6()),
            ..*way
        };
        let outer = sent.outer.expect("a tunnel's packet");
        let with = |source: IpAddr, destination: IpAddr| {
            let mut packet = sent;
            let mut changed = outer;
            (changed.ip.source, changed.ip.destination) = (source, destination);
            packet.outer = Some(changed);
            packet
        };
        let elsewhere = if way.real().is_ipv6() {
            OTHER_REAL_V6
        } else {
            OTHER_REAL
        };
        let local = outer.ip.source;
        let cut = if way.real().is_ipv6() { 48 } else { 28 };
        let mut to_another = too_big(way, &sent, 1300, 548);
        to_another.packet.ip.destination = elsewhere;
        for (what, message) in [
            (
                "not from us",
                too_big(way, &with(elsewhere, way.real()), 1300, 548),
            ),
            (
                "not to a real",
                too_big(way, &with(local, elsewhere), 1300, 548),
            ),
            ("of no connection", too_big(way, &sent.port(9), 1300, 548)),
            (
                "nothing of the inner packet",
                too_big(way, &sent, 1300, cut),
            ),
            (
                "of another tunnel",
                too_big(
                    way,
                    &otherwise.there(way.established().payload(1380)),
                    1300,
                    548,
                ),
            ),
            ("of what fits", too_big(way, &short, 1300, 548)),
            ("to another host", to_another),
        ] {
            tell(rig, what, &message);
            check_mtu(rig, way, what, MTU);
        }
        assert!(
            next_event(rig).is_none_or(|event| event.kind != event_kind::PATH_MTU),
            "{way:?}"
        );
    });
}
