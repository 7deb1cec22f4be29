//! Translated packets, both ways. What must not change is compared byte for
//! byte; a checksum, whose packet may be a piece or may have been wrong all
//! along, must be worth as much as before ([`checksum::residue`]).

use std::net::IpAddr;

use super::hold;
use crate::{
    checksum,
    draft::number,
    method::Method,
    view::{Packet, word},
    world::{PORT, REAL_PORT, RIVAL_PORT, family, is_client, is_of_pool, real_index, vip},
};

/// One end of a conversation.
type End = (IpAddr, Option<u16>);

pub fn judge(method: Method, packet: &Packet<'_>, out: &Packet<'_>) -> Result<(), String> {
    hold!(
        out.bytes.len() == packet.bytes.len(),
        "{} bytes of {}",
        out.bytes.len(),
        packet.bytes.len()
    );
    hold!(
        out.header == packet.header && out.piece == packet.piece,
        "the header's shape changed"
    );
    hold!(
        out.ttl() == packet.ttl() - 1,
        "TTL {} of {}",
        out.ttl(),
        packet.ttl()
    );
    if packet.is_icmp_error() {
        return error(method, packet, out);
    }
    let spare = Spare::header(packet).with_ports(packet, packet.header);
    spare.rest_is_the_same(packet, out)?;
    let to_real = packet.destination == vip(family(packet.destination));
    ends(method, to_real, &both(packet), &both(out))?;
    sums(packet, out, packet.transport_sum(), out.transport_sum())
}

fn both(packet: &Packet<'_>) -> [End; 2] {
    let ports = packet.ports();
    [
        (packet.source, ports.map(|p| p[0])),
        (packet.destination, ports.map(|p| p[1])),
    ]
}

/// Addresses and ports as one direction or the other has them. A later
/// fragment has no ports; SCTP keeps them.
fn ends(method: Method, to_real: bool, before: &[End; 2], after: &[End; 2]) -> Result<(), String> {
    // Towards the real the far end is the destination.
    let [near, far] = if to_real { [0, 1] } else { [1, 0] };
    let (was_near, was_far, near, far) = (before[near], before[far], after[near], after[far]);
    let is_masqueraded = method == Method::Masquerade;
    if to_real {
        hold!(real_index(far.0).is_some(), "translated to {far:?}");
        hold!(
            matches!(far.1, None | Some(REAL_PORT | PORT)),
            "translated to {far:?}"
        );
        if is_masqueraded {
            hold!(
                is_of_pool(near.0) && near.1.is_none_or(|port| port >= 1024),
                "masqueraded as {near:?}"
            );
        } else {
            hold!(near == was_near, "the client {was_near:?} became {near:?}");
        }
    } else {
        hold!(real_index(was_far.0).is_some(), "an answer of {was_far:?}");
        hold!(far.0 == vip(family(far.0)), "an answer as of {far:?}");
        hold!(
            matches!(far.1, None | Some(PORT | RIVAL_PORT)),
            "an answer as of {far:?}"
        );
        if is_masqueraded {
            hold!(is_of_pool(was_near.0), "an answer to {was_near:?}");
        } else {
            hold!(near == was_near, "the client {was_near:?} became {near:?}");
        }
    }
    Ok(())
}

/// An ICMP error: what it quotes is translated too, the other way round.
fn error(method: Method, packet: &Packet<'_>, out: &Packet<'_>) -> Result<(), String> {
    let at = packet.header + 8;
    let quote = packet
        .bytes
        .get(at..)
        .and_then(Packet::quoted)
        .ok_or("forwarded, though it quotes no IP packet")?;
    let quote_out = out
        .bytes
        .get(at..)
        .and_then(Packet::quoted)
        .ok_or("quotes no IP packet any more")?;
    let mut spare = Spare::header(packet).with_checksum(at - 6);
    spare.add_quote(&quote, at);
    spare.rest_is_the_same(packet, out)?;

    // About the VIP's packets: to the real, as about its own.
    let to_real = quote.source == vip(family(quote.source));
    let [quoted_from, quoted_to] = both(&quote);
    let [from, to] = both(&quote_out);
    ends(method, to_real, &[quoted_to, quoted_from], &[to, from])?;
    if to_real {
        hold!(
            out.source == packet.source,
            "the router {} became {}",
            packet.source,
            out.source
        );
        hold!(
            out.destination == from.0,
            "to {}, about {}",
            out.destination,
            from.0
        );
    } else {
        hold!(
            out.source == vip(family(out.source)),
            "an error as of {}",
            out.source
        );
        hold!(
            out.destination == from.0,
            "to {}, about {}",
            out.destination,
            from.0
        );
        hold!(
            method == Method::Masquerade
                || is_client(out.destination)
                || out.destination == packet.destination,
            "an error to {}",
            out.destination
        );
    }
    if !quote.is_v6() {
        let residue =
            |quote: &Packet<'_>| checksum::residue(checksum::sum(&quote.bytes[..quote.header]));
        hold!(
            residue(&quote) == residue(&quote_out),
            "the quoted header's checksum"
        );
    }
    sums(packet, out, packet.transport_sum(), out.transport_sum())
}

/// The transport's checksum is worth what it was; UDP's 0, which is none,
/// stays, and no other becomes it (RFC 768).
fn sums(packet: &Packet<'_>, out: &Packet<'_>, before: u64, after: u64) -> Result<(), String> {
    let Some(at) = packet.checksum_at() else {
        return Ok(());
    };
    let (was, is) = (word(packet.bytes, at), word(out.bytes, at));
    if packet.protocol == number::UDP {
        hold!(
            (was == Some(0)) == (is == Some(0)),
            "UDP checksum {was:04x?} became {is:04x?}"
        );
        if was == Some(0) {
            return Ok(());
        }
    }
    hold!(
        checksum::residue(before) == checksum::residue(after),
        "checksum {was:04x?} became {is:04x?}: off by {}",
        (i64::from(checksum::residue(after)) - i64::from(checksum::residue(before)))
    );
    Ok(())
}

/// Octets that may change: ranges, in order.
struct Spare {
    ranges: [(usize, usize); 12],
    number: usize,
}

impl Spare {
    /// TTL, IPv4's checksum, the addresses.
    fn header(packet: &Packet<'_>) -> Self {
        let mut spare = Self {
            ranges: [(0, 0); 12],
            number: 0,
        };
        spare.add_header(packet, 0);
        spare
    }

    fn add(&mut self, at: usize, length: usize) {
        self.ranges[self.number] = (at, at + length);
        self.number += 1;
    }

    fn add_header(&mut self, packet: &Packet<'_>, at: usize) {
        if packet.is_v6() {
            self.add(at + 7, 1);
            self.add(at + 8, 32);
        } else {
            self.add(at + 8, 1);
            self.add(at + 10, 2);
            self.add(at + 12, 8);
        }
    }

    fn with_checksum(mut self, at: usize) -> Self {
        self.add(at, 2);
        self
    }

    /// Ports and checksum of the transport header at `at`. SCTP keeps both.
    fn with_ports(mut self, packet: &Packet<'_>, at: usize) -> Self {
        if packet.ports().is_some() && packet.protocol != number::SCTP {
            self.add(at, 4);
            if let Some(checksum_at) = packet.checksum_at() {
                self.add(checksum_at, 2);
            }
        }
        self
    }

    /// Of a quoted packet the addresses, the IPv4 checksum and the ports; the
    /// TTL and the transport's checksum stay.
    fn add_quote(&mut self, quote: &Packet<'_>, at: usize) {
        if quote.is_v6() {
            self.add(at + 8, 32);
        } else {
            self.add(at + 10, 2);
            self.add(at + 12, 8);
        }
        if quote.ports().is_some() && quote.protocol != number::SCTP {
            self.add(at + quote.header, 4);
        }
    }

    fn rest_is_the_same(&self, before: &Packet<'_>, after: &Packet<'_>) -> Result<(), String> {
        let (before, after) = (before.bytes, after.bytes);
        let mut from = 0;
        for (start, end) in &self.ranges[..self.number] {
            hold!(
                before[from..*start] == after[from..*start],
                "changed between {from} and {start}"
            );
            from = *end;
        }
        hold!(before[from..] == after[from..], "changed after {from}");
        Ok(())
    }
}
