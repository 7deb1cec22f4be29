//! What a packet of a connection can look like, and what that means for it on
//! every way.

use crate::{
    extension::Extension::{self, Authentication, Destination, Fragment, HopByHop, Routing},
    packet::{END, Header, Packet, Transport},
};

pub struct Shape {
    pub what: &'static str,
    pub packet: Packet,
    pub fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is forwarded.
    Goes,
    /// Time exceeded goes back.
    Expires,
    /// "Fragmentation needed" or "packet too big" goes back.
    IsTooLong,
    /// It is dropped under this reason, and nothing is said about it.
    IsDropped(&'static str),
}
use Fate::{Expires, Goes, IsDropped, IsTooLong};

/// A datagram that goes in three parts.
const LONG: usize = 3000;

/// Every shape of `packet`, where datagrams of `fits` bytes fit. The fragments
/// come in an order in which their datagrams begin with the first.
pub fn all(packet: Packet, fits: u16) -> Vec<Shape> {
    let fits = usize::from(fits);
    let mut shapes = plain(packet, fits);
    shapes.extend(tagged(packet, fits));
    if packet.ip.is_ipv6() {
        shapes.extend(with_extensions(packet, fits));
    } else {
        shapes.extend(with_options(packet, fits));
    }
    shapes.extend(fragments(packet, fits));
    shapes
}

fn shape(what: &'static str, packet: Packet, fate: Fate) -> Shape {
    Shape { what, packet, fate }
}

fn plain(packet: Packet, fits: usize) -> Vec<Shape> {
    let empty = packet.payload(0);
    let shortest = Packet {
        padding: 60_usize.saturating_sub(empty.frame().len()),
        ..empty
    };
    vec![
        shape("plain", packet, Goes),
        shape("the shortest frame", shortest, Goes),
        shape("odd length", packet.payload(777), Goes),
        shape("TTL 255", packet.ttl(255), Goes),
        shape("TTL 2", packet.ttl(2), Goes),
        shape("TTL 1", packet.ttl(1), Expires),
        shape("TTL 0", packet.ttl(0), Expires),
        shape("TTL 1, a long one", packet.payload(1333).ttl(1), Expires),
        shape("as long as fits", packet.filling(fits), Goes),
        shape("a byte longer", packet.filling(fits + 1), IsTooLong),
    ]
}

fn tagged(packet: Packet, fits: usize) -> Vec<Shape> {
    // Priority 5, drop eligible.
    let tagged = packet.tagged(0xb00a);
    let twice = packet.tagged_twice(0x2fff, 0x0001);
    vec![
        shape("a VLAN tag", tagged, Goes),
        shape("a VLAN tag, odd length", tagged.payload(55), Goes),
        shape("a priority tag", packet.tagged(0xe000), Goes),
        shape("two VLAN tags", twice, Goes),
        shape("a VLAN tag, as long as fits", tagged.filling(fits), Goes),
        shape(
            "two VLAN tags, a byte longer",
            twice.filling(fits + 1),
            IsTooLong,
        ),
        shape("a VLAN tag, TTL 1", tagged.ttl(1), Expires),
        shape("two VLAN tags, TTL 1", twice.ttl(1), Expires),
    ]
}

fn with_options(packet: Packet, fits: usize) -> Vec<Shape> {
    let marked = Packet {
        ip: Header {
            tos: 0xb9,
            ..packet.fragmentable(0xfedc).ip
        },
        ..packet
    };
    let unfragmentable = Packet {
        ip: Header {
            tos: 0x03,
            id: 0xffff,
            ..packet.ip
        },
        ..packet
    };
    let mut shapes = vec![
        shape("DSCP, ECN, an ID, no DF", marked, Goes),
        shape("congestion experienced", unfragmentable, Goes),
        shape("an option", packet.options(1), Goes),
        shape("many options", packet.options(10).payload(5), Goes),
        shape(
            "options, as long as fits",
            packet.options(10).filling(fits),
            Goes,
        ),
        shape(
            "options, a byte longer",
            packet.options(10).filling(fits + 1),
            IsTooLong,
        ),
        shape("options, TTL 1", packet.options(7).ttl(1), Expires),
        shape(
            "options, two tags",
            packet.options(2).tagged_twice(1, 2),
            Goes,
        ),
        shape("no DF, a byte longer", marked.filling(fits + 1), IsTooLong),
    ];
    if packet.transport == Transport::Udp {
        let unsummed = Packet {
            transport: Transport::UdpUnsummed,
            ..packet
        };
        shapes.push(shape("no UDP checksum", unsummed, Goes));
        shapes.push(shape("no UDP checksum, odd", unsummed.payload(3), Goes));
    }
    shapes
}

fn with_extensions(packet: Packet, fits: usize) -> Vec<Shape> {
    const LISTS: [(&str, &[Extension]); 8] = [
        ("hop-by-hop options", &[HopByHop(0)]),
        ("many hop-by-hop options", &[HopByHop(20)]),
        ("destination options", &[Destination(3)]),
        ("a routing header", &[Routing(2)]),
        ("an authentication header", &[Authentication]),
        ("an atomic fragment", &[Fragment]),
        (
            "every extension header",
            &[
                HopByHop(1),
                Destination(0),
                Routing(0),
                Fragment,
                Authentication,
                Destination(2),
            ],
        ),
        ("eight extension headers", &[Destination(0); 8]),
    ];
    let mut shapes: Vec<_> = LISTS
        .iter()
        .map(|(what, list)| shape(what, packet.extended(list), Goes))
        .collect();
    let marked = Packet {
        ip: Header {
            tos: 0xb9,
            label: 0xf_fffe,
            ..packet.ip
        },
        ..packet
    };
    let extended = packet.extended(&[HopByHop(0), Destination(1)]);
    shapes.extend([
        shape("DSCP, ECN, a flow label", marked, Goes),
        shape("headers, as long as fits", extended.filling(fits), Goes),
        shape(
            "headers, a byte longer",
            extended.filling(fits + 1),
            IsTooLong,
        ),
        shape("headers, TTL 1", extended.ttl(1), Expires),
        shape("headers, two tags", extended.tagged_twice(1, 2), Goes),
    ]);
    shapes
}

fn fragments(packet: Packet, fits: usize) -> Vec<Shape> {
    let whole = |id| packet.fragmentable(id).payload(LONG);
    let (first, second, tagged, long) = (whole(1), whole(2), whole(3), whole(4));
    let tagged = tagged.tagged(0x6007);
    let headers = if packet.ip.is_ipv6() {
        second.extended(&[HopByHop(0), Fragment, Destination(0)])
    } else {
        second.options(3)
    };
    // Both families' headers, and IPv6's for fragments, fit in 48 bytes.
    let most = (fits - 48) / 8 * 8;
    vec![
        shape("the first fragment", first.part(0, 1200), Goes),
        shape("a fragment in the middle", first.part(1200, 2400), Goes),
        shape("the last fragment", first.part(2400, END), Goes),
        shape("the first once more", first.part(0, 1200), Goes),
        shape("a fragment of eight bytes", first.part(1200, 1208), Goes),
        shape("a first one with options", headers.part(0, 1200), Goes),
        shape("a later one with options", headers.part(1200, 2400), Goes),
        shape("a last one with options", headers.part(2400, END), Goes),
        shape("a tagged first one", tagged.part(0, 800), Goes),
        shape("a tagged later one", tagged.part(800, 1600), Goes),
        shape("a first one, as long as fits", long.part(0, most), Goes),
        shape(
            "a later one, as long as fits",
            long.part(most, 2 * most),
            Goes,
        ),
        shape("a first one too long", long.part(0, most + 40), IsTooLong),
        shape(
            "a later one too long",
            long.part(most, 2 * most + 40),
            IsDropped("fragmentation_needed"),
        ),
        shape("a first one, TTL 1", long.part(0, 1200).ttl(1), Expires),
        shape(
            "a later one, TTL 1",
            long.part(1200, END).payload(1500).ttl(1),
            IsDropped("ttl_exceeded"),
        ),
        shape(
            "a later one without the first",
            whole(99).part(1200, 2400),
            IsDropped("fragment_without_first"),
        ),
    ]
}
