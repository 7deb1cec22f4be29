//! Who may begin a connection: `deny`, `allow`, `rate_limit`, and the defence
//! that drops at random.

use lb_daemon::config::model::{
    Defence,
    ForwardingMethod::{Dr, Nat},
    RateLimit,
    Scheduler::Rr,
    Service, SourceLimit, Strategy,
};
use lb_tests::privilege;

use crate::{
    kernel::Verdict,
    packet::{ACK, Header, Ip, Packet},
    rig::{DEFENCELESS, OPTIONS, Rig, service},
    world::{CLIENT_V6, PORT, REAL, REAL_V6, TCP_SYN, TCP_SYN_V6, v4, v6},
};

fn web() -> Service {
    service("tcp:192.0.2.10:80", Rr, Dr, PORT, &[(REAL, 1)])
}

fn from(packet: Packet, client: Ip, port: u16) -> Packet {
    let ip = Header {
        source: client,
        ..packet.ip
    };
    Packet { ip, ..packet }.port(port)
}

#[test]
fn lists_are_looked_at_for_new_connections_only() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.serve(&web());
    rig.serve(&service(
        "tcp:[2001:db8:a::10]:80",
        Rr,
        Dr,
        PORT,
        &[(REAL_V6, 1)],
    ));
    let bad = v4(203, 0, 113, 77);
    let good = v4(198, 51, 100, 7);
    let other = v4(192, 0, 2, 200);
    assert_eq!(rig.run(&from(TCP_SYN, bad, 1).frame()).verdict, Verdict::Tx);
    let mut defence = Defence {
        deny: vec![
            ("203.0.113.64".parse().unwrap(), 26),
            ("2001:db8:bad::".parse().unwrap(), 48),
        ],
        ..DEFENCELESS
    };
    rig.set_policy(&OPTIONS, &defence);
    let bad_v6 = v6([0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, 9]);
    let verdict =
        |rig: &mut Rig, packet, client, port| rig.run(&from(packet, client, port).frame()).verdict;
    assert_eq!(
        verdict(&mut rig, TCP_SYN.with(ACK), bad, 1),
        Verdict::Tx,
        "established"
    );
    assert_eq!(verdict(&mut rig, TCP_SYN, bad, 2), Verdict::Drop);
    assert_eq!(
        verdict(&mut rig, TCP_SYN, v4(203, 0, 113, 63), 2),
        Verdict::Tx
    );
    assert_eq!(verdict(&mut rig, TCP_SYN, good, 2), Verdict::Tx);
    assert_eq!(verdict(&mut rig, TCP_SYN_V6, bad_v6, 2), Verdict::Drop);
    assert_eq!(verdict(&mut rig, TCP_SYN_V6, CLIENT_V6, 2), Verdict::Tx);
    assert_eq!(rig.drops("denied"), 2);

    defence.allow = vec![("198.51.100.0".parse().unwrap(), 24)];
    rig.set_policy(&OPTIONS, &defence);
    assert_eq!(verdict(&mut rig, TCP_SYN, good, 3), Verdict::Tx);
    assert_eq!(verdict(&mut rig, TCP_SYN, other, 3), Verdict::Drop);
    assert_eq!(
        verdict(&mut rig, TCP_SYN_V6, CLIENT_V6, 3),
        Verdict::Drop,
        "nobody else"
    );
    // Who is in both is denied.
    defence.deny.push((good, 32));
    rig.set_policy(&OPTIONS, &defence);
    assert_eq!(verdict(&mut rig, TCP_SYN, good, 4), Verdict::Drop);

    rig.set_policy(&OPTIONS, &DEFENCELESS);
    for client in [bad, good, other] {
        assert_eq!(verdict(&mut rig, TCP_SYN, client, 5), Verdict::Tx);
    }
}

#[test]
fn a_client_s_network_has_a_burst_and_a_rate() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.serve(&web());
    let limited = Defence {
        rate_limit: Some(SourceLimit {
            per_source: 1,
            netmask: 24,
            netmask_v6: 64,
            burst: 5,
        }),
        ..DEFENCELESS
    };
    rig.set_policy(&OPTIONS, &limited);
    let served = |rig: &mut Rig, network: u8| {
        (1..=20)
            .filter(|port| {
                let client = v4(198, 51, network, *port as u8);
                rig.run(&from(TCP_SYN, client, *port).frame()).verdict == Verdict::Tx
            })
            .count()
    };
    // One more if a second passes meanwhile.
    for network in [1, 2] {
        let served = served(&mut rig, network);
        assert!((5..=6).contains(&served), "{served}");
    }
    assert!(rig.drops("rate_limited") >= 28);
    // Established ones are not counted.
    for _ in 0..20 {
        let packet = from(TCP_SYN, v4(198, 51, 1, 1), 1).with(ACK);
        assert_eq!(rig.run(&packet.frame()).verdict, Verdict::Tx);
    }
}

#[test]
fn a_service_has_a_burst_and_a_rate() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    let limited = Service {
        rate_limit: Some(RateLimit {
            connections: 1,
            burst: 3,
        }),
        ..web()
    };
    rig.serve(&limited);
    let served = (1..=20)
        .filter(|port| rig.run(&TCP_SYN.port(*port).frame()).verdict == Verdict::Tx)
        .count();
    assert!((3..=4).contains(&served), "{served}");
    rig.serve(&web());
    assert_eq!(rig.run(&TCP_SYN.port(99).frame()).verdict, Verdict::Tx);
}

/// One in ten, and only where stateless cannot act, unless it is "on".
#[test]
fn some_are_dropped_at_random() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    use Strategy::{Auto, Off, On};
    for (method, strategy, stateless, fill, drops) in [
        (Nat, Auto, Off, 0, false),
        (Nat, Auto, Off, 95, true),
        (Dr, Auto, Auto, 95, false),
        (Dr, Auto, Off, 95, true),
        (Dr, On, Auto, 0, true),
        (Nat, Off, Off, 99, false),
    ] {
        rig.clear();
        rig.serve(&service(
            "tcp:192.0.2.10:80",
            Rr,
            method,
            PORT,
            &[(REAL, 1)],
        ));
        let defence = Defence {
            drop_packet: strategy,
            stateless,
            ..DEFENCELESS
        };
        rig.set_policy(&OPTIONS, &defence);
        rig.pretend_fill(crate::rig::SIZES.connections * fill / 100);
        let before = rig.drops("drop_packet");
        for port in 1..=400 {
            rig.run(&TCP_SYN.port(port).frame());
        }
        let dropped = rig.drops("drop_packet") - before;
        let expected = if drops { 10..=90 } else { 0..=0 };
        assert!(
            expected.contains(&dropped),
            "{method:?} {strategy:?} {fill} %: {dropped}"
        );
    }
}
