//! Every checksum that translation can come to: around 0, which UDP sends as
//! all ones (RFC 768), and spread over the rest.

use lb_daemon::config::model::Protocol;
use lb_tests::privilege;

use crate::{
    layers,
    packet::Packet,
    rig::{LOOPBACK, Rig},
    row::Expect::Transmitted,
    ways::{Method, Way},
    wires::with_wires,
};

/// Where the checksum stands in a UDP header.
const SUM: usize = 6;

fn sum(packet: &Packet) -> u16 {
    let frame = packet.frame();
    let (_, layer) = layers::read(&frame);
    u16::from_be_bytes([layer.payload[SUM], layer.payload[SUM + 1]])
}

/// Client ports whose translated packets have sums around 0, and others.
fn ports(translated: impl Fn(u16) -> Packet) -> Vec<u16> {
    let edge = (4..=u16::MAX - 3).find(|port| sum(&translated(*port)) == 0xffff);
    let edge = edge.expect("a port whose translated checksum is 0");
    let others = (1..=u16::MAX).step_by(397);
    (edge - 3..=edge + 3).chain(others).collect()
}

#[test]
fn to_the_real() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for is_ipv6 in [false, true] {
        let way = Way::new(Method::Nat, is_ipv6, Protocol::Udp);
        rig.clear();
        rig.serve(&way.service());
        for port in ports(|port| way.there(way.first().port(port))) {
            let packet = way.first().port(port);
            let expect = Transmitted(way.there(packet));
            rig.check_one(LOOPBACK, &format!("{way:?}: port {port}"), &packet, &expect);
        }
    }
}

#[test]
fn to_the_client() {
    if !privilege::bpf() {
        return;
    }
    with_wires(|_, wires| {
        let mut rig = Rig::shared();
        for is_ipv6 in [false, true] {
            let way = Way::new(Method::Nat, is_ipv6, Protocol::Udp);
            rig.clear();
            rig.serve(&way.service());
            for port in ports(|port| way.back(way.reply(way.first().port(port)))) {
                let packet = way.first().port(port);
                rig.run(&packet.frame());
                let reply = way.reply(packet);
                let what = format!("{way:?}: port {port}");
                rig.check_one(wires.outside, &what, &reply, &Transmitted(way.back(reply)));
            }
        }
    });
}
