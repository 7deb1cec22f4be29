//! What is left to the stack, what is dropped, and that nothing is handed on
//! that is not a packet.

use etherparse::IpSlice;
use lb_tests::privilege;

use crate::{
    frames::{
        DIRECTOR_V4, DIRECTOR_V6, FAMILIES, Family, Shim, TAGGED, TWICE_TAGGED, Tunnelled, gre,
        gue, shims, sum_ipv4,
    },
    rig::{Did, Rig},
};

/// ::ffff:0:0/96.
const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// A change to the bytes of a frame.
type Change = fn(&mut Vec<u8>, &Tunnelled);

struct Row {
    what: &'static str,
    packet: Tunnelled,
    change: Change,
}

#[track_caller]
fn assert_rows(rows: Vec<Row>, wanted: &Did) {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::new();
    for row in rows {
        let mut frame = row.packet.frame();
        (row.change)(&mut frame, &row.packet);
        let did = rig.run(&frame);
        assert!(did == *wanted, "{}: {did:02x?} of {frame:02x?}", row.what);
    }
}

const fn row(what: &'static str, packet: Tunnelled, change: Change) -> Row {
    Row {
        what,
        packet,
        change,
    }
}

fn v4(shim: Shim) -> Tunnelled {
    Tunnelled::new(Family::V4, shim, Family::V4)
}

fn v6(shim: Shim) -> Tunnelled {
    Tunnelled::new(Family::V6, shim, Family::V6)
}

fn set16(frame: &mut [u8], offset: usize, value: u16) {
    frame[offset..offset + 2].copy_from_slice(&value.to_be_bytes());
}

/// Writes a field of the outer IPv4 header and makes its checksum right.
fn set_outer(frame: &mut [u8], packet: &Tunnelled, offset: usize, value: u16) {
    set16(frame, packet.network() + offset, value);
    sum_ipv4(frame, packet.network());
}

#[test]
fn what_is_not_understood_is_left_to_the_stack() {
    let gue_of = |first, flags, extension| Shim::Gue {
        port: crate::frames::GUE_PORT,
        checksum: false,
        first,
        flags,
        extension: vec![0; extension],
    };
    let gre_of = |flags, fields| Shim::Gre {
        flags,
        fields: vec![0; fields],
    };
    const AS_IT_IS: Change = |_, _| {};
    assert_rows(
        vec![
            row("an inner packet alone", v4(Shim::Bare), |frame, packet| {
                *frame = packet.unwrapped(0);
            }),
            row("ARP", v4(Shim::Bare), |frame, _| set16(frame, 12, 0x0806)),
            row("a frame to a group", v4(Shim::Bare), |frame, _| {
                frame[0] |= 1;
            }),
            row(
                "a third tag",
                Tunnelled {
                    tags: TWICE_TAGGED,
                    ..v4(gre(true))
                },
                |frame, _| {
                    frame.splice(14..14, [0, 1, 0x81, 0]);
                },
            ),
            row("TCP in IPv4", v4(Shim::Bare), |frame, packet| {
                set_outer(frame, packet, 8, 60 << 8 | 6);
            }),
            row("options", v4(Shim::Bare), |frame, packet| {
                let network = packet.network();
                frame.splice(network + 20..network + 20, [1; 4]);
                frame[network] = 0x46;
                let length = u16::try_from(frame.len() - network).unwrap();
                set_outer(frame, packet, 2, length);
            }),
            row("a header of 4 words", v4(Shim::Bare), |frame, packet| {
                frame[packet.network()] = 0x44;
                sum_ipv4(frame, packet.network());
            }),
            row(
                "a wrong header checksum",
                v4(Shim::Bare),
                |frame, packet| {
                    frame[packet.network() + 10] ^= 1;
                },
            ),
            row("version 5", v4(Shim::Bare), |frame, packet| {
                frame[packet.network()] = 0x55;
                sum_ipv4(frame, packet.network());
            }),
            row("a first fragment", v4(gre(false)), |frame, packet| {
                set_outer(frame, packet, 6, 0x2000);
            }),
            row("a last fragment", v4(gue(false)), |frame, packet| {
                set_outer(frame, packet, 6, 0x0001);
            }),
            row("an IPv6 fragment", v6(Shim::Bare), |frame, packet| {
                frame[packet.network() + 6] = 44;
            }),
            row("hop-by-hop options", v6(Shim::Bare), |frame, packet| {
                frame[packet.network() + 6] = 0;
            }),
            row("destination options", v6(Shim::Bare), |frame, packet| {
                frame[packet.network() + 6] = 60;
            }),
            row("a mapped source", v6(Shim::Bare), |frame, packet| {
                let source = packet.network() + 8;
                frame[source..source + 12].copy_from_slice(&MAPPED);
                frame[source + 12..source + 16].copy_from_slice(&DIRECTOR_V4);
            }),
            row("version 7", v6(Shim::Bare), |frame, packet| {
                frame[packet.network()] = 0x70;
            }),
            row("UDP to another port", v4(gue(false)), |frame, packet| {
                set16(frame, packet.transport() + 2, 6081);
            }),
            row("UDP from the port", v4(gue(false)), |frame, packet| {
                set16(frame, packet.transport(), 6080);
                set16(frame, packet.transport() + 2, 50_001);
            }),
            row("a GUE control message", v4(gue_of(0x20, 0, 0)), AS_IT_IS),
            row("GUE's variant 1", v4(gue_of(0x45, 0, 0)), AS_IT_IS),
            row("GUE's variant 3", v6(gue_of(0xc0, 0, 0)), AS_IT_IS),
            row("a flag of GUE", v4(gue_of(1, 0x0001, 4)), AS_IT_IS),
            row("another flag of GUE", v6(gue_of(0, 0x8000, 0)), AS_IT_IS),
            row("ESP in GUE", v4(gue(false)), |frame, packet| {
                frame[packet.transport() + 9] = 50;
            }),
            row("GRE with a key", v4(gre_of(0x2000, 4)), AS_IT_IS),
            row(
                "GRE with a sequence number",
                v6(gre_of(0x1000, 4)),
                AS_IT_IS,
            ),
            row("GRE with routing", v4(gre_of(0x4000, 4)), AS_IT_IS),
            row("GRE, strict", v4(gre_of(0x0800, 0)), AS_IT_IS),
            row("GRE, bit 5", v4(gre_of(0x0400, 0)), AS_IT_IS),
            row("GRE version 1", v4(gre_of(0x0001, 0)), AS_IT_IS),
            row("Ethernet in GRE", v4(gre(false)), |frame, packet| {
                set16(frame, packet.transport() + 2, 0x6558);
            }),
            row("AH in GRE's place", v6(gre(false)), |frame, packet| {
                frame[packet.network() + 6] = 51;
            }),
        ],
        &Did::LeftAlone,
    );
}

#[test]
fn what_is_cut_short_before_the_inner_packet_is_left_to_the_stack() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::new();
    for (kind, shim) in shims() {
        for outer in FAMILIES {
            let packet = Tunnelled {
                tags: TAGGED,
                ..Tunnelled::new(outer, shim.clone(), Family::V4)
            };
            let frame = packet.frame();
            // The kernel takes no frame below an Ethernet header.
            let needed = match shim {
                Shim::Bare => packet.transport(),
                Shim::Gue { .. } => packet.transport() + 12,
                Shim::Gre { .. } => packet.transport() + 4,
            };
            for length in 14..frame.len() {
                let wanted = if length < needed {
                    Did::LeftAlone
                } else {
                    Did::Malformed
                };
                let did = rig.run(&frame[..length]);
                assert_eq!(did, wanted, "{kind} over {outer:?}, {length} bytes");
            }
        }
    }
}

#[test]
fn nonsense_is_dropped() {
    let mut rows = Vec::new();
    for (what, shim) in shims() {
        rows.extend([
            row(what, v4(shim.clone()), |frame, packet| {
                frame[packet.inner_at()] = 0x65;
            }),
            row(what, v4(shim.clone()), |frame, packet| {
                frame[packet.inner_at()] = 0x44;
            }),
            // Options that the total length does not cover.
            row(
                what,
                Tunnelled {
                    payload: 0,
                    ..v4(shim.clone())
                },
                |frame, packet| {
                    frame[packet.inner_at()] = 0x4f;
                },
            ),
            row(what, v6(shim.clone()), |frame, packet| {
                frame[packet.inner_at()] = 0x45;
            }),
            row(what, v6(shim.clone()), |frame, packet| {
                set16(frame, packet.inner_at() + 4, 110);
            }),
            row(what, v4(shim.clone()), |frame, packet| {
                set16(frame, packet.inner_at() + 2, 130);
            }),
            row(what, v4(shim.clone()), |frame, packet| {
                set16(frame, packet.inner_at() + 2, 19);
            }),
            // The padding is no part of the packet.
            row(
                what,
                Tunnelled {
                    padding: 20,
                    ..v4(shim.clone())
                },
                |frame, packet| {
                    set16(frame, packet.inner_at() + 2, 130);
                },
            ),
            row(what, v4(shim.clone()), |frame, packet| {
                let longer = frame.len() - packet.network() + 1;
                set_outer(frame, packet, 2, u16::try_from(longer).unwrap());
            }),
            row(what, v4(shim.clone()), |frame, packet| {
                set_outer(frame, packet, 2, 30);
            }),
            row(what, v4(shim.clone()), |frame, packet| {
                set_outer(frame, packet, 2, 0);
            }),
            row(what, v6(shim.clone()), |frame, packet| {
                set16(frame, packet.network() + 4, 0);
            }),
            row(what, v6(shim.clone()), |frame, packet| {
                set16(frame, packet.network() + 4, 0xffff);
            }),
        ]);
    }
    for checksum in [false, true] {
        rows.extend([
            row("a UDP length of 0", v4(gue(checksum)), |frame, packet| {
                set16(frame, packet.transport() + 4, 0);
            }),
            row("a UDP length of 7", v6(gue(checksum)), |frame, packet| {
                set16(frame, packet.transport() + 4, 7);
            }),
            row("UDP beyond IP", v6(gue(checksum)), |frame, packet| {
                let longer = frame.len() - packet.transport() + 1;
                set16(
                    frame,
                    packet.transport() + 4,
                    u16::try_from(longer).unwrap(),
                );
            }),
            row(
                "UDP shorter than what is in it",
                v4(gue(checksum)),
                |frame, packet| {
                    let shorter = frame.len() - packet.transport() - 1;
                    set16(
                        frame,
                        packet.transport() + 4,
                        u16::try_from(shorter).unwrap(),
                    );
                },
            ),
            row(
                "a GUE header beyond the datagram",
                v4(gue(checksum)),
                |frame, packet| {
                    frame[packet.transport() + 8] = 31;
                    frame.truncate(packet.inner_at() + 40);
                    let length = u16::try_from(frame.len() - packet.network()).unwrap();
                    set_outer(frame, packet, 2, length);
                    set16(frame, packet.transport() + 4, length - 20);
                },
            ),
        ]);
    }
    assert_rows(rows, &Did::Malformed);
}

#[test]
fn wrong_checksums_are_dropped() {
    let mut rows = Vec::new();
    for shim in [gue(true), gre(true)] {
        for outer in FAMILIES {
            for payload in [0, 1, 490, 1400, 8901] {
                let packet = Tunnelled {
                    payload,
                    ..Tunnelled::new(outer, shim.clone(), Family::V6)
                };
                rows.extend([
                    row("last byte", packet.clone(), |frame, _| {
                        *frame.last_mut().unwrap() ^= 1;
                    }),
                    row(
                        "first byte of the inner source",
                        packet.clone(),
                        |frame, packet| {
                            frame[packet.inner_at() + 8] ^= 0x80;
                        },
                    ),
                    row("the checksum itself", packet, |frame, packet| {
                        let offset = match packet.shim {
                            Shim::Gue { .. } => 6,
                            _ => 4,
                        };
                        frame[packet.transport() + offset] ^= 0x10;
                    }),
                ]);
            }
        }
    }
    // RFC 8200 section 8.1: the pseudo-header covers the addresses, here of one
    // that is not there.
    rows.push(row(
        "the outer destination",
        v6(gue(true)),
        |frame, packet| {
            frame[packet.network() + 39] ^= 1;
        },
    ));
    assert_rows(rows, &Did::Malformed);
}

#[test]
fn sources_are_compared_whole() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::new();
    let packet = v6(Shim::Bare);
    for byte in 0..DIRECTOR_V6.len() {
        let mut frame = packet.frame();
        frame[packet.network() + 8 + byte] ^= 4;
        assert_eq!(rig.run(&frame), Did::Refused, "byte {byte}");
    }
}

/// Whatever the bytes, what is unwrapped is a whole packet of its kind, by
/// etherparse's judgement.
#[test]
fn changed_bytes_never_make_the_stack_get_garbage() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::new();
    let mut unwrapped = 0;
    for (kind, shim) in shims() {
        for outer in FAMILIES {
            for inner in FAMILIES {
                let packet = Tunnelled {
                    tags: TAGGED,
                    payload: 5,
                    ..Tunnelled::new(outer, shim.clone(), inner)
                };
                let frame = packet.frame();
                for offset in 0..frame.len() {
                    for change in [0x01, 0x10, 0x80, 0x7f, 0xff] {
                        let mut frame = frame.clone();
                        frame[offset] ^= change;
                        // Else only the header's checksum is looked at.
                        let header = packet.network()..packet.transport();
                        if outer == Family::V4 && header.contains(&offset) {
                            let words = frame[packet.network()] & 0x0f;
                            if (5..8).contains(&words) {
                                sum_ipv4(&mut frame, packet.network());
                            }
                        }
                        let Did::Unwrapped(new) = rig.run(&frame) else {
                            continue;
                        };
                        unwrapped += 1;
                        let what = format!("{kind}, byte {offset} ^ {change:#x}: {new:02x?}");
                        let version = match new[16..18] {
                            [0x08, 0x00] => 4,
                            [0x86, 0xdd] => 6,
                            _ => panic!("{what}"),
                        };
                        assert_eq!(new[18] >> 4, version, "{what}");
                        let whole = if version == 4 {
                            usize::from(u16::from_be_bytes([new[20], new[21]])) >= 20
                                && IpSlice::from_slice(&new[18..])
                                    .is_ok_and(|ip| ip.ipv4().is_some())
                        } else {
                            let length = usize::from(u16::from_be_bytes([new[22], new[23]]));
                            new.len() >= 18 + 40 + length
                        };
                        assert!(whole, "{what}");
                    }
                }
            }
        }
    }
    assert!(unwrapped > 1000, "{unwrapped}");
}
