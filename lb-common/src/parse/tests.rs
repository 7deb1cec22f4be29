//! The parsers on frames that are nearly right: headers whose types and lengths
//! are drawn from the few values that lead on, cut anywhere.

use core::net::IpAddr;

use proptest::{prelude::*, sample::select};

use super::{Datagram, Family, Flow, Part, SliceFrame, V4, V6, flow, link};
use crate::{
    flow::FlowKey as _,
    limits::MAX_EXTENSION_HEADERS,
    wire::{ethernet::ethertype, protocol},
};

/// RFC 1071 by the book.
fn checksum(header: &[u8]) -> [u8; 2] {
    let sum: u32 = header
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    (!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes()
}

fn tags() -> impl Strategy<Value = Vec<u8>> {
    let tag = (select(vec![[0x81, 0x00], [0x88, 0xa8]]), any::<[u8; 2]>());
    prop::collection::vec(tag, 0..4).prop_map(|tags| {
        tags.into_iter()
            .flat_map(|(protocol, control)| [protocol, control].concat())
            .collect()
    })
}

fn transport() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let number = select(vec![
        protocol::TCP,
        protocol::TCP,
        protocol::UDP,
        protocol::UDP,
        protocol::SCTP,
        protocol::ICMP,
        protocol::ICMPV6,
    ]);
    let length = prop_oneof![4 => 20usize..80, 1 => 0usize..80];
    let mut bytes = length
        .prop_flat_map(|length| prop::collection::vec(any::<u8>(), length))
        .boxed();
    bytes = (
        bytes,
        select(vec![0x50, 0x50, 0x60, 0xf0, 0x40]),
        prop_oneof![3 => 8u16..20, 1 => 0u16..90],
    )
        .prop_map(|(mut bytes, offset, length)| {
            if let Some(octet) = bytes.get_mut(12) {
                *octet = offset;
            }
            if let Some(field) = bytes.get_mut(4..6) {
                field.copy_from_slice(&length.to_be_bytes());
            }
            bytes
        })
        .boxed();
    (number, bytes)
}

/// How far a stated length is off, mostly not at all.
fn error() -> impl Strategy<Value = i16> {
    prop_oneof![10 => Just(0i16), 1 => -40i16..40, 1 => any::<i16>()]
}

fn ipv4() -> impl Strategy<Value = Vec<u8>> {
    let fragment = select(vec![0x4000u16, 0, 0x2000, 0x2001, 0x1fff]);
    let options = prop::collection::vec(any::<[u8; 4]>(), 0..=10);
    (
        transport(),
        fragment,
        options,
        any::<[u8; 8]>(),
        error(),
        0u8..20,
    )
        .prop_map(
            |((number, payload), fragment, options, addresses, error, wrong)| {
                let words = 5 + options.len() as u8;
                let length = 20 + options.len() * 4 + payload.len();
                let mut bytes = vec![0x40 | words, 0];
                bytes.extend((length as u16).wrapping_add_signed(error).to_be_bytes());
                bytes.extend([0, 7]);
                bytes.extend(fragment.to_be_bytes());
                bytes.extend([64, number, 0, 0]);
                bytes.extend(addresses);
                bytes.extend(options.into_iter().flatten());
                let field = checksum(&bytes);
                bytes[10..12].copy_from_slice(&field);
                if wrong == 0 {
                    bytes[10] ^= 1;
                }
                bytes.extend(payload);
                bytes
            },
        )
}

fn extension() -> impl Strategy<Value = (u8, u8, [u8; 6])> {
    let number = select(vec![
        protocol::HOP_BY_HOP,
        protocol::ROUTING,
        protocol::FRAGMENT,
        protocol::AUTHENTICATION,
        protocol::DESTINATION_OPTIONS,
    ]);
    let length = prop_oneof![4 => 0u8..3, 1 => any::<u8>()];
    let rest = prop_oneof![Just([0; 6]), any::<[u8; 6]>()];
    (number, length, rest)
}

fn ipv6() -> impl Strategy<Value = Vec<u8>> {
    let extensions = prop_oneof![3 => 0usize..3, 1 => 0usize..11]
        .prop_flat_map(|number| prop::collection::vec(extension(), number));
    (
        transport(),
        extensions,
        any::<[u8; 16]>(),
        any::<[u8; 16]>(),
        error(),
    )
        .prop_map(
            |((number, payload), extensions, source, destination, error)| {
                let numbers: Vec<u8> = extensions.iter().map(|e| e.0).chain([number]).collect();
                let mut behind = Vec::new();
                for ((number, length, rest), next) in extensions.iter().zip(&numbers[1..]) {
                    let bytes = match *number {
                        protocol::FRAGMENT => 8,
                        protocol::AUTHENTICATION => (usize::from(*length) + 2) * 4,
                        _ => (usize::from(*length) + 1) * 8,
                    };
                    let end = behind.len() + bytes;
                    behind.extend([*next, *length]);
                    behind.extend(rest);
                    behind.resize(end, 0);
                }
                behind.extend(payload);
                let mut bytes = vec![0x60, 0, 0, 0];
                bytes.extend(
                    (behind.len() as u16)
                        .wrapping_add_signed(error)
                        .to_be_bytes(),
                );
                bytes.extend([numbers[0], 64]);
                bytes.extend(source);
                bytes.extend(destination);
                bytes.extend(behind);
                bytes
            },
        )
}

/// A frame, and how much of it there is, in thousandths.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let network = prop_oneof![
        ipv4().prop_map(|bytes| ([0x08, 0x00], bytes)),
        ipv6().prop_map(|bytes| ([0x86, 0xdd], bytes)),
        prop::collection::vec(any::<u8>(), 0..64).prop_map(|bytes| ([0x08, 0x00], bytes)),
    ];
    let kept = prop_oneof![6 => Just(1000usize), 1 => 0..1000usize];
    (any::<[u8; 11]>(), tags(), network, kept).prop_map(
        |(addresses, tags, (ethertype, network), kept)| {
            let mut frame = vec![2];
            frame.extend(addresses);
            frame.extend(tags);
            frame.extend(ethertype);
            frame.extend(network);
            frame.truncate(frame.len() * kept / 1000);
            frame
        },
    )
}

/// What holds for every datagram that the parser takes.
fn check<F: Family>(frame: &[u8], network: usize, addresses: usize, width: usize) {
    let view = SliceFrame(frame);
    let Some(datagram) = F::datagram(&view, network) else {
        return;
    };
    let Datagram {
        header,
        length,
        payload,
        payload_length,
        protocol,
        fragment,
    } = datagram;
    let end = network + usize::from(length);
    assert_eq!(header.as_ptr() as usize, frame.as_ptr() as usize + network);
    assert!(end <= frame.len(), "{length} bytes");
    assert!(payload >= network + usize::from(F::HEADER_BYTES));
    assert_eq!(payload + usize::from(payload_length), end);
    assert!(payload - network <= 40 + MAX_EXTENSION_HEADERS as usize * 2048);

    let datagram = Datagram {
        header,
        length,
        payload,
        payload_length,
        protocol,
        fragment,
    };
    let Some(flow): Option<Flow<F>> = flow(&view, &datagram) else {
        return;
    };
    let least = match protocol {
        protocol::TCP => 20,
        protocol::UDP => 8,
        protocol::SCTP => 16,
        other => panic!("a flow of protocol {other}"),
    };
    assert!(payload_length >= least);
    let word = |at: usize| u16::from_be_bytes([frame[payload + at], frame[payload + at + 1]]);
    assert_eq!(flow.key.source().port.get(), word(0));
    assert_eq!(flow.key.destination().port.get(), word(2));
    let address = |from: usize| read(&frame[network + from..network + from + width]);
    assert_eq!(IpAddr::from(flow.key.source().address), address(addresses));
    assert_eq!(
        IpAddr::from(flow.key.destination().address),
        address(addresses + width)
    );
    assert_eq!(flow.length, length);
    match protocol {
        protocol::TCP => {
            let header = u16::from(frame[payload + 12] >> 4) * 4;
            assert!((20..=payload_length).contains(&header));
            assert_eq!(flow.segment, frame[payload + 13]);
        }
        protocol::UDP => {
            assert!(word(4) >= 8);
            assert!(word(4) <= payload_length || fragment.part == Part::First);
        }
        _ => assert_eq!(flow.segment, frame[payload + 12]),
    }
}

fn read(bytes: &[u8]) -> IpAddr {
    match <[u8; 4]>::try_from(bytes) {
        Ok(octets) => octets.into(),
        Err(_) => <[u8; 16]>::try_from(bytes).expect("16 bytes").into(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn nothing_lies_outside_of_the_frame(frame in frame()) {
        if let Some(link) = link(&SliceFrame(&frame)) {
            prop_assert!(link.tags <= 2 && link.network() <= frame.len());
            match link.ethertype {
                ethertype::IPV4 => check::<V4>(&frame, link.network(), 12, 4),
                ethertype::IPV6 => check::<V6>(&frame, link.network(), 8, 16),
                _ => {}
            }
        }
    }

    #[test]
    fn quotations_are_read_within_their_bounds(
        frame in frame(),
        at in 0usize..80,
        bytes in 0usize..200,
    ) {
        let view = SliceFrame(&frame);
        let end = at + bytes;
        let last = end.min(frame.len());
        if let Some(quoted) = V4::quoted(&view, at, end) {
            prop_assert!(at + 20 <= last);
            prop_assert_eq!(quoted.key(&view).is_some(), quoted.payload + 8 <= last);
        }
        if let Some(quoted) = V6::quoted(&view, at, end) {
            prop_assert!(at + 40 <= last);
            prop_assert_eq!(quoted.key(&view).is_some(), quoted.payload + 8 <= last);
        }
    }
}
