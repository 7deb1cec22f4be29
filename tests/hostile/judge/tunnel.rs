//! Outer headers: of IP in IP (RFC 2003, RFC 2473), GUE and GRE, either family
//! in either.

use super::{hold, same_but_ttl};
use crate::{
    checksum,
    draft::number,
    method::{Encapsulation, Method, Tunnel},
    view::{Packet, Piece, word},
    world::{family, is_tunnel_source, local, real_index},
};

pub fn judge(method: Method, packet: &Packet<'_>, out: &Packet<'_>) -> Result<(), String> {
    let index =
        real_index(out.destination).ok_or_else(|| format!("a tunnel to {}", out.destination))?;
    let is_own = if method.spreads_sources() {
        is_tunnel_source(out.source)
    } else {
        out.source == local(family(out.destination))
    };
    hold!(is_own, "a tunnel from {}", out.source);
    hold!(out.piece == Piece::Whole, "a fragment of a tunnel");
    outer(packet, out)?;
    let Some(tunnel) = method.tunnel(index) else {
        return Err("no tunnel's real".to_owned());
    };
    let inner = if packet.is_v6() {
        number::IPV6
    } else {
        number::IPIP
    };
    let payload = out.transport();
    let shim = match tunnel.encapsulation {
        Encapsulation::Ipip => {
            hold!(
                out.protocol == inner,
                "protocol {} around {inner}",
                out.protocol
            );
            0
        }
        Encapsulation::Gue => {
            hold!(
                out.protocol == number::UDP,
                "GUE in protocol {}",
                out.protocol
            );
            gue(packet, out, tunnel, inner)?
        }
        Encapsulation::Gre => {
            hold!(
                out.protocol == number::GRE,
                "GRE in protocol {}",
                out.protocol
            );
            gre(packet, payload, tunnel.checksum, inner)?
        }
    };
    same_but_ttl(
        packet,
        payload.get(shim..).ok_or("a tunnel without a packet")?,
    )
}

fn outer(packet: &Packet<'_>, out: &Packet<'_>) -> Result<(), String> {
    hold!(
        out.ttl() == packet.ttl() - 1,
        "outer TTL {} of {}",
        out.ttl(),
        packet.ttl()
    );
    hold!(out.tos() == packet.tos(), "outer TOS {:02x}", out.tos());
    if out.is_v6() {
        hold!(out.header == 40, "outer extension headers");
        hold!(
            (out.bytes[1] & 0xf, &out.bytes[2..4]) == (0, &[0, 0][..]),
            "outer flow label"
        );
        return Ok(());
    }
    hold!(out.header == 20, "outer options");
    // Inner IPv6 is never fragmented on its way.
    let (id, fragment) = if packet.is_v6() {
        (0, 0x4000)
    } else {
        (word_at(packet, 4), word_at(packet, 6))
    };
    let df = fragment & 0x4000;
    let id = if df == 0 { id } else { 0 };
    hold!(word_at(out, 6) == df, "outer flags {:04x}", word_at(out, 6));
    hold!(word_at(out, 4) == id, "outer ID {:04x}", word_at(out, 4));
    Ok(())
}

fn word_at(packet: &Packet<'_>, at: usize) -> u16 {
    word(packet.bytes, at).unwrap_or(0)
}

/// Whether a tunnel's checksum is right, or exactly as wrong as that of the
/// packet inside: a sum that was derived from the latter says no less.
fn is_sound(sum: u64, packet: &Packet<'_>) -> bool {
    let has_sum = packet.piece == Piece::Whole
        && matches!(packet.protocol, number::TCP | number::UDP)
        && packet.checksum_at().and_then(|at| word(packet.bytes, at)) != Some(0);
    let residue = checksum::residue(sum);
    residue == 0 || has_sum && residue == checksum::residue(packet.transport_sum())
}

fn gue(packet: &Packet<'_>, out: &Packet<'_>, tunnel: Tunnel, inner: u8) -> Result<usize, String> {
    let udp = out.transport();
    hold!(udp.len() >= 12, "GUE of {} bytes", udp.len());
    let [source, destination] = out.ports().ok_or("GUE without ports")?;
    hold!(source >= 49_152, "GUE from port {source}");
    hold!(destination == tunnel.port, "GUE to port {destination}");
    hold!(
        word(udp, 4) == Some(udp.len() as u16),
        "GUE's UDP length {:?}",
        word(udp, 4)
    );
    let field = word(udp, 6);
    if tunnel.checksum {
        hold!(
            field != Some(0) && is_sound(out.transport_sum(), packet),
            "GUE's UDP checksum {field:?}"
        );
    } else {
        hold!(field == Some(0), "a UDP checksum that nobody asked for");
    }
    hold!(
        udp[8..12] == [0, inner, 0, 0],
        "GUE header {:02x?}",
        &udp[8..12]
    );
    Ok(12)
}

fn gre(
    packet: &Packet<'_>,
    payload: &[u8],
    has_checksum: bool,
    inner: u8,
) -> Result<usize, String> {
    let protocol = if inner == number::IPIP {
        [0x08, 0x00]
    } else {
        [0x86, 0xdd]
    };
    let flags = if has_checksum { 0x80 } else { 0 };
    let expected = [flags, 0, protocol[0], protocol[1]];
    hold!(
        payload.get(..4) == Some(&expected),
        "GRE header {:02x?}",
        payload.get(..4)
    );
    if !has_checksum {
        return Ok(4);
    }
    hold!(word(payload, 6) == Some(0), "GRE's reserved word");
    hold!(
        is_sound(checksum::sum(payload), packet),
        "GRE's checksum {:?}",
        word(payload, 4)
    );
    Ok(8)
}
