//! The way of a probe to the VIP through its real, and of its answer: programs of
//! traffic control.

use std::{thread, time::Duration};

use aya::programs::{TestRun as _, TestRunOptions};
use lb_daemon::{
    config::model::{Tunnel, TunnelKind},
    dataplane::probe_path::{ProbePath, Redirect, mark},
};
use lb_tests::privilege;

use crate::{
    judge,
    packet::{END, Encapsulation, Header, Ip, Outer, Packet, Transport},
    quotations,
    world::{
        CLIENT, CLIENT_V6, DATAGRAM, LOCAL, LOCAL_V6, OTHER_REAL, PORT, REAL, REAL_V6, SCTP_INIT,
        TCP_SYN, TCP_SYN_V6, VIP, VIP_V6,
    },
};

/// The probes' marks by family, and one without a redirect.
const MARKS: [u32; 2] = [mark(1), mark(2)];
const NOBODYS: u32 = mark(3);

const OUT: &str = "lbd_probe_out";
const IN: &str = "lbd_probe_in";

/// What a program made of a packet.
#[derive(Debug, PartialEq)]
enum Did {
    /// As it was, to other programs.
    LeftAlone,
    Changed(Vec<u8>),
    Dropped,
}

struct Rig {
    path: ProbePath,
}

impl Rig {
    /// None where tests are to be skipped.
    fn new(tunnel: Option<Tunnel>, timeout: Duration) -> Option<Self> {
        if !privilege::bpf() {
            return None;
        }
        let mut path = ProbePath::start(&[]).unwrap();
        let redirects = [(VIP, REAL), (VIP_V6, REAL_V6)].map(|(vip, real)| Redirect {
            vip,
            real,
            tunnel,
            timeout,
        });
        for (mark, redirect) in MARKS.into_iter().zip(redirects) {
            path.insert(mark, redirect).unwrap();
        }
        Some(Self { path })
    }

    #[track_caller]
    fn run(&mut self, program: &str, mark: u32, frame: &[u8]) -> Did {
        let before = self.path.counts().unwrap();
        let mut out = vec![0; frame.len() + 256];
        // `struct __sk_buff`: len, pkt_type, mark.
        let context: Vec<u8> = [0, 0, mark]
            .into_iter()
            .flat_map(u32::to_ne_bytes)
            .collect();
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        };
        let result = self
            .path
            .program(program)
            .unwrap()
            .test_run(options)
            .unwrap();
        out.truncate(result.data_size_out as usize);
        let after = self.path.counts().unwrap();
        let counted = [
            after.redirected - before.redirected,
            after.answered - before.answered,
            after.dropped - before.dropped,
        ];
        // `TC_ACT_UNSPEC` and `TC_ACT_SHOT` of linux/pkt_cls.h.
        match (result.return_value.cast_signed(), counted) {
            (-1, [0, 0, 0]) => {
                assert_eq!(out, frame, "changed and not counted");
                Did::LeftAlone
            }
            (-1, [1, 0, 0]) if program == OUT => Did::Changed(out),
            (-1, [0, 1, 0]) if program == IN => Did::Changed(out),
            (2, [0, 0, 1]) => Did::Dropped,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn send(&mut self, packet: &Packet) -> Did {
        let mark = MARKS[usize::from(packet.ip.is_ipv6())];
        self.run(OUT, mark, &packet.frame())
    }

    #[track_caller]
    fn receive(&mut self, packet: &Packet) -> Did {
        self.run(IN, 0, &packet.frame())
    }
}

const LONG: Duration = Duration::from_secs(60);

/// Payloads of odd lengths: the last octet is half of a sum's word.
fn probes() -> Vec<Packet> {
    let families = [(TCP_SYN, LOCAL, REAL), (TCP_SYN_V6, LOCAL_V6, REAL_V6)];
    let mut probes = Vec::new();
    for (packet, source, destination) in families {
        let echo = Transport::Icmp {
            kind: if source.is_ipv6() { 128 } else { 8 },
            code: 0,
            word: 0xabcd_0001,
        };
        for transport in [
            TCP_SYN.transport,
            Transport::Udp,
            Transport::UdpUnsummed,
            echo,
        ] {
            // Over IPv6 there is no datagram without a checksum.
            if source.is_ipv6() && transport == Transport::UdpUnsummed {
                continue;
            }
            let (source_port, destination_port) = match transport {
                Transport::Icmp { .. } => (0, 0),
                Transport::UdpUnsummed => (40_002, PORT),
                _ => (40_001, PORT),
            };
            probes.push(Packet {
                ip: Header {
                    source,
                    destination,
                    tos: 0x10,
                    ..packet.ip
                },
                transport,
                source_port,
                destination_port,
                payload: 33,
                ..packet
            });
        }
    }
    probes
}

fn vip(packet: &Packet) -> Ip {
    if packet.ip.is_ipv6() { VIP_V6 } else { VIP }
}

fn to(packet: &Packet, destination: Ip) -> Packet {
    Packet {
        ip: Header {
            destination,
            ..packet.ip
        },
        ..*packet
    }
}

/// What the server at `source` answers.
fn answer(packet: &Packet, source: Ip) -> Packet {
    let transport = match packet.transport {
        Transport::Icmp { kind, code, word } => Transport::Icmp {
            kind: if kind == 8 { 0 } else { 129 },
            code,
            word,
        },
        other => other,
    };
    Packet {
        ip: Header {
            source,
            destination: packet.ip.source,
            ..packet.ip
        },
        transport,
        source_port: packet.destination_port,
        destination_port: packet.source_port,
        payload: 1001,
        ..*packet
    }
}

#[track_caller]
fn assert_becomes(did: Did, wanted: &Packet) {
    match did {
        Did::Changed(frame) => assert_eq!(judge::packet(&frame), *wanted),
        other => panic!("{other:?}, wanted {wanted:?}"),
    }
}

#[test]
fn a_probe_goes_to_the_vip_and_its_answer_comes_back() {
    let Some(mut rig) = Rig::new(None, LONG) else {
        return;
    };
    for probe in probes() {
        let answered = answer(&probe, vip(&probe));
        assert_eq!(rig.receive(&answered), Did::LeftAlone, "before");
        assert_becomes(rig.send(&probe), &to(&probe, vip(&probe)));
        for _ in 0..2 {
            let real = answer(&probe, probe.ip.destination);
            assert_becomes(rig.receive(&answered), &real);
        }
        // Another's.
        let other_port = Packet {
            destination_port: 40_003,
            ..answered
        };
        let other_host = Packet {
            ip: Header {
                destination: if answered.ip.is_ipv6() {
                    CLIENT_V6
                } else {
                    CLIENT
                },
                ..answered.ip
            },
            ..answered
        };
        if probe.source_port != 0 {
            assert_eq!(rig.receive(&other_port), Did::LeftAlone);
        }
        assert_eq!(rig.receive(&other_host), Did::LeftAlone);
    }
}

#[test]
fn under_tun_it_goes_in_the_tunnel() {
    let kinds = [
        (TunnelKind::Ipip, false, Encapsulation::Ip),
        (
            TunnelKind::Gue,
            false,
            Encapsulation::Gue {
                port: 6081,
                checksum: false,
            },
        ),
        (
            TunnelKind::Gue,
            true,
            Encapsulation::Gue {
                port: 6081,
                checksum: true,
            },
        ),
        (
            TunnelKind::Gre,
            false,
            Encapsulation::Gre { checksum: false },
        ),
        (TunnelKind::Gre, true, Encapsulation::Gre { checksum: true }),
    ];
    for (kind, checksum, encapsulation) in kinds {
        let tunnel = Tunnel {
            kind,
            port: 6081,
            checksum,
        };
        let Some(mut rig) = Rig::new(Some(tunnel), LONG) else {
            return;
        };
        for probe in probes() {
            if checksum && probe.transport == Transport::UdpUnsummed {
                assert_eq!(rig.send(&probe), Did::Dropped);
                continue;
            }
            let outer = Outer {
                ip: Header {
                    id: 0,
                    df: !probe.ip.is_ipv6(),
                    label: 0,
                    ..probe.ip
                },
                encapsulation,
            };
            let wanted = Packet {
                outer: Some(outer),
                ..to(&probe, vip(&probe))
            };
            assert_becomes(rig.send(&probe), &wanted);
            let answered = rig.receive(&answer(&probe, vip(&probe)));
            assert_becomes(answered, &answer(&probe, probe.ip.destination));
        }
    }
}

/// Sent on, it would be answered by the real's own address.
#[test]
fn a_probe_that_cannot_go_there_is_dropped() {
    let Some(mut rig) = Rig::new(None, LONG) else {
        return;
    };
    for probe in probes() {
        assert_eq!(rig.run(OUT, NOBODYS, &probe.frame()), Did::Dropped);
        let from_vip = Packet {
            ip: Header {
                source: vip(&probe),
                ..probe.ip
            },
            ..probe
        };
        assert_eq!(rig.send(&from_vip), Did::Dropped);
        let fragment = probe.fragmentable(7);
        if !probe.ip.is_ipv6() {
            assert_eq!(rig.send(&fragment.part(0, 16)), Did::Dropped);
            assert_eq!(rig.send(&fragment.part(16, END)), Did::Dropped);
            assert_eq!(rig.send(&probe.options(1)), Did::Dropped);
        }
    }
    let sctp = Packet {
        transport: SCTP_INIT.transport,
        payload: SCTP_INIT.payload,
        ..probes()[0]
    };
    assert_eq!(rig.send(&sctp), Did::Dropped);
}

#[test]
fn all_else_is_left_alone() {
    let Some(mut rig) = Rig::new(None, LONG) else {
        return;
    };
    for probe in probes() {
        for mark in [0, 1, MARKS[0] ^ 1 << 16, MARKS[0] ^ 1 << 31] {
            assert_eq!(rig.run(OUT, mark, &probe.frame()), Did::LeftAlone);
        }
        // Through another interface with the program, or somebody else's.
        let elsewhere = to(&probe, vip(&probe));
        assert_eq!(rig.send(&elsewhere), Did::LeftAlone);
    }
    assert_eq!(rig.send(&to(&probes()[0], OTHER_REAL)), Did::LeftAlone);
    let mut question = DATAGRAM.frame();
    // ARP.
    question[12..14].copy_from_slice(&[0x08, 0x06]);
    assert_eq!(rig.run(OUT, MARKS[0], &question), Did::LeftAlone);
    assert_eq!(rig.run(IN, 0, &question), Did::LeftAlone);
}

#[test]
fn an_answer_that_nobody_waits_for_any_more_is_left_alone() {
    // And five seconds, which are for the end of a connection.
    let Some(mut rig) = Rig::new(None, Duration::ZERO) else {
        return;
    };
    let probe = probes()[0];
    rig.send(&probe);
    let answered = answer(&probe, VIP);
    assert_ne!(rig.receive(&answered), Did::LeftAlone);
    thread::sleep(Duration::from_millis(5100));
    assert_eq!(rig.receive(&answered), Did::LeftAlone);
    rig.send(&probe);
    assert_ne!(rig.receive(&answered), Did::LeftAlone);
    for mark in MARKS {
        rig.path.remove(mark).unwrap();
    }
    assert_eq!(rig.receive(&answered), Did::LeftAlone);
    assert_eq!(rig.send(&probe), Did::Dropped);
}

/// Whoever sends it: the real by its VIP, or a router.
#[test]
fn an_error_about_a_probe_comes_back_as_about_the_real() {
    let Some(mut rig) = Rig::new(None, LONG) else {
        return;
    };
    for probe in probes() {
        rig.send(&probe);
        let is_ipv6 = probe.ip.is_ipv6();
        let kind = if is_ipv6 { (1, 4, 0) } else { (3, 3, 0) };
        let real = probe.ip.destination;
        for sender in [None, Some(vip(&probe))] {
            let about = |quoted: &Packet| {
                let quoted = quoted.ttl(60);
                let mut message = quotations::about(&quoted, kind, probe.ip.source, usize::MAX);
                if let Some(sender) = sender {
                    message.packet.ip.source = sender;
                }
                message
            };
            let sent = about(&to(&probe, vip(&probe)));
            let mut wanted = about(&probe);
            if sender.is_some() {
                wanted.packet.ip.source = real;
            }
            // The transport's checksum stays: a quotation rarely has what it covers.
            let header = if is_ipv6 { 40 } else { 20 };
            let sum = match probe.transport {
                Transport::Tcp(_) => 16,
                Transport::Udp | Transport::UdpUnsummed => 6,
                _ => 2,
            };
            let at = header + sum..header + sum + 2;
            wanted.quote[at.clone()].copy_from_slice(&sent.quote[at]);
            match rig.run(IN, 0, &sent.frame()) {
                Did::Changed(frame) => assert_eq!(judge::message(&frame), wanted),
                other => panic!("{other:?}: {sent:?}"),
            }
            // About what no probe has sent.
            let other = Packet {
                source_port: 40_003,
                ..to(&probe, vip(&probe))
            };
            if probe.source_port != 0 {
                let frame = about(&other).frame();
                assert_eq!(rig.run(IN, 0, &frame), Did::LeftAlone);
            }
        }
    }
}
