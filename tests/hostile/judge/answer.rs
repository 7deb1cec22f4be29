//! ICMP errors that the director made (RFC 792, RFC 1812, RFC 4443).

use super::{hold, may_be_answered};
use crate::{
    checksum,
    draft::number,
    view::{Frame, Packet, word},
};

/// Longest message: RFC 1812 section 4.3.2.3, RFC 4443 section 2.4 c.
const MAX_V4: usize = 576;
const MAX_V6: usize = 1280;

/// Type and code: unreachable port, packet too big, time exceeded.
const KINDS_V4: [(u8, u8); 3] = [(3, 3), (3, 4), (11, 0)];
const KINDS_V6: [(u8, u8); 3] = [(1, 4), (2, 0), (3, 0)];

pub fn judge(
    arrived: &Frame<'_>,
    packet: &Packet<'_>,
    left: &Frame<'_>,
    out: &Packet<'_>,
    rest: &[u8],
) -> Result<(), String> {
    hold!(
        may_be_answered(packet),
        "an answer to what must not have one"
    );
    hold!(
        (left.to, left.from) == (arrived.from, arrived.to),
        "an answer to {:02x?}",
        left.to
    );
    hold!(
        left.tags == arrived.tags,
        "an answer with tags {:02x?}",
        left.tags
    );
    hold!(rest.is_empty(), "{} bytes after an answer", rest.len());
    hold!(
        out.is_v6() == packet.is_v6(),
        "an answer of the other family"
    );
    hold!(
        (out.source, out.destination) == (packet.destination, packet.source),
        "an answer from {} to {}",
        out.source,
        out.destination
    );
    let (fixed, most, protocol, kinds) = if out.is_v6() {
        (40, MAX_V6, number::ICMPV6, KINDS_V6)
    } else {
        (20, MAX_V4, number::ICMP, KINDS_V4)
    };
    hold!(
        out.header == fixed && out.protocol == protocol,
        "an answer with options"
    );
    hold!(
        out.bytes.len() <= most,
        "an answer of {} bytes",
        out.bytes.len()
    );
    hold!(out.ttl() >= 64, "an answer with a TTL of {}", out.ttl());
    let message = out.transport();
    let [kind, code, _, _, _, _, _, _, quote @ ..] = message else {
        return Err("an answer without a header".to_owned());
    };
    hold!(
        kinds.contains(&(*kind, *code)),
        "an answer of type {kind}, code {code}"
    );
    hold!(
        checksum::is_right(out.transport_sum()),
        "an answer's checksum"
    );

    let longest = most - fixed - 8;
    let expected = &packet.bytes[..packet.bytes.len().min(longest)];
    hold!(
        quote == expected,
        "an answer quotes {} bytes, not {} as they came",
        quote.len(),
        expected.len()
    );
    let is_too_big = (*kind, *code) == kinds[1];
    let mtu = if out.is_v6() {
        word(message, 4).zip(word(message, 6))
    } else {
        Some(0).zip(word(message, 6))
    };
    let (high, mtu) = mtu.ok_or("an answer without a header")?;
    if is_too_big {
        hold!(
            high == 0 && usize::from(mtu) < packet.bytes.len(),
            "an MTU of {mtu} for {} bytes",
            packet.bytes.len()
        );
        hold!(mtu >= 68, "an MTU of {mtu}");
    } else {
        hold!((high, mtu) == (0, 0), "an answer with a second word");
    }
    hold!(
        packet.ttl() <= 1 || kind != &KINDS_V4[2].0 || out.is_v6(),
        "time exceeded at {}",
        packet.ttl()
    );
    Ok(())
}
