//! What the counters say of packets that were rewritten: IP bytes, as IPVS
//! counts them, whatever is in front of or behind the datagram.

use lb_common::stats::RealStats;
use lb_daemon::config::model::{
    ForwardingMethod::{Dr, Nat, Tun},
    Scheduler::Rr,
};
use lb_tests::privilege;

use crate::{
    nat_replies::reply,
    packet::{ACK, Packet, SYN},
    rig::{Rig, service},
    wires::with_wires,
    world::{PORT, REAL, TCP_SYN},
};

#[test]
fn packets_and_bytes_are_counted() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for method in [Dr, Tun, Nat] {
        let web = service("tcp:192.0.2.10:80", Rr, method, PORT, &[(REAL, 1)]);
        rig.clear();
        rig.serve(&web);
        rig.run(
            &Packet {
                padding: 6,
                ..TCP_SYN
            }
            .frame(),
        );
        rig.run(
            &Packet {
                payload: 100,
                ..TCP_SYN.with(ACK)
            }
            .frame(),
        );
        rig.run(&TCP_SYN.port(2).frame());
        let expected = RealStats {
            connections: 2,
            in_packets: 3,
            in_bytes: 40 + 140 + 40,
            ..RealStats::default()
        };
        let slot = rig.slot(&web, REAL);
        assert_eq!(
            rig.reconciler.tables().real_stats(slot).unwrap(),
            expected,
            "{}",
            method.name()
        );
    }
}

#[test]
fn nat_replies_are_counted_apart() {
    if !privilege::bpf() {
        return;
    }
    with_wires(|_, wires| {
        let web = service(
            "tcp:192.0.2.10:80",
            Rr,
            Nat,
            crate::world::REAL_PORT,
            &[(REAL, 1)],
        );
        let mut rig = Rig::shared();
        rig.serve(&web);
        rig.run_at(wires.outside, &TCP_SYN.frame());
        rig.run_at(wires.inside, &reply(TCP_SYN.with(SYN | ACK)).frame());
        rig.run_at(
            wires.inside,
            &Packet {
                payload: 60,
                ..reply(TCP_SYN.with(ACK))
            }
            .frame(),
        );
        let expected = RealStats {
            connections: 1,
            in_packets: 1,
            in_bytes: 40,
            out_packets: 2,
            out_bytes: 140,
        };
        let slot = rig.slot(&web, REAL);
        assert_eq!(rig.reconciler.tables().real_stats(slot).unwrap(), expected);
    });
}
