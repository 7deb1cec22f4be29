//! An SCTP association's life: the state of its entry and its real's counts
//! after each packet (semantics: the tables of ip_vs_proto_sctp.c).

use lb_daemon::config::model::{
    ForwardingMethod::{self, Dr, Nat, Tun},
    Scheduler::Rr,
};
use lb_tests::privilege;

use crate::{
    kernel::Verdict,
    nat_replies::reply,
    packet::{ABORT, COOKIE_ECHO, DATA, INIT, INIT_ACK, Packet, Transport},
    rig::{LOOPBACK, Rig, service},
    wires::with_wires,
    world::{PORT, REAL, SCTP_INIT},
};

const COOKIE_ACK: u8 = 11;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const SHUTDOWN_COMPLETE: u8 = 14;
/// RE-CONFIG of RFC 6525: it counts as DATA.
const RECONFIG: u8 = 130;

#[derive(Clone, Copy)]
enum Sender {
    Client,
    Real,
}
use Sender::{Client, Real};

/// Who sends which chunk, and the state afterwards. Only ESTABLISHED is
/// active.
type Step = (Sender, u8, &'static str);

/// dr and tun: the client's half is all that is seen.
#[test]
fn one_half() {
    if !privilege::bpf() {
        return;
    }
    let whole: &[Step] = &[
        (Client, INIT, "INIT1"),
        (Client, INIT, "INIT"),
        (Client, COOKIE_ECHO, "ESTABLISHED"),
        (Client, DATA, "ESTABLISHED"),
        (Client, RECONFIG, "ESTABLISHED"),
        (Client, SHUTDOWN, "S-RECEIVED"),
        (Client, SHUTDOWN_COMPLETE, "CLOSED"),
        (Client, INIT, "INIT"),
    ];
    let aborted: &[Step] = &[
        (Client, INIT, "INIT1"),
        (Client, COOKIE_ECHO, "ESTABLISHED"),
        (Client, ABORT, "CLOSED"),
        (Client, DATA, "CLOSED"),
    ];
    let mut rig = Rig::shared();
    for method in [Dr, Tun] {
        for (what, steps) in [("whole", whole), ("aborted", aborted)] {
            tell(&mut rig, what, method, steps, (LOOPBACK, LOOPBACK));
        }
    }
}

/// nat: the real's packets move the same association.
#[test]
fn both_halves() {
    if !privilege::bpf() {
        return;
    }
    let whole: &[Step] = &[
        (Client, INIT, "INIT1"),
        (Real, INIT_ACK, "C-SENT"),
        (Client, COOKIE_ECHO, "C-REPLIED"),
        (Real, COOKIE_ACK, "ESTABLISHED"),
        (Client, DATA, "ESTABLISHED"),
        (Real, DATA, "ESTABLISHED"),
        (Real, SHUTDOWN, "S-SENT"),
        (Client, SHUTDOWN_ACK, "CLOSED"),
        (Real, SHUTDOWN_COMPLETE, "CLOSED"),
    ];
    let refused: &[Step] = &[(Client, INIT, "INIT1"), (Real, ABORT, "REJECTED")];
    with_wires(|_, wires| {
        let mut rig = Rig::shared();
        for (what, steps) in [("whole", whole), ("refused", refused)] {
            tell(&mut rig, what, Nat, steps, (wires.outside, wires.inside));
        }
    });
}

/// Plays a story on an association of its own. The packets come in by `wires`:
/// the client's, the real's.
fn tell(rig: &mut Rig, what: &str, method: ForwardingMethod, steps: &[Step], wires: (u32, u32)) {
    let server = service("sctp:192.0.2.10:80", Rr, method, PORT, &[(REAL, 1)]);
    rig.clear();
    rig.serve(&server);
    rig.resolve(REAL, wires.1, 1500);
    for (number, &(from, chunk, state)) in steps.iter().enumerate() {
        let at = format!("{what}, {}, packet {}", method.name(), number + 1);
        let packet = Packet {
            transport: Transport::Sctp(chunk),
            ..SCTP_INIT
        };
        let outcome = match from {
            Client => rig.run_at(wires.0, &packet.frame()),
            Real => {
                let answer = Packet {
                    source_port: PORT,
                    ..reply(packet)
                };
                rig.run_at(wires.1, &answer.frame())
            }
        };
        assert!(
            matches!(outcome.verdict, Verdict::Tx | Verdict::Redirect),
            "{at}: {outcome:?}"
        );
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
        let active = u32::from(state == "ESTABLISHED");
        assert_eq!(rig.counts(&server, REAL), (active, 1 - active), "{at}");
    }
}
