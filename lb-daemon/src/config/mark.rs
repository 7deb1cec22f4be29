//! `[[firewall_mark]]`: which packets are marked for a `fwmark` service. The
//! marking is lbd's own, not netfilter's.

use std::{fmt, net::IpAddr};

use super::{
    identity::IpFamily,
    model::Protocol,
    prefix,
    rules::{Invalid, invalid},
};

/// Packets that get a mark. Several rules of one mark add up; of several that
/// hold for one packet, the longest prefix wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkRule {
    /// Not 0.
    pub mark: u32,
    pub protocol: Protocol,
    /// The network's address, all bits behind the prefix 0, and the prefix's
    /// length.
    pub destination: (IpAddr, u8),
    /// First and last of each range, in order, apart from each other; none:
    /// all ports.
    pub ports: Vec<(u16, u16)>,
}

impl MarkRule {
    #[must_use]
    pub const fn family(&self) -> IpFamily {
        IpFamily::of(self.destination.0)
    }

    /// Whether a packet could be meant by both in the same way.
    fn overlaps(&self, other: &Self) -> bool {
        let ports_meet = self.ports.is_empty()
            || other.ports.is_empty()
            || self.ports.iter().any(|(first, last)| {
                let meets = |(a, b): &(u16, u16)| a <= last && first <= b;
                other.ports.iter().any(meets)
            });
        self.protocol == other.protocol && self.destination == other.destination && ports_meet
    }
}

/// `firewall mark 80: tcp 192.0.2.10/32 80,443`.
impl fmt::Display for MarkRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (network, length) = self.destination;
        let (mark, protocol) = (self.mark, self.protocol.name());
        write!(f, "firewall mark {mark}: {protocol} {network}/{length}")?;
        match &self.ports[..] {
            [] => Ok(()),
            ports => write!(f, " {}", port_words(ports).join(",")),
        }
    }
}

/// Refuses a rule that marks what one of `others` marks differently, and one
/// that is among them already.
pub fn check<'a>(
    rule: &MarkRule,
    others: impl IntoIterator<Item = &'a MarkRule>,
) -> Result<(), Invalid> {
    for other in others {
        if other == rule {
            return Err(invalid("mark", format!("{rule} is listed twice")));
        }
        if other.mark != rule.mark && other.overlaps(rule) {
            return Err(invalid("mark", format!("{rule} contradicts {other}")));
        }
    }
    Ok(())
}

/// A mark in figures.
pub fn mark(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|mark| *mark != 0);
    number.ok_or_else(|| format!("{text:?} is not a mark: expected 1 to {}", u32::MAX))
}

/// An address, which stands for itself alone, or a prefix.
pub fn destination(text: &str) -> Result<(IpAddr, u8), String> {
    prefix::address_or_prefix(text)
}

/// A port, or a range of them: `80`, `10000-20000`.
pub fn port_range(text: &str) -> Result<(u16, u16), String> {
    let error = || format!("{text:?} is not a port or a range: expected 80 or 10000-20000");
    let port = |text: &str| text.parse().ok().filter(|port| *port != 0);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err(error()),
    }
}

/// Ports as the command line has them, with commas; `all` is no range.
pub fn ports(text: &str) -> Result<Vec<(u16, u16)>, String> {
    if text == "all" {
        return Ok(Vec::new());
    }
    let ranges: Result<Vec<_>, _> = text.split(',').map(port_range).collect();
    ranges.map(in_order)
}

/// The same ports, in ranges that are in order and apart from each other.
#[must_use]
pub fn in_order(mut ports: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    ports.sort_unstable();
    let mut joined: Vec<(u16, u16)> = Vec::with_capacity(ports.len());
    for (first, last) in ports {
        match joined.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => joined.push((first, last)),
        }
    }
    joined
}

/// Each range as the command line has it.
#[must_use]
pub fn port_words(ports: &[(u16, u16)]) -> Vec<String> {
    let word = |(first, last): &(u16, u16)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    };
    ports.iter().map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(mark: u32, to: &str, on: &str) -> MarkRule {
        MarkRule {
            mark,
            protocol: Protocol::Tcp,
            destination: destination(to).unwrap(),
            ports: ports(on).unwrap(),
        }
    }

    #[test]
    fn ports_are_numbers_and_ranges() {
        assert_eq!(
            ports("443,80,10000-20000"),
            Ok(vec![(80, 80), (443, 443), (10_000, 20_000)])
        );
        assert_eq!(
            ports("80,81,81-90,65535"),
            Ok(vec![(80, 90), (65_535, 65_535)])
        );
        assert_eq!(ports("all"), Ok(Vec::new()));
        for text in ["", "0", "80-", "90-80", "65536", "http", "80,"] {
            assert!(ports(text).unwrap_err().contains("is not a port"), "{text}");
        }
    }

    #[test]
    fn destinations_are_addresses_and_prefixes() {
        let v4 = |octets: [u8; 4]| IpAddr::from(octets);
        assert_eq!(destination("192.0.2.10"), Ok((v4([192, 0, 2, 10]), 32)));
        assert_eq!(destination("192.0.2.0/24"), Ok((v4([192, 0, 2, 0]), 24)));
        assert_eq!(
            destination("2001:db8::/32"),
            Ok(("2001:db8::".parse().unwrap(), 32))
        );
        for text in ["", "192.0.2.10/24", "192.0.2.0/33", "www", "::ffff:1.2.3.4"] {
            assert!(destination(text).is_err(), "{text}");
        }
    }

    #[test]
    fn two_marks_do_not_claim_one_packet() {
        let web = rule(80, "192.0.2.10", "80,443");
        for other in [
            rule(80, "192.0.2.10", "443-500"),
            rule(81, "192.0.2.10", "81-442"),
            rule(81, "192.0.2.0/24", "80"),
            MarkRule {
                protocol: Protocol::Udp,
                ..rule(81, "192.0.2.10", "all")
            },
        ] {
            assert_eq!(check(&other, [&web]), Ok(()), "{other}");
        }
        let error = check(&rule(81, "192.0.2.10", "443-500"), [&web]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "firewall mark 81: tcp 192.0.2.10/32 443-500 contradicts firewall mark 80: tcp 192.0.2.10/32 80,443"
        );
        assert!(check(&rule(81, "192.0.2.10", "all"), [&web]).is_err());
        let error = check(&web.clone(), [&web]).unwrap_err();
        assert!(error.to_string().ends_with("is listed twice"), "{error}");
    }
}
