//! What spreads the load over a real's receive queues: GUE's source port and,
//! where configured, the outer source address, both by flow.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use lb_common::{
    abi::settings_flag,
    addr::{Addr, Be32},
};
use lb_daemon::config::model::{Protocol, Tunnel};
use lb_tests::privilege;

use crate::{
    judge, layers,
    packet::{Encapsulation, Outer, Packet},
    rig::Rig,
    ways::{GRE, GUE, IPIP, Way, summed, tun},
    world::{CLIENT_PORT, LOCAL, LOCAL_V6},
};

const FLOWS: u16 = 200;

fn ways(tunnels: &[Tunnel]) -> Vec<Way> {
    let mut ways = Vec::new();
    for tunnel in tunnels {
        for (outer_is_ipv6, is_ipv6) in [(false, false), (false, true), (true, false), (true, true)]
        {
            for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
                ways.push(Way::new(tun(*tunnel, outer_is_ipv6), is_ipv6, protocol));
            }
        }
    }
    ways
}

/// The outer headers of a flow's packets, which must differ in nothing but the
/// source address from what the way says; and GUE's source port.
#[track_caller]
fn sent(rig: &mut Rig, way: &Way, packet: Packet) -> (Outer, u16) {
    let frame = rig.run(&packet.frame()).frame;
    let out = judge::packet(&frame);
    let outer = out.outer.expect("a tunnel's packet");
    let mut expected = way.there(packet);
    let mut expected_outer = expected.outer.expect("likewise");
    expected_outer.ip.source = outer.ip.source;
    expected.outer = Some(expected_outer);
    assert_eq!(out, expected, "{way:?}");
    let port = match outer.encapsulation {
        Encapsulation::Gue { .. } => layers::outer_source_port(&frame),
        _ => 0,
    };
    (outer, port)
}

#[test]
fn gue_source_ports() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for way in ways(&[GUE, summed(GUE)]) {
        rig.clear();
        rig.serve(&way.service());
        let mut ports = HashSet::new();
        for flow in 1..=FLOWS {
            let first = sent(&mut rig, &way, way.first().port(flow));
            let second = sent(&mut rig, &way, way.established().port(flow).payload(99));
            assert_eq!(first, second, "{way:?}: one flow, two ports");
            ports.insert(first.1);
        }
        // Of 16384: with two hundred flows two or so meet by chance.
        assert!(ports.len() > 180, "{way:?}: {} ports", ports.len());
    }
}

#[test]
fn outer_sources() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for way in ways(&[IPIP, GUE, summed(GUE), GRE, summed(GRE)]) {
        rig.clear();
        rig.serve(&way.service());
        // A connection from before keeps what it has.
        let old = sent(&mut rig, &way, way.first()).0.ip.source;
        let local = if way.real().is_ipv6() {
            LOCAL_V6
        } else {
            LOCAL
        };
        assert_eq!(old, local, "{way:?}");
        let prefix_v4 = Ipv4Addr::new(100, 64, 0, 0);
        let prefix_v6 = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0xabcd, 0, 0, 0, 0);
        rig.change_settings(|settings| {
            settings.flags |= settings_flag::TUNNEL_SOURCES_V4 | settings_flag::TUNNEL_SOURCES_V6;
            settings.tunnel_source_v4 = Be32::new(prefix_v4.to_bits());
            settings.tunnel_prefix_v4 = 20;
            settings.tunnel_source_v6 = Addr::from(IpAddr::V6(prefix_v6));
            settings.tunnel_prefix_v6 = 64;
        });
        let mut sources = HashSet::new();
        for flow in 1..=FLOWS {
            assert_ne!(flow, CLIENT_PORT);
            let (first, _) = sent(&mut rig, &way, way.first().port(flow));
            let (second, _) = sent(&mut rig, &way, way.established().port(flow));
            assert_eq!(first, second, "{way:?}: one flow, two sources");
            let is_in_prefix = match first.ip.source {
                IpAddr::V4(source) => source.to_bits() >> 12 == prefix_v4.to_bits() >> 12,
                IpAddr::V6(source) => source.to_bits() >> 64 == prefix_v6.to_bits() >> 64,
            };
            assert!(is_in_prefix, "{way:?}: {}", first.ip.source);
            sources.insert(first.ip.source);
        }
        // Of 4096 in IPv4.
        assert!(sources.len() > 180, "{way:?}: {} sources", sources.len());
    }
}
