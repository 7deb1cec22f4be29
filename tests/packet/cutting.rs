//! Connections that an operator ends: cut ones, whose clients hear of it, and
//! those that `expire_nodest` ends with their next packet.

use lb_common::{abi::program, sweep::mode};
use lb_daemon::config::model::{
    ForwardingMethod::{self, Dr, Nat, Tun},
    Scheduler::Rr,
    Service,
};
use lb_tests::privilege;

use crate::{
    judge,
    kernel::{self, Verdict},
    packet::{ACK, FIN, Header, Packet, RST, SYN, Transport},
    rig::{Rig, service, sweep_input},
    world::{
        CLIENT, DATAGRAM, DIRECTOR_MAC, OTHER_REAL, PORT, REAL, REAL_PORT, REAL_V6, ROUTER_MAC,
        TCP_SYN, TCP_SYN_V6, VIP,
    },
};

fn web(method: ForwardingMethod) -> Service {
    let port = if method == Nat { REAL_PORT } else { PORT };
    service("tcp:192.0.2.10:80", Rr, method, port, &[(REAL, 1)])
}

impl Rig {
    /// The sweep's way to end every connection of IPv4.
    fn end_all(&mut self, mode: u8) -> u32 {
        let keys = sweep_input(mode, &self.keys());
        kernel::return_value(self.programs.xdp(program::SWEEP_V4).unwrap(), &keys)
    }
}

/// What a reset looks like that answers `packet`.
fn reset_of(packet: &Packet) -> Packet {
    Packet {
        to_mac: ROUTER_MAC,
        from_mac: DIRECTOR_MAC,
        ip: Header {
            source: packet.ip.destination,
            destination: packet.ip.source,
            id: 0,
            ttl: 64,
            label: 0,
            ..packet.ip
        },
        transport: Transport::Tcp(RST),
        source_port: packet.destination_port,
        destination_port: packet.source_port,
        payload: 0,
        ..*packet
    }
}

#[test]
fn the_client_of_a_cut_connection_gets_a_reset() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for method in [Dr, Nat, Tun] {
        rig.clear();
        let web = web(method);
        rig.serve(&web);
        rig.run(&TCP_SYN.frame());
        rig.run(&TCP_SYN.with(ACK).frame());
        assert_eq!(rig.counts(&web, REAL), (1, 0));

        assert_eq!(rig.end_all(mode::CUT), 1, "{method:?}");
        assert_eq!(
            rig.counts(&web, REAL),
            (0, 0),
            "{method:?}: out of the counts at once"
        );
        let halves = if method == Nat { 2 } else { 1 };
        assert_eq!(rig.entries().len(), halves, "{method:?}: kept");
        assert_eq!(rig.end_all(mode::CUT), 0, "{method:?}: once only");

        let before = rig.drops("connection_cut");
        for (flags, payload) in [(ACK, 0), (ACK, 100), (FIN | ACK, 7), (SYN | ACK, 0)] {
            let segment = Packet {
                payload,
                ..TCP_SYN.with(flags)
            };
            let outcome = rig.run(&segment.frame());
            assert_eq!(outcome.verdict, Verdict::Tx, "{method:?} {flags:#x}");
            assert_eq!(
                judge::packet(&outcome.frame),
                reset_of(&segment),
                "{method:?}"
            );
        }
        assert_eq!(rig.drops("connection_cut"), before + 4);
        // An RST is never answered.
        let outcome = rig.run(&TCP_SYN.with(RST).frame());
        assert_eq!(outcome.verdict, Verdict::Drop);
        assert_eq!(rig.drops("connection_cut"), before + 5);

        // A SYN replaces it.
        let outcome = rig.run(&TCP_SYN.frame());
        assert_eq!(outcome.verdict, Verdict::Tx);
        assert_ne!(judge::packet(&outcome.frame).transport, Transport::Tcp(RST));
        assert_eq!(rig.counts(&web, REAL), (1, 0), "{method:?}");
        assert_eq!(rig.entries().len(), halves);
    }
}

/// The fields that RFC 9293 section 3.10.7.1 asks for.
#[test]
fn the_reset_s_numbers() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.serve(&web(Dr));
    rig.run(&TCP_SYN.frame());
    rig.end_all(mode::CUT);
    let numbers = |frame: &[u8]| {
        let at = |offset: usize| u32::from_be_bytes(frame[offset..offset + 4].try_into().unwrap());
        (at(38), at(42), frame[47])
    };
    let mut frame = Packet {
        payload: 9,
        ..TCP_SYN.with(ACK)
    }
    .frame();
    let (sequence, acknowledgment, _) = numbers(&frame);
    let reset = rig.run(&frame).frame;
    assert_eq!(numbers(&reset), (acknowledgment, 0, RST));
    // Without ACK: its checksum is not looked at here, nor by lbd.
    frame[47] = FIN;
    let reset = rig.run(&frame).frame;
    assert_eq!(numbers(&reset), (0, sequence + 10, RST | ACK));
}

#[test]
fn over_ipv6_too() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    let web = service("tcp:[2001:db8:a::10]:80", Rr, Dr, PORT, &[(REAL_V6, 1)]);
    rig.serve(&web);
    rig.run(&TCP_SYN_V6.frame());
    let mut input = vec![1, mode::CUT];
    input.resize(16, 0);
    let (key, _) = rig.entries_v6()[0];
    // SAFETY: plain data.
    let key: [u8; 40] = unsafe { std::mem::transmute(key) };
    input.extend(key);
    let ended = kernel::return_value(rig.programs.xdp(program::SWEEP_V6).unwrap(), &input);
    assert_eq!(ended, 1);
    assert_eq!(rig.counts(&web, REAL_V6), (0, 0));
    let segment = TCP_SYN_V6.with(ACK);
    let outcome = rig.run(&segment.frame());
    assert_eq!(judge::packet(&outcome.frame), reset_of(&segment));
}

/// Datagrams are scheduled anew.
#[test]
fn a_cut_datagram_s_connection_begins_anew() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for method in [Dr, Nat] {
        rig.clear();
        let reals = [(REAL, 1), (OTHER_REAL, 1)];
        let dns = service("udp:192.0.2.10:80", Rr, method, PORT, &reals);
        rig.serve(&dns);
        let first = judge::packet(&rig.run(&DATAGRAM.frame()).frame);
        assert_eq!(rig.end_all(mode::CUT), 1);
        let second = judge::packet(&rig.run(&DATAGRAM.frame()).frame);
        assert_ne!(
            first.to_mac, second.to_mac,
            "{method:?}: the next real's turn"
        );
        assert_eq!(rig.counts(&dns, REAL), (0, 0));
        assert_eq!(rig.counts(&dns, OTHER_REAL), (0, 1));
    }
}

/// What a real still sends on a cut connection goes nowhere.
#[test]
fn the_real_s_half_of_a_cut_connection_is_dropped() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.serve(&web(Nat));
    rig.run(&TCP_SYN.frame());
    rig.end_all(mode::CUT);
    let reply = Packet {
        ip: Header {
            source: REAL,
            destination: CLIENT,
            ..TCP_SYN.ip
        },
        source_port: REAL_PORT,
        destination_port: TCP_SYN.source_port,
        ..TCP_SYN.with(ACK)
    };
    assert_eq!(rig.run(&reply.frame()).verdict, Verdict::Drop);
    assert_eq!(rig.drops("connection_cut"), 1);
}

#[test]
fn a_doomed_connection_goes_with_its_next_packet() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for method in [Dr, Nat, Tun] {
        rig.clear();
        let web = web(method);
        rig.serve(&web);
        rig.run(&TCP_SYN.frame());
        rig.run(&TCP_SYN.with(ACK).frame());
        assert_eq!(rig.end_all(mode::DOOM), 1);
        assert_eq!(rig.counts(&web, REAL), (1, 0), "it counts until then");
        let before = rig.drops("real_deleted");
        let outcome = rig.run(&TCP_SYN.with(ACK).frame());
        assert_eq!(outcome.verdict, Verdict::Drop, "{method:?}");
        assert_eq!(rig.drops("real_deleted"), before + 1);
        assert_eq!(rig.counts(&web, REAL), (0, 0));
        assert!(rig.entries().is_empty(), "{method:?}");
        // The next SYN is scheduled.
        rig.run(&TCP_SYN.frame());
        assert_eq!(rig.counts(&web, REAL), (1, 0));
    }
    assert_eq!(VIP, TCP_SYN.ip.destination);
}
