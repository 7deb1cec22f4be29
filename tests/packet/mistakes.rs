//! The judge judged: it reads back what the sender made, and no bit of a frame
//! can be another without its noticing.

use std::panic;

use crate::{
    extension::{Chain, Extension},
    judge,
    packet::{END, Encapsulation, Header, Outer, Packet, Transport},
    world::{
        DATAGRAM, DATAGRAM_V6, LOCAL, LOCAL_V6, REAL, REAL_V6, SCTP_INIT, SCTP_INIT_V6, TCP_SYN,
        TCP_SYN_V6,
    },
};

const OUTER: Outer = Outer {
    ip: Header {
        source: LOCAL,
        destination: REAL,
        ..TCP_SYN.ip
    },
    encapsulation: Encapsulation::Ip,
};
const OUTER_V6: Outer = Outer {
    ip: Header {
        source: LOCAL_V6,
        destination: REAL_V6,
        ..TCP_SYN_V6.ip
    },
    encapsulation: Encapsulation::Ip,
};

const fn tunnelled(packet: Packet, outer: Outer, encapsulation: Encapsulation) -> Packet {
    Packet {
        outer: Some(Outer {
            encapsulation,
            ..outer
        }),
        ..packet
    }
}

/// One of everything.
fn packets() -> Vec<Packet> {
    let echo = |packet, kind| Packet {
        transport: Transport::Icmp {
            kind,
            code: 0,
            word: 0x0102_0304,
        },
        source_port: 0,
        destination_port: 0,
        ..packet
    };
    let gue = |checksum| Encapsulation::Gue {
        port: 6080,
        checksum,
    };
    let gre = |checksum| Encapsulation::Gre { checksum };
    let all = Chain::of(&[
        Extension::HopByHop(1),
        Extension::Destination(0),
        Extension::Routing(2),
        Extension::Fragment,
        Extension::Authentication,
        Extension::Destination(1),
    ]);
    let everything = Packet {
        ip: Header {
            id: 0x0123_4567,
            ..TCP_SYN_V6.ip
        },
        extensions: all,
        ..DATAGRAM_V6
    };
    vec![
        TCP_SYN,
        TCP_SYN_V6,
        DATAGRAM.payload(7),
        DATAGRAM_V6.payload(7),
        SCTP_INIT.payload(17),
        SCTP_INIT_V6.payload(18),
        echo(DATAGRAM, 8),
        echo(DATAGRAM_V6, 128),
        Packet {
            option_words: 3,
            ..TCP_SYN
        },
        everything,
        TCP_SYN.tagged(0x2007),
        DATAGRAM_V6.tagged_twice(0x0001, 0xe002),
        tunnelled(TCP_SYN, OUTER, Encapsulation::Ip),
        tunnelled(TCP_SYN_V6, OUTER, Encapsulation::Ip),
        tunnelled(TCP_SYN, OUTER_V6, gue(true)),
        tunnelled(everything, OUTER, gue(true)),
        tunnelled(SCTP_INIT, OUTER_V6, gre(false)),
        tunnelled(SCTP_INIT_V6.tagged(1), OUTER_V6, gre(true)),
    ]
}

#[test]
fn what_was_sent_is_read() {
    for packet in packets() {
        for padding in [0, 1, 46] {
            let packet = Packet { padding, ..packet };
            assert_eq!(judge::packet(&packet.frame()), packet);
        }
    }
    let unsummed = Packet {
        transport: Transport::UdpUnsummed,
        ..DATAGRAM
    };
    let gue = Encapsulation::Gue {
        port: 5555,
        checksum: false,
    };
    for packet in [unsummed, tunnelled(DATAGRAM, OUTER_V6, gue)] {
        assert_eq!(judge::packet(&packet.frame()), packet);
    }
}

#[test]
fn every_bit_matters() {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    for packet in packets() {
        let frame = packet.frame();
        for bit in 0..frame.len() * 8 {
            let mut wrong = frame.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            let read = panic::catch_unwind(|| judge::packet(&wrong));
            if read.is_ok_and(|read| read == packet) {
                missed.push((packet, bit));
            }
        }
        for length in 0..frame.len() {
            let read = panic::catch_unwind(|| judge::packet(&frame[..length]));
            assert!(read.is_err(), "{length} bytes of {packet:?}");
        }
    }
    panic::set_hook(hook);
    assert_eq!(missed, []);
}

/// Datagrams put together again from the fragments that the sender makes of
/// them are whole, in either family.
#[test]
fn fragments_are_parts_of_the_whole() {
    let with_headers = Packet {
        extensions: Chain::of(&[
            Extension::HopByHop(0),
            Extension::Fragment,
            Extension::Destination(2),
        ]),
        ..DATAGRAM_V6
    };
    for packet in [DATAGRAM, DATAGRAM_V6, with_headers] {
        let packet = packet.payload(100);
        let parts = [(0, 16), (16, 64), (64, END)];
        let fragments = parts.map(|(from, to)| judge::fragment(&packet.part(from, to).frame()));
        let offsets = fragments.each_ref().map(|part| (part.offset, part.more));
        assert_eq!(offsets, [(0, true), (16, true), (64, false)]);
        let bytes: Vec<u8> = fragments
            .iter()
            .flat_map(|part| &part.bytes)
            .copied()
            .collect();
        let frame = packet.frame();
        let (_, whole) = crate::layers::read(&frame);
        assert!(bytes.ends_with(whole.payload), "{packet:?}");
    }
}
