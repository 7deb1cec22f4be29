//! The director as its own real: packets go up to its stack as they came, and
//! connections are kept and counted all the same.

use lb_common::stats::RealStats;
use lb_daemon::config::model::{ForwardingMethod, Protocol, RealId, Weight};
use lb_tests::privilege;

use crate::{
    packet::Packet,
    rig::{LOOPBACK, Rig},
    row::Expect::{Passed, Transmitted},
    ways::{Method, Way},
    world::mac_of,
};

fn ways() -> Vec<Way> {
    let of = |is_ipv6| {
        [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
            .map(|protocol| Way::new(Method::Local, is_ipv6, protocol))
    };
    [of(false), of(true)].concat()
}

#[test]
fn connections_are_counted() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for way in ways() {
        let web = way.service();
        rig.clear();
        rig.serve(&web);
        let mut bytes = 0;
        for (what, packet) in [
            ("a new connection", way.first()),
            ("established", way.established()),
            ("TTL 1", way.established().ttl(1)),
            ("longer than the hop's MTU", way.established().payload(3000)),
            ("another connection", way.first().port(2)),
        ] {
            rig.check_one(LOOPBACK, &format!("{way:?}: {what}"), &packet, &Passed);
            bytes += packet.length() as u64;
        }
        let (active, inactive) = rig.counts(&web, way.real());
        assert_eq!(active + inactive, 2, "{way:?}");
        let expected = RealStats {
            connections: 2,
            in_packets: 5,
            in_bytes: bytes,
            ..RealStats::default()
        };
        let slot = rig.slot(&web, way.real());
        assert_eq!(
            rig.reconciler.tables().real_stats(slot).unwrap(),
            expected,
            "{way:?}"
        );
    }
}

/// Next to another real: half of the connections stay here.
#[test]
fn among_other_reals() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for way in ways() {
        let other = Way {
            method: Method::Dr,
            ..way
        };
        let mut web = way.service();
        let mut real = web.reals[0].clone();
        real.id = RealId {
            address: other.real(),
            ..real.id
        };
        real.forward = ForwardingMethod::Dr;
        real.weight = Weight::ONE;
        web.reals.push(real);
        rig.clear();
        rig.serve(&web);
        let mut passed = 0;
        for port in 1..=10 {
            let packet: Packet = way.first().port(port);
            let out = rig.run(&packet.frame());
            if out.frame == packet.frame() {
                passed += 1;
                rig.check_one(LOOPBACK, "it stays", &packet, &Passed);
            } else {
                let expected = other.there(packet);
                assert_eq!(expected.to_mac, mac_of(other.real()));
                rig.check_one(LOOPBACK, "it stays there", &packet, &Transmitted(expected));
            }
        }
        assert_eq!(passed, 5, "{way:?}");
    }
}
