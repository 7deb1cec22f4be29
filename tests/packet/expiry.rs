//! Connections with short timeouts: the programs announce them, and the daemon
//! ends them without a walk. What a walk sees to be over soon, likewise.

use std::{
    thread,
    time::{Duration, Instant},
};

use lb_common::{
    connection_state::ConnectionState::{self, Close, Established, SynRecv, Udp},
    flow::{FlowKeyV4, FlowKeyV6},
    limits::SHORT_TIMEOUT_S,
    persistence::TemplateKey,
    sweep::Found,
};
use lb_daemon::config::model::{
    Defence,
    ForwardingMethod::{Dr, Nat},
    Persistence,
    Scheduler::Rr,
    Service, Strategy,
};
use lb_tests::privilege;

use crate::{
    nat_replies::reply,
    packet::{ACK, RST},
    rig::{ALL, DEFENCELESS, IDLE, OPTIONS, Rig, service},
    sweep::web,
    world::{
        CLIENT_PORT, DATAGRAM, DATAGRAM_V6, PORT, REAL, REAL_PORT, REAL_V6, TCP_SYN, TCP_SYN_V6,
    },
};

/// Who was announced, by the source port where there is one, and for when, ms.
#[derive(Debug, PartialEq, Eq)]
enum Announced {
    V4(u16, u32),
    V6(u16, u32),
    Template(u32),
}

impl Rig {
    fn announced(&mut self) -> Vec<Announced> {
        let ring = &mut self.walked.as_mut().unwrap().expiries;
        let mut announced = Vec::new();
        while let Some(record) = ring.next() {
            announced.push(match record.len() {
                24 => {
                    let found: Found<FlowKeyV4> = read(&record);
                    Announced::V4(found.key.source_port.get(), found.after_ms)
                }
                48 => {
                    let found: Found<FlowKeyV6> = read(&record);
                    Announced::V6(found.key.source_port.get(), found.after_ms)
                }
                32 => Announced::Template(read::<Found<TemplateKey>>(&record).after_ms),
                length => panic!("{length} bytes"),
            });
        }
        announced
    }

    fn set_timeout(&mut self, state: ConnectionState, seconds: u32) {
        self.change_settings(|settings| settings.timeouts_s[state as usize] = seconds);
    }
}

fn read<T>(record: &[u8]) -> T {
    assert_eq!(record.len(), size_of::<T>());
    // SAFETY: as long as the record, which is plain data.
    unsafe { record.as_ptr().cast::<T>().read_unaligned() }
}

/// By default nothing but CLOSE is short.
#[test]
fn a_connection_that_closes() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.serve(&web(Dr));
    rig.run(&TCP_SYN.frame());
    rig.run(&TCP_SYN.with(ACK).frame());
    rig.run(&TCP_SYN.with(ACK).frame());
    assert_eq!(rig.announced(), []);
    rig.run(&TCP_SYN.with(RST).frame());
    assert_eq!(rig.announced(), [Announced::V4(CLIENT_PORT, 10_001)]);
    rig.run(&TCP_SYN.with(RST).frame());
    assert_eq!(rig.announced(), [], "it is known");
}

/// A real that refuses: its own half names the connection, which ends by that.
#[test]
fn a_real_that_refuses() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    let web = web(Nat);
    rig.serve(&web);
    rig.run(&TCP_SYN.frame());
    rig.run(&reply(TCP_SYN.with(RST | ACK)).frame());
    assert_eq!(rig.announced(), [Announced::V4(REAL_PORT, 10_001)]);
    let keys: Vec<_> = rig
        .keys()
        .into_iter()
        .filter(|key| key.source_port.get() == REAL_PORT)
        .collect();
    assert_eq!(rig.sweep(IDLE, &keys), 0, "10 s are not over");
    match rig.announced()[..] {
        // The connection's name is its forward entry's.
        [Announced::V4(CLIENT_PORT, after_ms)] => assert!(after_ms <= 10_001, "{after_ms}"),
        ref other => panic!("{other:?}"),
    }
    rig.set_timeout(Close, 0);
    assert_eq!(rig.sweep(IDLE, &keys), 1);
    assert_eq!((rig.entries().len(), rig.counts(&web, REAL)), (0, (0, 0)));
}

#[test]
fn new_connections_with_short_timeouts() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for (id, real) in [
        ("tcp:192.0.2.10:80", REAL),
        ("udp:192.0.2.10:80", REAL),
        ("tcp:[2001:db8:a::10]:80", REAL_V6),
        ("udp:[2001:db8:a::10]:80", REAL_V6),
    ] {
        rig.serve(&service(id, Rr, Dr, PORT, &[(real, 1)]));
    }
    let packets = [TCP_SYN, DATAGRAM, TCP_SYN_V6, DATAGRAM_V6];
    let run = |rig: &mut Rig, first_port: u16| {
        for (port, packet) in (first_port..).zip(packets) {
            rig.run(&packet.port(port).frame());
        }
    };
    for state in [SynRecv, Udp] {
        rig.set_timeout(state, SHORT_TIMEOUT_S);
    }
    run(&mut rig, 1);
    assert_eq!(rig.announced(), [], "a walk comes in time");
    rig.set_timeout(SynRecv, 3);
    rig.set_timeout(Udp, SHORT_TIMEOUT_S - 1);
    run(&mut rig, 11);
    let udp_ms = (SHORT_TIMEOUT_S - 1) * 1000 + 1;
    assert_eq!(
        rig.announced(),
        [
            Announced::V4(11, 3001),
            Announced::V4(12, udp_ms),
            Announced::V6(13, 3001),
            Announced::V6(14, udp_ms),
        ]
    );
    rig.run(&DATAGRAM.port(12).frame());
    assert_eq!(rig.announced(), [], "its second packet");
}

/// What the daemon comes for too early is announced again.
#[test]
fn one_that_a_packet_reached_meanwhile() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.serve(&web(Dr));
    rig.set_timeout(SynRecv, 20);
    rig.run(&TCP_SYN.frame());
    rig.announced();
    let keys = rig.keys();
    assert_eq!(rig.sweep(IDLE, &keys), 0);
    match rig.announced()[..] {
        [Announced::V4(CLIENT_PORT, after_ms)] => {
            assert!((15_000..=20_001).contains(&after_ms), "{after_ms}");
        }
        ref other => panic!("{other:?}"),
    }
    rig.set_timeout(SynRecv, 60);
    assert_eq!(rig.sweep(IDLE, &keys), 0);
    assert_eq!(rig.announced(), [], "the walk's from now on");
    // What a walk saw too early, by another clock, is not left to the next one.
    rig.age(59, |_, _| true);
    assert_eq!(rig.sweep(IDLE, &keys), 0);
    assert!(matches!(
        rig.announced()[..],
        [Announced::V4(CLIENT_PORT, 1..=1001)]
    ));
}

/// A template's time begins when nothing is under it any more.
#[test]
fn a_template_that_nothing_is_under() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for timeout_s in [5, 300] {
        rig.clear();
        rig.serve(&Service {
            persistence: Some(Persistence {
                timeout_s,
                netmask: 32,
                netmask_v6: 128,
            }),
            ..web(Dr)
        });
        rig.run(&TCP_SYN.port(1).frame());
        rig.run(&TCP_SYN.port(2).frame());
        let keys = rig.keys();
        assert_eq!(rig.sweep(ALL, &keys[..1]), 1);
        assert_eq!(rig.announced(), []);
        assert_eq!(rig.sweep(ALL, &keys[1..]), 1);
        let expected: &[_] = match timeout_s {
            5 => &[Announced::Template(5001)],
            _ => &[],
        };
        assert_eq!(rig.announced(), expected);
    }
}

/// The daemon's thread ends in its time what was announced to it and what its
/// walk saw coming, before it walks again.
#[test]
fn the_daemon_ends_them_between_walks() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    let web = web(Dr);
    rig.set_policy(&OPTIONS, &Defence::default());
    rig.set_timeout(SynRecv, 1);
    rig.serve(&web);
    rig.run(&TCP_SYN.port(1).frame());
    rig.run(&TCP_SYN.port(2).frame());
    rig.run(&TCP_SYN.port(2).with(ACK).frame());
    // One has been quiet for all but a second of its time.
    rig.set_timeout(Established, SHORT_TIMEOUT_S);
    rig.age(SHORT_TIMEOUT_S - 1, |key, _| key.source_port.get() == 2);
    let (sender, mut reports) = tokio::sync::mpsc::channel(4);
    let _sweeper = rig.start_sweeper(sender);
    let report = reports.blocking_recv().unwrap();
    let next_walk = report.began.unwrap() + report.period;
    while rig.counts(&web, REAL) != (0, 0) {
        assert!(Instant::now() < next_walk, "it takes another walk");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Nobody sees the packet after which the stateless mode makes an entry.
#[test]
fn one_that_the_stateless_mode_adopts() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.serve(&web(Dr));
    rig.set_policy(
        &OPTIONS,
        &Defence {
            stateless: Strategy::On,
            ..DEFENCELESS
        },
    );
    rig.set_timeout(SynRecv, 3);
    rig.run(&TCP_SYN.frame());
    assert_eq!(rig.announced(), []);
    rig.run(&TCP_SYN.with(ACK).frame());
    assert_eq!(rig.entries().len(), 1);
    assert_eq!(rig.announced(), [Announced::V4(CLIENT_PORT, 3001)]);
}
