//! What is not for a service goes to the kernel as it came, to the byte: other
//! protocols, and whatever is malformed.

use lb_daemon::config::model::{
    ForwardingMethod::{Dr, Nat, Tun},
    Scheduler::Rr,
};
use lb_tests::privilege;

use crate::{
    kernel::Verdict,
    packet::{ACK, Header, Packet, Transport},
    rig::{Rig, service},
    world::{
        CLIENT, DATAGRAM, DATAGRAM_V6, PORT, REAL, ROUTER_MAC, SCTP_INIT, SCTP_INIT_V6, TCP_SYN,
        TCP_SYN_V6, VIP,
    },
};

/// Bytes of a frame by their place: Ethernet, IPv4, and what follows.
const IP: usize = 14;
const TRANSPORT: usize = 34;

impl Rig {
    #[track_caller]
    fn passes(&mut self, what: &str, frame: &[u8]) {
        let outcome = self.run(frame);
        assert_eq!(outcome.verdict, Verdict::Pass, "{what}");
        assert_eq!(outcome.frame, frame, "{what}");
    }
}

/// Runs a test on tcp and udp services with a connection established each, in
/// one method after the other.
fn in_each_method(mut test: impl FnMut(&mut Rig)) {
    let mut rig = Rig::shared();
    for method in [Dr, Nat, Tun] {
        rig.clear();
        for id in ["tcp:192.0.2.10:80", "udp:192.0.2.10:80"] {
            rig.serve(&service(id, Rr, method, PORT, &[(REAL, 1)]));
        }
        for packet in [TCP_SYN, TCP_SYN.with(ACK), DATAGRAM] {
            assert_eq!(rig.run(&packet.frame()).verdict, Verdict::Tx);
        }
        test(&mut rig);
    }
}

/// The frame with some of its bytes changed and the IPv4 checksum made right
/// again.
fn changed(packet: Packet, change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut frame = packet.frame();
    change(&mut frame);
    frame[IP + 10..IP + 12].fill(0);
    let header = (usize::from(frame[IP] & 0xf) * 4).clamp(20, frame.len() - IP);
    let sum: u32 = frame[IP..IP + header]
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let sum = !(((sum & 0xffff) + (sum >> 16)) as u16);
    frame[IP + 10..IP + 12].copy_from_slice(&sum.to_be_bytes());
    frame
}

#[test]
fn other_destinations() {
    if !privilege::bpf() {
        return;
    }
    let elsewhere = |packet: Packet| Packet {
        ip: Header {
            destination: REAL,
            ..packet.ip
        },
        ..packet
    };
    in_each_method(|rig| {
        for packet in [TCP_SYN, DATAGRAM] {
            rig.passes(
                "another port",
                &Packet {
                    destination_port: 22,
                    ..packet
                }
                .frame(),
            );
            rig.passes(
                "port 0",
                &Packet {
                    destination_port: 0,
                    ..packet
                }
                .frame(),
            );
            rig.passes("another address", &elsewhere(packet).frame());
            let back = Packet {
                ip: Header {
                    source: VIP,
                    destination: CLIENT,
                    ..packet.ip
                },
                source_port: PORT,
                destination_port: packet.source_port,
                ..packet
            };
            rig.passes("the other way round", &back.frame());
        }
        assert_eq!(rig.all_drops(), []);
    });
    // A port that only the other protocol has.
    let mut rig = Rig::shared();
    rig.serve(&service("udp:192.0.2.10:80", Rr, Dr, PORT, &[(REAL, 1)]));
    rig.passes("TCP to a UDP service", &TCP_SYN.frame());
    assert_eq!(
        Rig::shared().run(&TCP_SYN.frame()).verdict,
        Verdict::Pass,
        "no service at all"
    );
}

#[test]
fn other_protocols() {
    if !privilege::bpf() {
        return;
    }
    let icmp = |packet: Packet, kind, payload| Packet {
        transport: Transport::Icmp {
            kind,
            code: 0,
            word: 0x0001_0002,
        },
        source_port: 0,
        destination_port: 0,
        payload,
        ..packet
    };
    let mut frames = vec![
        ("ping to the VIP", icmp(TCP_SYN, 8, 40).frame()),
        ("ping to an IPv6 address", icmp(TCP_SYN_V6, 128, 40).frame()),
        (
            "neighbour discovery",
            icmp(TCP_SYN_V6.ttl(255), 135, 20).frame(),
        ),
        ("TCP over IPv6", TCP_SYN_V6.frame()),
        ("UDP over IPv6", DATAGRAM_V6.frame()),
        ("SCTP", SCTP_INIT.frame()),
        ("SCTP over IPv6", SCTP_INIT_V6.frame()),
        ("three VLAN tags", thrice_tagged()),
    ];
    frames.push(("ARP", arp()));
    for protocol in (0..=u8::MAX).filter(|protocol| ![6, 17].contains(protocol)) {
        let frame = changed(DATAGRAM, |frame| frame[IP + 9] = protocol);
        frames.push(("another IP protocol", frame));
    }
    for ether_type in [0x0000, 0x05dc, 0x0801, 0x8847, 0x8863, 0x88cc, 0xffff_u16] {
        let mut frame = TCP_SYN.frame();
        frame[12..14].copy_from_slice(&ether_type.to_be_bytes());
        frames.push(("another EtherType", frame));
    }
    in_each_method(|rig| {
        for (what, frame) in &frames {
            rig.passes(what, frame);
        }
        assert_eq!(rig.all_drops(), []);
    });
}

fn thrice_tagged() -> Vec<u8> {
    let mut frame = TCP_SYN.tagged_twice(1, 2).frame();
    frame.splice(12..12, [0x88, 0xa8, 0, 3]);
    frame
}

/// An ARP request for the VIP.
fn arp() -> Vec<u8> {
    use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, PacketBuilder, ether_type};
    let request = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        ether_type::IPV4,
        ArpOperation::REQUEST,
        &ROUTER_MAC,
        &[198, 51, 100, 7],
        &[0; 6],
        &[192, 0, 2, 10],
    );
    let mut frame = Vec::new();
    let ethernet = PacketBuilder::ethernet2(ROUTER_MAC, [0xff; 6]);
    ethernet.arp(request.unwrap()).write(&mut frame).unwrap();
    frame.resize(60, 0);
    frame
}

/// Every prefix of a valid frame, long enough for an Ethernet header.
#[test]
fn truncated() {
    if !privilege::bpf() {
        return;
    }
    let packets = [
        TCP_SYN,
        TCP_SYN.port(1),
        TCP_SYN.with(ACK),
        DATAGRAM,
        DATAGRAM.port(1),
        Packet {
            option_words: 10,
            payload: 7,
            ..TCP_SYN.with(ACK)
        },
        Packet {
            option_words: 10,
            payload: 7,
            ..DATAGRAM
        },
    ];
    in_each_method(|rig| {
        let entries = rig.entries().len();
        for packet in packets {
            let frame = packet.frame();
            for length in 14..frame.len() {
                rig.passes(&format!("{length} bytes of {packet:?}"), &frame[..length]);
            }
        }
        assert_eq!((rig.entries().len(), rig.all_drops()), (entries, vec![]));
    });
}

#[test]
fn malformed() {
    if !privilege::bpf() {
        return;
    }
    // Where in the frame, and what is put there.
    let cases: [(&str, Packet, usize, &[u8]); 22] = [
        ("IP version 0", TCP_SYN, IP, &[0x05]),
        ("IP version 6", TCP_SYN, IP, &[0x65]),
        ("a header of 0 bytes", TCP_SYN, IP, &[0x40]),
        ("a header of 16 bytes", TCP_SYN, IP, &[0x44]),
        ("a header to the datagram's end", TCP_SYN, IP, &[0x4a]),
        ("a header beyond the datagram's end", TCP_SYN, IP, &[0x4f]),
        ("total length 0", TCP_SYN, IP + 2, &[0, 0]),
        ("total length below the header's", TCP_SYN, IP + 3, &[19]),
        ("total length of the header alone", TCP_SYN, IP + 3, &[20]),
        ("total length within TCP's header", TCP_SYN, IP + 3, &[39]),
        ("total length beyond the frame", TCP_SYN, IP + 3, &[41]),
        ("the largest total length", TCP_SYN, IP + 2, &[0xff, 0xff]),
        ("total length within UDP's header", DATAGRAM, IP + 3, &[27]),
        ("a UDP header beyond the frame", DATAGRAM, IP + 3, &[61]),
        ("TCP data offset 0", TCP_SYN, TRANSPORT + 12, &[0x00]),
        ("TCP data offset 4", TCP_SYN, TRANSPORT + 12, &[0x40]),
        (
            "TCP options beyond the datagram's end",
            TCP_SYN,
            TRANSPORT + 12,
            &[0x60],
        ),
        ("TCP options far beyond", TCP_SYN, TRANSPORT + 12, &[0xf0]),
        ("UDP length 0", DATAGRAM, TRANSPORT + 5, &[0]),
        (
            "UDP length below its header's",
            DATAGRAM,
            TRANSPORT + 5,
            &[7],
        ),
        (
            "UDP length beyond the datagram's end",
            DATAGRAM,
            TRANSPORT + 5,
            &[41],
        ),
        (
            "the largest UDP length",
            DATAGRAM,
            TRANSPORT + 4,
            &[0xff, 0xff],
        ),
    ];
    in_each_method(|rig| {
        let entries = rig.entries().len();
        for (what, packet, at, bytes) in cases {
            let change = |frame: &mut [u8]| frame[at..at + bytes.len()].copy_from_slice(bytes);
            rig.passes(what, &changed(packet, change));
            rig.passes(what, &changed(packet.port(1), change));
        }
        assert_eq!((rig.entries().len(), rig.all_drops()), (entries, vec![]));
    });
}
