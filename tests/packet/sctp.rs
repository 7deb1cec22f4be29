//! SCTP services: only INIT makes a connection, and the port stays.

use lb_daemon::config::model::{
    ForwardingMethod::{Dr, Nat, Tun},
    Protocol,
    Scheduler::Rr,
};
use lb_tests::privilege;

use crate::{
    packet::{ABORT, COOKIE_ECHO, DATA, INIT, INIT_ACK, Packet, Transport},
    rig::{LOOPBACK, Rig, service},
    row::Expect::{Passed, Transmitted},
    ways::{Method, Way},
    world::{PORT, REAL, REAL_PORT, SCTP_INIT, SCTP_INIT_V6},
};

const fn with_chunk(packet: Packet, chunk: u8) -> Packet {
    Packet {
        transport: Transport::Sctp(chunk),
        ..packet
    }
}

#[test]
fn only_init_makes_a_connection() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for method in [Method::Dr, Method::Nat] {
        for (is_ipv6, init) in [(false, SCTP_INIT), (true, SCTP_INIT_V6)] {
            let way = Way::new(method, is_ipv6, Protocol::Sctp);
            rig.clear();
            rig.serve(&way.service());
            for chunk in (0..=u8::MAX).filter(|chunk| *chunk != INIT) {
                let what = format!("{way:?}: chunk {chunk} without a connection");
                rig.check_one(LOOPBACK, &what, &with_chunk(init, chunk), &Passed);
            }
            assert_eq!((rig.entries(), rig.entries_v6()), (vec![], vec![]));
            for chunk in [INIT, COOKIE_ECHO, DATA, ABORT] {
                let packet = with_chunk(init, chunk);
                let what = format!("{way:?}: chunk {chunk}");
                rig.check_one(LOOPBACK, &what, &packet, &Transmitted(way.there(packet)));
            }
            let (active, inactive) = rig.counts(&way.service(), way.real());
            assert_eq!(active + inactive, 1, "{way:?}");
        }
    }
}

/// INIT ACK is for the real's half alone.
#[test]
fn init_ack_is_no_beginning() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.serve(&service("sctp:192.0.2.10:80", Rr, Dr, PORT, &[(REAL, 1)]));
    rig.check_one(
        LOOPBACK,
        "INIT ACK",
        &with_chunk(SCTP_INIT, INIT_ACK),
        &Passed,
    );
    assert_eq!(rig.entries(), []);
}

/// CRC32c covers the packet, not the addresses: another port would mean to
/// compute it anew.
#[test]
fn the_port_stays() {
    for (method, port) in [(Nat, REAL_PORT), (Dr, REAL_PORT), (Tun, REAL_PORT)] {
        let other = service("sctp:192.0.2.10:80", Rr, method, port, &[(REAL, 1)]);
        let refusal = other.validate().expect_err("another port").to_string();
        assert!(method != Nat || refusal.contains("CRC32c"), "{refusal}");
    }
    let same = service("sctp:192.0.2.10:80", Rr, Nat, PORT, &[(REAL, 1)]);
    same.validate().unwrap();
}
