//! Services by firewall mark: several destinations and ports as one.

use lb_daemon::config::model::{
    ForwardingMethod::{Dr, Nat},
    MarkRule, Persistence, Protocol,
    Scheduler::Rr,
    Service,
};
use lb_tests::privilege;

use crate::{
    judge,
    kernel::Verdict,
    packet::{ACK, Header, Ip, Packet},
    rig::{Rig, service},
    world::{
        DATAGRAM, OTHER_REAL, OTHER_REAL_V6, REAL, REAL_V6, TCP_SYN, TCP_SYN_V6, VIP, VIP_V6,
        mac_of, v4,
    },
};

fn rule(mark: u32, protocol: Protocol, destination: (Ip, u8), ports: &[(u16, u16)]) -> MarkRule {
    MarkRule {
        mark,
        protocol,
        destination,
        ports: ports.to_vec(),
    }
}

fn to(packet: Packet, address: Ip, port: u16) -> Packet {
    Packet {
        ip: Header {
            destination: address,
            ..packet.ip
        },
        destination_port: port,
        ..packet
    }
}

#[test]
fn ports_protocols_and_networks_of_one_mark() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for method in [Dr, Nat] {
        rig.clear();
        let marked = Service {
            persistence: Some(Persistence {
                timeout_s: 300,
                netmask: 32,
                netmask_v6: 128,
            }),
            ..service("fwmark:80", Rr, method, 0, &[(REAL, 1), (OTHER_REAL, 1)])
        };
        rig.serve(&marked);
        rig.reconciler
            .set_marks(&[
                rule(80, Protocol::Tcp, (VIP, 32), &[(80, 80), (443, 443)]),
                rule(80, Protocol::Tcp, (VIP, 32), &[(10_000, 20_000)]),
                rule(80, Protocol::Udp, (v4(192, 0, 2, 0), 24), &[]),
                rule(81, Protocol::Tcp, (VIP, 32), &[(21, 21)]),
            ])
            .unwrap();
        for (number, (packet, address, port, served)) in [
            (TCP_SYN, VIP, 80, true),
            (TCP_SYN, VIP, 443, true),
            (TCP_SYN, VIP, 10_000, true),
            (TCP_SYN, VIP, 20_000, true),
            (TCP_SYN, VIP, 20_001, false),
            (TCP_SYN, VIP, 444, false),
            // A mark without a service says nothing.
            (TCP_SYN, VIP, 21, false),
            (TCP_SYN, v4(192, 0, 2, 99), 80, false),
            (DATAGRAM, v4(192, 0, 2, 99), 7, true),
            (DATAGRAM, v4(192, 0, 3, 99), 7, false),
        ]
        .into_iter()
        .enumerate()
        {
            let packet = to(packet, address, port).port(100 + number as u16);
            let outcome = rig.run(&packet.frame());
            if !served {
                assert_eq!(outcome.verdict, Verdict::Pass, "{address} {port}");
                continue;
            }
            assert_eq!(outcome.verdict, Verdict::Tx, "{address} {port}");
            let out = judge::packet(&outcome.frame);
            assert_eq!(out.to_mac, mac_of(REAL), "all of a client's go to one real");
            assert_eq!(out.destination_port, port);
        }
        assert_eq!(rig.templates().len(), 1);
        // It is not sent to the kernel when a segment comes without a connection
        // but to be answered with RST.
        let stray = to(TCP_SYN, VIP, 443).port(999).with(ACK);
        assert_eq!(rig.run(&stray.frame()).verdict, Verdict::Pass);
    }
}

#[test]
fn a_mark_comes_before_an_address() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.serve(&service(
        "tcp:192.0.2.10:80",
        Rr,
        Dr,
        80,
        &[(OTHER_REAL, 1)],
    ));
    let marked = service("fwmark:7", Rr, Dr, 0, &[(REAL, 1)]);
    rig.serve(&marked);
    let marks = [rule(7, Protocol::Tcp, (VIP, 32), &[])];
    let pick =
        |rig: &mut Rig, port| judge::packet(&rig.run(&TCP_SYN.port(port).frame()).frame).to_mac;
    assert_eq!(pick(&mut rig, 1), mac_of(OTHER_REAL));
    rig.reconciler.set_marks(&marks).unwrap();
    assert_eq!(pick(&mut rig, 2), mac_of(REAL));
    // Without its service the mark says nothing.
    rig.reconciler.remove_service(marked.id).unwrap();
    assert_eq!(pick(&mut rig, 3), mac_of(OTHER_REAL));
    rig.serve(&marked);
    assert_eq!(pick(&mut rig, 4), mac_of(REAL));
    rig.reconciler.set_marks(&[]).unwrap();
    assert_eq!(pick(&mut rig, 5), mac_of(OTHER_REAL));
}

#[test]
fn a_restart_keeps_marks() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::new();
    let marked = service("fwmark6:80", Rr, Dr, 0, &[(REAL_V6, 1), (OTHER_REAL_V6, 1)]);
    rig.serve(&marked);
    let marks = [rule(80, Protocol::Tcp, (VIP_V6, 64), &[(80, 90)])];
    rig.reconciler.set_marks(&marks).unwrap();
    let mut rig = rig.restart(crate::rig::SIZES).unwrap();
    let pick = |rig: &mut Rig, port| {
        judge::packet(
            &rig.run(&to(TCP_SYN_V6, VIP_V6, 85).port(port).frame())
                .frame,
        )
        .to_mac
    };
    // Before the new daemon has said anything, and while it does.
    assert_eq!(pick(&mut rig, 1), mac_of(REAL_V6));
    rig.set_policy(&crate::rig::OPTIONS, &crate::rig::DEFENCELESS);
    assert_eq!(pick(&mut rig, 2), mac_of(OTHER_REAL_V6));
    rig.serve(&marked);
    assert_eq!(pick(&mut rig, 3), mac_of(REAL_V6));
    rig.reconciler.set_marks(&marks).unwrap();
    assert_eq!(pick(&mut rig, 4), mac_of(OTHER_REAL_V6));
}
