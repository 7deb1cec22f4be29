//! A connection's life: the state of its entry and its real's counts after
//! each segment (semantics: the tables of ip_vs_proto_tcp.c).

use lb_common::abi::settings_flag;
use lb_daemon::config::model::{
    ForwardingMethod::{self, Dr, Nat, Tun},
    Scheduler::Rr,
};
use lb_tests::privilege;

use crate::{
    judge,
    kernel::Verdict,
    nat_replies::reply,
    packet::{ACK, FIN, RST, SYN},
    rig::{LOOPBACK, Rig, service},
    wires::with_wires,
    world::{DATAGRAM, OTHER_REAL, PORT, REAL, REAL_PORT, TCP_SYN, mac_of},
};

#[derive(Clone, Copy)]
enum Sender {
    Client,
    Real,
}
use Sender::{Client, Real};

/// Who sends what, the state afterwards, and active and inactive connections.
type Step = (Sender, u8, &'static str, (u32, u32));

const ACTIVE: (u32, u32) = (1, 0);
const INACTIVE: (u32, u32) = (0, 1);

/// dr and tun: the client's half is all that is seen.
#[test]
fn one_half() {
    let stories: [(&str, &[Step]); 6] = [
        (
            "a client that closes",
            &[
                (Client, SYN, "SYN_RECV", ACTIVE),
                (Client, SYN, "SYN_RECV", ACTIVE),
                (Client, ACK, "ESTABLISHED", ACTIVE),
                (Client, ACK, "ESTABLISHED", ACTIVE),
                (Client, FIN | ACK, "FIN_WAIT", INACTIVE),
                (Client, ACK, "FIN_WAIT", INACTIVE),
                (Client, FIN | ACK, "FIN_WAIT", INACTIVE),
                (Client, RST, "CLOSE", INACTIVE),
            ],
        ),
        (
            "a client that resets",
            &[
                (Client, SYN, "SYN_RECV", ACTIVE),
                (Client, ACK, "ESTABLISHED", ACTIVE),
                (Client, RST | ACK, "CLOSE", INACTIVE),
                (Client, ACK, "CLOSE", INACTIVE),
            ],
        ),
        (
            "a forged reset does not end what is half open",
            &[
                (Client, SYN, "SYN_RECV", ACTIVE),
                (Client, RST, "SYN_RECV", ACTIVE),
                (Client, ACK, "ESTABLISHED", ACTIVE),
            ],
        ),
        (
            "a client that gives up at once",
            &[
                (Client, SYN, "SYN_RECV", ACTIVE),
                (Client, FIN, "TIME_WAIT", INACTIVE),
                (Client, ACK, "TIME_WAIT", INACTIVE),
            ],
        ),
        (
            "a SYN within an established connection",
            &[
                (Client, SYN, "SYN_RECV", ACTIVE),
                (Client, ACK, "ESTABLISHED", ACTIVE),
                (Client, SYN, "ESTABLISHED", ACTIVE),
            ],
        ),
        (
            "a segment without flags",
            &[
                (Client, SYN, "SYN_RECV", ACTIVE),
                (Client, 0, "SYN_RECV", ACTIVE),
            ],
        ),
    ];
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for method in [Dr, Tun] {
        for (what, steps) in stories {
            tell(&mut rig, what, method, steps, (LOOPBACK, LOOPBACK));
        }
    }
}

/// nat: the real's segments move the same connection.
#[test]
fn both_halves() {
    let stories: [(&str, &[Step]); 5] = [
        (
            "the client closes first",
            &[
                (Client, SYN, "SYN_RECV", ACTIVE),
                (Real, SYN | ACK, "SYN_RECV", ACTIVE),
                (Client, ACK, "ESTABLISHED", ACTIVE),
                (Real, ACK, "ESTABLISHED", ACTIVE),
                (Client, FIN | ACK, "CLOSE_WAIT", INACTIVE),
                (Real, ACK, "CLOSE_WAIT", INACTIVE),
                (Real, FIN | ACK, "TIME_WAIT", INACTIVE),
                (Client, ACK, "TIME_WAIT", INACTIVE),
            ],
        ),
        (
            "the real closes first",
            &[
                (Client, SYN, "SYN_RECV", ACTIVE),
                (Real, SYN | ACK, "SYN_RECV", ACTIVE),
                (Client, ACK, "ESTABLISHED", ACTIVE),
                (Real, FIN | ACK, "FIN_WAIT", INACTIVE),
                (Client, ACK, "FIN_WAIT", INACTIVE),
                (Client, FIN | ACK, "TIME_WAIT", INACTIVE),
                (Real, ACK, "TIME_WAIT", INACTIVE),
            ],
        ),
        (
            "the real refuses",
            &[
                (Client, SYN, "SYN_RECV", ACTIVE),
                (Real, RST | ACK, "CLOSE", INACTIVE),
            ],
        ),
        (
            "the real resets what is established",
            &[
                (Client, SYN, "SYN_RECV", ACTIVE),
                (Real, SYN | ACK, "SYN_RECV", ACTIVE),
                (Client, ACK, "ESTABLISHED", ACTIVE),
                (Real, RST, "CLOSE", INACTIVE),
                (Client, ACK, "CLOSE", INACTIVE),
            ],
        ),
        (
            "a forged reset does not end what is half open",
            &[
                (Client, SYN, "SYN_RECV", ACTIVE),
                (Client, RST, "SYN_RECV", ACTIVE),
                (Real, SYN | ACK, "SYN_RECV", ACTIVE),
                (Real, ACK, "ESTABLISHED", ACTIVE),
                (Client, RST, "CLOSE", INACTIVE),
            ],
        ),
    ];
    if !privilege::bpf() {
        return;
    }
    with_wires(|_, wires| {
        let mut rig = Rig::shared();
        for (what, steps) in stories {
            tell(&mut rig, what, Nat, steps, (wires.outside, wires.inside));
        }
    });
}

/// Plays a story on a connection of its own. The segments come in by `wires`:
/// the client's, the real's.
fn tell(rig: &mut Rig, what: &str, method: ForwardingMethod, steps: &[Step], wires: (u32, u32)) {
    let port = if method == Nat { REAL_PORT } else { PORT };
    let web = service("tcp:192.0.2.10:80", Rr, method, port, &[(REAL, 1)]);
    rig.clear();
    rig.serve(&web);
    rig.resolve(REAL, wires.1, 1500);
    for (number, &(from, flags, state, counts)) in steps.iter().enumerate() {
        let at = format!("{what}, {}, segment {}", method.name(), number + 1);
        let packet = TCP_SYN.with(flags);
        let outcome = match from {
            Client => rig.run_at(wires.0, &packet.frame()),
            Real => rig.run_at(wires.1, &reply(packet).frame()),
        };
        assert!(
            matches!(outcome.verdict, Verdict::Tx | Verdict::Redirect),
            "{at}: {outcome:?}"
        );
        judge::packet(&outcome.frame);
        let entries = rig.entries();
        assert_eq!(entries.len(), if method == Nat { 2 } else { 1 }, "{at}");
        for (_, entry) in &entries {
            assert_eq!(
                entry.state().name(),
                state,
                "{at}, entry {}",
                entry.direction
            );
        }
        assert_eq!(rig.counts(&web, REAL), counts, "{at}");
    }
}

/// UDP counts as inactive from the first datagram on.
#[test]
fn datagrams() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for (method, entries) in [(Dr, 1), (Tun, 1), (Nat, 2)] {
        let dns = service("udp:192.0.2.10:80", Rr, method, PORT, &[(REAL, 1)]);
        rig.clear();
        rig.serve(&dns);
        for _ in 0..3 {
            rig.run(&DATAGRAM.frame());
        }
        assert_eq!(rig.counts(&dns, REAL), INACTIVE);
        let states: Vec<_> = rig
            .entries()
            .iter()
            .map(|(_, entry)| entry.state().name())
            .collect();
        assert_eq!(states, vec!["UDP"; entries]);
    }
}

/// A SYN on what is closed is a new connection, scheduled anew: the next
/// real's turn. On what is not, it belongs to the connection.
#[test]
fn a_syn_on_a_closed_connection() {
    let close: &[u8] = &[SYN, ACK, RST];
    let time_wait: &[u8] = &[SYN, FIN];
    let fin_wait: &[u8] = &[SYN, ACK, FIN];
    let established: &[u8] = &[SYN, ACK];
    let reuse = settings_flag::REUSE_FIN_WAIT;
    let cases = [
        ("CLOSE", Dr, close, 0, SYN, true),
        ("CLOSE", Tun, close, 0, SYN, true),
        ("CLOSE", Nat, close, 0, SYN, true),
        ("TIME_WAIT", Dr, time_wait, 0, SYN, true),
        ("TIME_WAIT", Nat, time_wait, 0, SYN, true),
        ("SYN+ACK in TIME_WAIT", Dr, time_wait, 0, SYN | ACK, false),
        ("FIN_WAIT", Dr, fin_wait, 0, SYN, false),
        (
            "FIN_WAIT with reuse_fin_wait",
            Dr,
            fin_wait,
            reuse,
            SYN,
            true,
        ),
        (
            "FIN_WAIT with reuse_fin_wait",
            Tun,
            fin_wait,
            reuse,
            SYN,
            true,
        ),
        (
            "ESTABLISHED with reuse_fin_wait",
            Dr,
            established,
            reuse,
            SYN,
            false,
        ),
    ];
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for (what, method, segments, settings, last, is_new) in cases {
        let web = service(
            "tcp:192.0.2.10:80",
            Rr,
            method,
            PORT,
            &[(REAL, 1), (OTHER_REAL, 1)],
        );
        rig.clear();
        rig.change_settings(|s| s.flags = settings);
        rig.serve(&web);
        for flags in segments {
            rig.run(&TCP_SYN.with(*flags).frame());
        }
        let out = judge::packet(&rig.run(&TCP_SYN.with(last).frame()).frame);
        let expected = if is_new { OTHER_REAL } else { REAL };
        assert_eq!(out.to_mac, mac_of(expected), "{what} {}", method.name());
        let (first, second) = (rig.counts(&web, REAL), rig.counts(&web, OTHER_REAL));
        let total = first.0 + first.1 + second.0 + second.1;
        assert_eq!(
            (total, second),
            (1, if is_new { ACTIVE } else { (0, 0) }),
            "{what} {}",
            method.name()
        );
        assert_eq!(
            rig.entries().len(),
            if method == Nat { 2 } else { 1 },
            "{what} {}",
            method.name()
        );
    }
}
