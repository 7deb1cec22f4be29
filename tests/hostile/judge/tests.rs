//! The judge takes a right packet, and not one with any single bit changed.

use super::*;
use crate::{
    draft::{Draft, Header, IPV4, IPV6},
    method::Encapsulation,
    world::{
        DIRECTOR_MAC, FAMILIES, FIRST_CLIENT_PORT, Family, Mac, PORT, REAL_PORT, ROUTER_MAC, VLAN,
        client, local, router, tunnel_sources, vip,
    },
};

const DATA: usize = 21;

struct Leaf {
    to: Mac,
    from: Mac,
}

const ARRIVED: Leaf = Leaf {
    to: DIRECTOR_MAC,
    from: ROUTER_MAC,
};

fn header(
    source: std::net::IpAddr,
    destination: std::net::IpAddr,
    protocol: u8,
    ttl: u8,
) -> Header<'static> {
    Header {
        source,
        destination,
        protocol,
        ttl,
        tos: 0xb9,
        label: 0,
        df: false,
        id: 77,
        fragment: None,
        extras: &[],
    }
}

fn ether_type(of: &Header<'_>) -> u16 {
    if of.source.is_ipv6() { IPV6 } else { IPV4 }
}

/// A frame with what `shim` puts between the outer header, if there is one,
/// and a datagram.
fn frame(
    leaf: &Leaf,
    outer: Option<(&Header<'_>, Encapsulation, bool)>,
    inner: &Header<'_>,
    ports: [u16; 2],
) -> Vec<u8> {
    let mut draft = Draft::default();
    let is_in_vlan = FAMILIES
        .map(|family| mac_of(real(family, 1)))
        .contains(&leaf.to);
    let tags: &[[u16; 2]] = if is_in_vlan { &[[0x8100, VLAN]] } else { &[] };
    draft.ethernet(
        leaf.to,
        leaf.from,
        tags,
        ether_type(outer.map_or(inner, |(outer, ..)| outer)),
    );
    let begun = outer.map(|(header, encapsulation, checksum)| {
        let ip = draft.ip(header);
        let at = match encapsulation {
            Encapsulation::Ipip => draft.len(),
            Encapsulation::Gue => {
                let udp = draft.udp([50_000, 6080]);
                draft.put(&[0, if inner.source.is_ipv6() { 41 } else { 4 }, 0, 0]);
                udp
            }
            Encapsulation::Gre => {
                let at = draft.len();
                draft.put_u16(u16::from(checksum) << 15);
                draft.put_u16(ether_type(inner));
                draft.put(if checksum { &[0; 4] } else { &[] });
                at
            }
        };
        (ip, at, header, encapsulation, checksum)
    });
    let ip = draft.ip(inner);
    let udp = draft.udp(ports);
    draft.data(DATA, 3);
    draft.close_transport(udp, inner, false);
    draft.close_ip(ip);
    if let Some((ip, at, header, encapsulation, checksum)) = begun {
        match encapsulation {
            Encapsulation::Gue => draft.close_transport(at, header, !checksum),
            Encapsulation::Gre if checksum => {
                let field = checksum::field(checksum::sum(&draft.bytes[at..]));
                draft.bytes[at + 4..at + 6].copy_from_slice(&field.to_be_bytes());
            }
            _ => {}
        }
        draft.close_ip(ip);
    }
    draft.bytes
}

/// Right, and wrong with any bit flipped but those of `free` octets.
fn is_exact(method: Method, before: &[u8], verdict: Verdict, after: &[u8], free: &[usize]) {
    let fate = judge(method, before, verdict, after);
    assert!(
        matches!(fate, Ok(Fate::Forwarded(_) | Fate::Answered)),
        "{method:?}: {fate:?}"
    );
    for at in (0..after.len()).filter(|at| !free.contains(at)) {
        for bit in 0..8 {
            let mut wrong = after.to_vec();
            wrong[at] ^= 1 << bit;
            let fate = judge(method, before, verdict, &wrong);
            assert!(
                fate.is_err(),
                "{method:?}: bit {bit} of octet {at} of {wrong:02x?}: {fate:?}"
            );
        }
    }
    for wrong in [&after[..after.len() - 1], &[after, &[0]].concat()] {
        assert!(
            judge(method, before, verdict, wrong).is_err(),
            "{method:?}: {} bytes",
            wrong.len()
        );
    }
}

const CLIENT_PORT: u16 = FIRST_CLIENT_PORT;

fn request(family: Family) -> Header<'static> {
    header(client(family, 0), vip(family), number::UDP, 64)
}

fn towards(address: std::net::IpAddr) -> Leaf {
    Leaf {
        to: mac_of(address),
        from: EGRESS_MAC,
    }
}

#[test]
fn direct_routing() {
    for family in FAMILIES {
        let sent = request(family);
        let before = frame(&ARRIVED, None, &sent, [CLIENT_PORT, PORT]);
        let after = frame(
            &towards(real(family, 0)),
            None,
            &Header { ttl: 63, ..sent },
            [CLIENT_PORT, PORT],
        );
        is_exact(Method::Dr, &before, Verdict::Redirect, &after, &[]);
    }
}

#[test]
fn tunnels() {
    for (family, outer_family) in FAMILIES.into_iter().flat_map(|f| FAMILIES.map(|o| (f, o))) {
        for encapsulation in [Encapsulation::Ipip, Encapsulation::Gue, Encapsulation::Gre] {
            // The first real's tunnel is without a checksum.
            for index in [0, 1] {
                let sent = request(family);
                let method = Method::Tun(encapsulation);
                let tunnel = method.tunnel(index).unwrap();
                let to = real(outer_family, index);
                let protocol = match encapsulation {
                    Encapsulation::Ipip if family == Family::V6 => number::IPV6,
                    Encapsulation::Ipip => number::IPIP,
                    Encapsulation::Gue => number::UDP,
                    Encapsulation::Gre => number::GRE,
                };
                let source = if method.spreads_sources() {
                    tunnel_sources(outer_family).0
                } else {
                    local(outer_family)
                };
                let mut outer = header(source, to, protocol, 63);
                if family == Family::V6 {
                    (outer.df, outer.id) = (true, 0);
                }
                let before = frame(&ARRIVED, None, &sent, [CLIENT_PORT, PORT]);
                let inner = Header { ttl: 63, ..sent };
                let after = frame(
                    &towards(to),
                    Some((&outer, encapsulation, tunnel.checksum)),
                    &inner,
                    [CLIENT_PORT, PORT],
                );
                let is_v6 = outer_family == Family::V6;
                let network = if index == 1 { 18 } else { 14 };
                let ports = network + if is_v6 { 40 } else { 20 };
                let free = match encapsulation {
                    // The source port is a hash.
                    Encapsulation::Gue if !tunnel.checksum => ports..ports + 2,
                    // So is the source address, behind a prefix; nothing in
                    // IPv6 sums it.
                    Encapsulation::Gre if is_v6 => network + 16..network + 24,
                    _ => 0..0,
                };
                let free: Vec<usize> = free.collect();
                is_exact(method, &before, Verdict::Redirect, &after, &free);
            }
        }
    }
}

#[test]
fn translations() {
    for family in FAMILIES {
        let sent = request(family);
        let before = frame(&ARRIVED, None, &sent, [CLIENT_PORT, PORT]);
        let to = real(family, 2);
        let received = Header {
            ttl: 63,
            destination: to,
            ..sent
        };
        let after = frame(&towards(to), None, &received, [CLIENT_PORT, REAL_PORT]);
        is_exact(Method::Nat, &before, Verdict::Redirect, &after, &[]);

        let answered = header(to, client(family, 0), number::UDP, 64);
        let before = frame(&ARRIVED, None, &answered, [REAL_PORT, CLIENT_PORT]);
        let leaf = Leaf {
            to: mac_of(client(family, 0)),
            from: OUTSIDE_MAC,
        };
        let seen = Header {
            ttl: 63,
            source: vip(family),
            ..answered
        };
        let after = frame(&leaf, None, &seen, [PORT, CLIENT_PORT]);
        is_exact(Method::Nat, &before, Verdict::Tx, &after, &[]);
    }
}

/// An ICMP error that quotes a datagram.
fn error(
    leaf: &Leaf,
    outer: &Header<'_>,
    quote: &Header<'_>,
    ports: [u16; 2],
    sum: u16,
) -> Vec<u8> {
    let mut draft = Draft::default();
    draft.ethernet(leaf.to, leaf.from, &[], ether_type(outer));
    let ip = draft.ip(outer);
    let icmp = draft.icmp(3, 1, 0);
    let start = draft.ip(quote);
    draft.udp(ports);
    let end = draft.len();
    draft.bytes[end - 2..].copy_from_slice(&sum.to_be_bytes());
    draft.close_ip(start);
    draft.close_transport(icmp, outer, false);
    draft.close_ip(ip);
    draft.bytes
}

#[test]
fn errors() {
    for family in FAMILIES {
        let protocol = if family == Family::V6 {
            number::ICMPV6
        } else {
            number::ICMP
        };
        let to = real(family, 0);
        let outer = header(router(family), vip(family), protocol, 64);
        let quote = header(vip(family), client(family, 0), number::UDP, 9);
        let before = error(&ARRIVED, &outer, &quote, [PORT, CLIENT_PORT], 0xabcd);
        let after = error(
            &towards(to),
            &Header {
                destination: to,
                ttl: 63,
                ..outer
            },
            &Header {
                source: to,
                ..quote
            },
            [REAL_PORT, CLIENT_PORT],
            0xabcd,
        );
        is_exact(Method::Nat, &before, Verdict::Redirect, &after, &[]);

        let to = client(family, 0);
        let outer = header(router(family), to, protocol, 64);
        let quote = header(to, real(family, 0), number::UDP, 9);
        let before = error(&ARRIVED, &outer, &quote, [CLIENT_PORT, REAL_PORT], 0xabcd);
        let after = error(
            &Leaf {
                to: mac_of(to),
                from: OUTSIDE_MAC,
            },
            &Header {
                source: vip(family),
                ttl: 63,
                ..outer
            },
            &Header {
                destination: vip(family),
                ..quote
            },
            [CLIENT_PORT, PORT],
            0xabcd,
        );
        is_exact(Method::Nat, &before, Verdict::Redirect, &after, &[]);
    }
}

/// What the director says itself, and that it says it to nobody wrongly.
#[test]
fn answers() {
    for family in FAMILIES {
        let protocol = if family == Family::V6 {
            number::ICMPV6
        } else {
            number::ICMP
        };
        let sent = Header {
            ttl: 1,
            ..request(family)
        };
        let before = frame(&ARRIVED, None, &sent, [CLIENT_PORT, PORT]);
        let answer = header(sent.destination, sent.source, protocol, 64);
        let mut draft = Draft::default();
        draft.ethernet(ROUTER_MAC, DIRECTOR_MAC, &[], ether_type(&answer));
        let ip = draft.ip(&answer);
        let icmp = draft.icmp(if family == Family::V6 { 3 } else { 11 }, 0, 0);
        draft.put(&before[14..]);
        draft.close_transport(icmp, &answer, false);
        draft.close_ip(ip);
        // Whatever TOS and ID the answer has, the header's checksum covers
        // them; in IPv6 traffic class, flow label and hop limit stand alone.
        let free: &[usize] = if family == Family::V6 {
            &[14, 15, 16, 17, 21]
        } else {
            &[]
        };
        is_exact(Method::Dr, &before, Verdict::Tx, &draft.bytes, free);

        let group = [&[1], &before[1..]].concat();
        assert!(judge(Method::Dr, &group, Verdict::Tx, &draft.bytes).is_err());
    }
}

#[test]
fn verdicts() {
    let before = frame(&ARRIVED, None, &request(Family::V4), [1, 2]);
    assert_eq!(
        judge(Method::Dr, &before, Verdict::Pass, &before),
        Ok(Fate::Passed)
    );
    assert!(judge(Method::Dr, &before, Verdict::Aborted, &before).is_err());
    let mut after = before.clone();
    after[40] ^= 1;
    assert!(judge(Method::Dr, &before, Verdict::Pass, &after).is_err());
    assert!(judge(Method::Local, &before, Verdict::Tx, &before).is_err());
}
