//! Which TCP segments make a connection, and which go to the kernel.

use lb_common::abi::settings_flag;
use lb_daemon::config::model::{ForwardingMethod::Dr, Scheduler::Rr};
use lb_tests::privilege;

use crate::{
    packet::{ACK, FIN, Packet, RST, SYN},
    rig::{Rig, service},
    row::{
        Expect::{self, Passed, Transmitted},
        Row,
    },
    world::{EGRESS_MAC, PORT, REAL, REAL_MAC, TCP_SYN},
};

const NOTHING: u8 = 0;

/// Flags, and the state of the connection that they make.
type Case = (&'static str, u8, Option<&'static str>);

#[test]
fn strict() {
    let cases: [Case; 10] = [
        ("SYN", SYN, Some("SYN_RECV")),
        ("SYN+ACK", SYN | ACK, Some("SYN_RECV")),
        ("SYN+FIN", SYN | FIN, Some("SYN_RECV")),
        ("ACK", ACK, None),
        ("FIN", FIN, None),
        ("FIN+ACK", FIN | ACK, None),
        ("RST", RST, None),
        ("RST+ACK", RST | ACK, None),
        ("SYN+RST", SYN | RST, None),
        ("no flag", NOTHING, None),
    ];
    check(&cases, 0);
}

/// With `sloppy_tcp` all but RST.
#[test]
fn sloppy() {
    let cases: [Case; 10] = [
        ("SYN", SYN, Some("SYN_RECV")),
        ("SYN+ACK", SYN | ACK, Some("SYN_RECV")),
        ("SYN+FIN", SYN | FIN, Some("SYN_RECV")),
        ("ACK", ACK, Some("ESTABLISHED")),
        ("FIN", FIN, Some("CLOSE")),
        ("FIN+ACK", FIN | ACK, Some("CLOSE")),
        ("RST", RST, None),
        ("RST+ACK", RST | ACK, None),
        ("SYN+RST", SYN | RST, None),
        ("no flag", NOTHING, Some("NONE")),
    ];
    check(&cases, settings_flag::SLOPPY_TCP);
}

fn check(cases: &[Case], settings: u32) {
    if !privilege::bpf() {
        return;
    }
    let out = Packet {
        to_mac: REAL_MAC,
        from_mac: EGRESS_MAC,
        ..TCP_SYN
    }
    .ttl(63);
    let mut rig = Rig::shared();
    for (what, flags, state) in cases {
        rig.clear();
        rig.change_settings(|s| s.flags = settings);
        let web = service("tcp:192.0.2.10:80", Rr, Dr, PORT, &[(REAL, 1)]);
        rig.serve(&web);
        let expect: Expect = match state {
            Some(_) => Transmitted(out.with(*flags)),
            None => Passed,
        };
        rig.check(&[Row {
            what,
            packet: TCP_SYN.with(*flags),
            expect,
        }]);
        let states: Vec<_> = rig
            .entries()
            .iter()
            .map(|(_, entry)| entry.state().name())
            .collect();
        assert_eq!(states, Vec::from_iter(*state), "{what}");
        let (active, inactive) = rig.counts(&web, REAL);
        assert_eq!(active + inactive, u32::from(state.is_some()), "{what}");
    }
}
