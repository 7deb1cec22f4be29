//! The two entries of a nat connection: made both or neither, and never shared
//! by two connections.

use lb_daemon::{
    config::model::{ForwardingMethod::Nat, Scheduler::Rr},
    dataplane::Sizes,
};
use lb_tests::privilege;

use crate::{
    kernel::Verdict,
    nat::translated,
    packet::{ACK, Ip, Packet, SYN},
    rig::{DEFENCELESS, OPTIONS, Rig, SIZES, service},
    row::{
        Expect::{Dropped, Transmitted},
        Row,
    },
    world::{CLIENT, REAL, REAL_PORT, TCP_SYN, VIP},
};

const SYN_OUT: Packet = translated(TCP_SYN);

/// A connection is two entries: the client's half, and the real's.
#[test]
fn both_halves_are_entered() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.serve(&service(
        "tcp:192.0.2.10:80",
        Rr,
        Nat,
        REAL_PORT,
        &[(REAL, 1)],
    ));
    rig.run(&TCP_SYN.frame());
    let mut halves: Vec<_> = rig
        .entries()
        .iter()
        .map(|(key, entry)| {
            let address = |be: lb_common::addr::Be32| Ip::from(be.get().to_be_bytes());
            let from = (address(key.source), key.source_port.get());
            let to = (address(key.destination), key.destination_port.get());
            (entry.direction, from, to, entry.state().name())
        })
        .collect();
    halves.sort_unstable();
    let (client, vip, real) = ((CLIENT, 40_000), (VIP, 80), (REAL, 8080));
    assert_eq!(
        halves,
        [(0, client, vip, "SYN_RECV"), (1, real, client, "SYN_RECV")]
    );
}

/// Two services that would map two clients' connections onto the same real,
/// client and ports: the second is refused, whoever asks again.
#[test]
fn collisions_are_refused() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    let first = service("tcp:192.0.2.10:80", Rr, Nat, REAL_PORT, &[(REAL, 1)]);
    let second = service("tcp:192.0.2.10:81", Rr, Nat, REAL_PORT, &[(REAL, 1)]);
    rig.serve(&first);
    rig.serve(&second);
    let other = Packet {
        destination_port: 81,
        ..TCP_SYN
    };
    rig.check(&[
        Row {
            what: "the first",
            packet: TCP_SYN,
            expect: Transmitted(SYN_OUT),
        },
        Row {
            what: "the second",
            packet: other,
            expect: Dropped("nat_collision"),
        },
        Row {
            what: "the second again",
            packet: other,
            expect: Dropped("nat_collision"),
        },
        Row {
            what: "the first goes on",
            packet: TCP_SYN.with(ACK),
            expect: Transmitted(SYN_OUT.with(ACK)),
        },
        Row {
            what: "another client port",
            packet: other.port(1),
            expect: Transmitted(Packet {
                source_port: 1,
                ..SYN_OUT
            }),
        },
    ]);
    assert_eq!(
        (rig.counts(&first, REAL), rig.counts(&second, REAL)),
        ((1, 0), (1, 0))
    );
    assert_eq!(rig.entries().len(), 4);
}

/// Where the table has no room for both halves, neither stays.
#[test]
fn a_full_table_refuses_and_keeps_no_half() {
    if !privilege::bpf() {
        return;
    }
    // The kernel gives a table some spare elements, one for each CPU.
    let sizes = Sizes {
        connections: 7,
        ..SIZES
    };
    let mut rig = Rig::with_sizes(sizes);
    rig.set_policy(&OPTIONS, &DEFENCELESS);
    let web = service("tcp:192.0.2.10:80", Rr, Nat, REAL_PORT, &[(REAL, 1)]);
    rig.serve(&web);
    let verdicts: Vec<_> = (1..40)
        .map(|port| rig.run(&TCP_SYN.port(port).frame()).verdict)
        .collect();
    let served = verdicts
        .iter()
        .take_while(|verdict| **verdict == Verdict::Tx)
        .count();
    assert!(
        (3..40 - 1).contains(&served),
        "{served} connections in a table of 7 entries"
    );
    assert!(
        verdicts[served..]
            .iter()
            .all(|verdict| *verdict == Verdict::Drop),
        "{verdicts:?}"
    );
    assert_eq!(
        rig.drops("connection_table_full"),
        (verdicts.len() - served) as u64
    );
    assert_eq!(rig.entries().len(), 2 * served, "a half was left behind");
    assert_eq!(rig.counts(&web, REAL), (u32::try_from(served).unwrap(), 0));
    let packet = TCP_SYN.port(1).with(SYN | ACK);
    let expect = Transmitted(SYN_OUT.port(1).with(SYN | ACK));
    rig.check(&[Row {
        what: "established ones are not hurt",
        packet,
        expect,
    }]);
}
