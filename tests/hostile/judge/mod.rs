//! What may become of a frame, whatever it is: read and summed by code of the
//! tests' own.
//!
//! ```text
//! passed      not a byte changed
//! answered    an ICMP error of ours about it       answer
//! forwarded   dr: the packet with its TTL lowered  mod
//!             tun: that, behind an outer header    tunnel
//!             nat: addresses and ports changed     nat
//! dropped     counted: the lane compares
//! ```

mod answer;
mod nat;
mod tunnel;

#[cfg(test)]
mod tests;

use crate::{
    checksum,
    draft::number,
    method::Method,
    run::Verdict,
    view::{Frame, Packet, Piece, is_unicast},
    world::{EGRESS_MAC, FAMILIES, OUTSIDE_MAC, REALS, VLAN, family, mac_of, real, vlan},
};

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Passed,
    Dropped,
    Answered,
    Forwarded(Sent),
}

/// How a forwarded packet stands outside: addresses and ports of the first IP
/// header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    pub source: std::net::IpAddr,
    pub destination: std::net::IpAddr,
    pub ports: Option<[u16; 2]>,
}

/// Ends the hearing with a complaint unless the condition holds.
macro_rules! hold {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}
use hold;

/// Judges one frame; an error says what is wrong.
pub fn judge(
    method: Method,
    before: &[u8],
    verdict: Verdict,
    after: &[u8],
) -> Result<Fate, String> {
    match verdict {
        Verdict::Aborted => Err("XDP_ABORTED".to_owned()),
        Verdict::Drop => Ok(Fate::Dropped),
        Verdict::Pass => {
            hold!(after == before, "passed, but changed");
            Ok(Fate::Passed)
        }
        Verdict::Tx | Verdict::Redirect => sent(method, before, verdict, after),
    }
}

fn sent(method: Method, before: &[u8], verdict: Verdict, after: &[u8]) -> Result<Fate, String> {
    let arrived = Frame::read(before).ok_or("sent on, though no frame")?;
    let (packet, rest) = arrived.packet().ok_or("sent on, though no IP packet")?;
    let left = Frame::read(after).ok_or("what was sent is no frame")?;
    let (out, out_rest) = left
        .packet()
        .ok_or("what was sent is no IP packet, or shorter than it says")?;
    hold!(arrived.to[0] & 1 == 0, "sent on, though for a group");
    if let Some(defect) = packet.defect() {
        return Err(format!("sent on, though it has {defect}"));
    }
    hold!(
        is_unicast(packet.destination),
        "sent on, though to {}",
        packet.destination
    );
    hold!(
        is_unicast(packet.source) || packet.is_icmp_error(),
        "sent on, though from {}",
        packet.source
    );
    hold!(out.is_header_right(), "IPv4 header checksum");

    let is_ours =
        matches!(out.protocol, number::ICMP | number::ICMPV6) && out.protocol != packet.protocol;
    if is_ours {
        hold!(verdict == Verdict::Tx, "an answer to elsewhere");
        answer::judge(&arrived, &packet, &left, &out, out_rest)?;
        return Ok(Fate::Answered);
    }
    frame(&arrived, &left, verdict)?;
    let is_neighbour = match method {
        Method::Dr => (0..REALS).any(|index| mac_of(real(family(packet.source), index)) == left.to),
        _ => mac_of(out.destination) == left.to,
    };
    hold!(is_neighbour, "sent to {:02x?}", left.to);
    hold!(out_rest == rest, "the bytes after the packet changed");
    hold!(packet.ttl() > 1, "forwarded with a TTL of {}", packet.ttl());
    match method {
        Method::Dr => same_but_ttl(&packet, out.bytes)?,
        Method::Tun(_) => tunnel::judge(method, &packet, &out)?,
        Method::Nat | Method::Masquerade => nat::judge(method, &packet, &out)?,
        Method::Local => return Err("sent on, though for the director itself".to_owned()),
    }
    Ok(Fate::Forwarded(Sent {
        source: out.source,
        destination: out.destination,
        ports: out.ports(),
    }))
}

/// The link-layer source of one of the director's interfaces, and the tags: of
/// the real's VLAN with the priority that the frame had; else those that a
/// frame has which leaves by where it came, and none elsewhere.
fn frame(arrived: &Frame<'_>, left: &Frame<'_>, verdict: Verdict) -> Result<(), String> {
    let is_own = matches!(left.from, EGRESS_MAC | OUTSIDE_MAC);
    hold!(is_own, "sent from {:02x?}", left.from);
    let is_in_vlan = FAMILIES.iter().any(|family| {
        (0..REALS).any(|index| mac_of(real(*family, index)) == left.to && vlan(index).is_some())
    });
    let [high, low] = VLAN.to_be_bytes();
    let priority = arrived.tags.get(2).map_or(0, |octet| octet & 0xf0);
    let tag = [0x81, 0x00, high | priority, low];
    let tags = match verdict {
        _ if is_in_vlan => &tag,
        Verdict::Tx => arrived.tags,
        _ => &[],
    };
    hold!(
        left.tags == tags,
        "tags {:02x?} instead of {tags:02x?}",
        left.tags
    );
    Ok(())
}

/// The same packet one hop further.
fn same_but_ttl(packet: &Packet<'_>, out: &[u8]) -> Result<(), String> {
    hold!(
        out.len() == packet.bytes.len(),
        "{} bytes of {}",
        out.len(),
        packet.bytes.len()
    );
    let header = packet.header.min(out.len());
    hold!(
        out[header..] == packet.bytes[header..],
        "the payload changed"
    );
    let mut expected = [0; 2048];
    let expected = expected.get_mut(..header).ok_or("a header of 2 KiB")?;
    expected.copy_from_slice(&packet.bytes[..header]);
    lower_ttl(expected);
    hold!(
        out[..header] == *expected,
        "header {:02x?} instead of {expected:02x?}",
        &out[..header]
    );
    Ok(())
}

/// The IP header one hop further, its checksum made anew.
fn lower_ttl(header: &mut [u8]) {
    if header[0] >> 4 == 6 {
        header[7] -= 1;
    } else {
        header[8] -= 1;
        sum_ipv4(header);
    }
}

fn sum_ipv4(header: &mut [u8]) {
    header[10..12].fill(0);
    let length = usize::from(header[0] & 0xf) * 4;
    let field = checksum::field(checksum::sum(&header[..length]));
    header[10..12].copy_from_slice(&field.to_be_bytes());
}

/// Whether an error message may be made about a packet at all (RFC 1122
/// section 3.2.2, RFC 4443 section 2.4 e).
fn may_be_answered(packet: &Packet<'_>) -> bool {
    packet.piece != Piece::Later && !packet.is_icmp_error() && is_unicast(packet.source)
}
