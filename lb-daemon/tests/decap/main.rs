//! The decapsulator's program, packet by packet: rows of what goes in and what
//! must become of it. Loading it takes root.

mod frames;
mod hostile;
mod rig;

use frames::{FAMILIES, Family, Shim, TAGGED, TWICE_TAGGED, Tunnelled, UNTAGGED, gre, shims};
use lb_tests::privilege;
use rig::{Did, Rig};

#[track_caller]
fn assert_unwraps(rig: &mut Rig, what: &str, packet: &Tunnelled) {
    let wanted = Did::Unwrapped(packet.unwrapped(packet.inner_ecn));
    let did = rig.run(&packet.frame());
    assert!(
        did == wanted,
        "{what}: {packet:?}\n{did:02x?}\n{wanted:02x?}"
    );
}

#[test]
fn every_kind_is_unwrapped_with_and_without_tags() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::new();
    for (kind, shim) in shims() {
        for outer in FAMILIES {
            for inner in FAMILIES {
                for tags in [UNTAGGED, TAGGED, TWICE_TAGGED] {
                    let packet = Tunnelled {
                        tags,
                        ..Tunnelled::new(outer, shim.clone(), inner)
                    };
                    assert_unwraps(&mut rig, kind, &packet);
                }
            }
        }
    }
}

/// Lengths around those at which the sum of a frame is cut in parts, around
/// what is in a frame's first buffer, and jumbo frames.
#[test]
fn every_length_is_unwrapped() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::new();
    let short = 0..9;
    let chunk = 440..520;
    let pages = [1472, 3300, 3500, 3700, 4096, 4097, 8900, 8901, 17_000];
    for payload in short.chain(chunk).chain(pages) {
        for (kind, shim) in shims() {
            for outer in FAMILIES {
                let packet = Tunnelled {
                    payload,
                    ..Tunnelled::new(outer, shim.clone(), Family::V4)
                };
                assert_unwraps(&mut rig, kind, &packet);
            }
        }
    }
}

#[test]
fn padding_stays_behind_the_packet() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::new();
    for (kind, shim) in shims() {
        let packet = Tunnelled {
            padding: 18,
            payload: 1,
            ..Tunnelled::new(Family::V4, shim, Family::V4)
        };
        assert_unwraps(&mut rig, kind, &packet);
    }
}

#[test]
fn gue_with_private_data_is_unwrapped() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::new();
    for words in 1..=31 {
        for checksum in [false, true] {
            let shim = Shim::Gue {
                port: frames::GUE_PORT,
                checksum,
                first: words,
                flags: 0,
                extension: vec![0x5a; usize::from(words) * 4],
            };
            let packet = Tunnelled::new(Family::V6, shim, Family::V6);
            assert_unwraps(&mut rig, "private data", &packet);
        }
    }
}

#[test]
fn gue_is_taken_at_the_ports_that_are_named() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::with(&["::/0"], &[7000, 7001]);
    for (port, taken) in [(7000, true), (7001, true), (6080, false), (7002, false)] {
        let shim = Shim::Gue {
            port,
            checksum: true,
            first: 0,
            flags: 0,
            extension: Vec::new(),
        };
        let packet = Tunnelled::new(Family::V4, shim, Family::V4);
        if taken {
            assert_unwraps(&mut rig, "named port", &packet);
        } else {
            assert_eq!(rig.run(&packet.frame()), Did::LeftAlone, "{port}");
        }
    }
}

/// RFC 2784 section 2.3: bits 6 to 12 are not looked at.
#[test]
fn reserved_bits_of_gre_that_do_not_matter_do_not_matter() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::new();
    for bit in 3..10 {
        let shim = Shim::Gre {
            flags: 1 << bit,
            fields: Vec::new(),
        };
        let packet = Tunnelled::new(Family::V4, shim, Family::V6);
        assert_unwraps(&mut rig, "reserved bit", &packet);
    }
}

/// RFC 6040 section 4.2, with the inner header's checksum right afterwards:
/// the frame to come out is made anew with the field.
#[test]
fn the_congestion_mark_goes_inside() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::new();
    let wanted = |outer: u8, inner: u8| match (outer, inner) {
        (3, 0) => None,
        (3, _) => Some(3),
        (1, 2) => Some(1),
        _ => Some(inner),
    };
    for (kind, shim) in shims() {
        for outer in FAMILIES {
            for inner in FAMILIES {
                for (outer_ecn, inner_ecn) in (0..16).map(|row| (row / 4, row % 4)) {
                    let packet = Tunnelled {
                        outer_ecn,
                        inner_ecn,
                        ..Tunnelled::new(outer, shim.clone(), inner)
                    };
                    let wanted = wanted(outer_ecn, inner_ecn)
                        .map_or(Did::Congested, |ecn| Did::Unwrapped(packet.unwrapped(ecn)));
                    assert_eq!(rig.run(&packet.frame()), wanted, "{kind}: {packet:?}");
                }
            }
        }
    }
}

#[test]
fn sources_that_are_not_allowed_are_refused() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::with(&["192.0.2.0/31", "2001:db8:1::/48"], &[frames::GUE_PORT]);
    let mut other = Rig::with(&["192.0.2.2/31", "2001:db8::/48"], &[frames::GUE_PORT]);
    for (kind, shim) in shims() {
        for outer in FAMILIES {
            for inner in FAMILIES {
                let packet = Tunnelled::new(outer, shim.clone(), inner);
                assert_eq!(rig.run(&packet.frame()), Did::Refused, "{kind}");
                assert_unwraps(&mut other, kind, &packet);
            }
        }
    }
    let mut nobody = Rig::with(&[], &[]);
    let packet = Tunnelled::new(Family::V4, gre(true), Family::V4);
    assert_eq!(nobody.run(&packet.frame()), Did::Refused);
}
