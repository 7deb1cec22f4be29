//! `virtual_server_group`: addresses, ranges of them, and marks that one
//! `virtual_server` serves.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Context, tree::Node};
use crate::{config::model::IpFamily, import::source::ImportError};

/// Addresses of one range. IPVS would hold as many services.
const MAX_RANGE: u128 = 4096;

/// What a group has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) addresses: Vec<SocketAddr>,
    /// The family, where it is said.
    pub(super) marks: Vec<(u32, Option<IpFamily>)>,
}

/// Keeps the group for the services that name it.
pub(super) fn keep(node: &Node, context: &mut Context<'_>) -> Result<(), ImportError> {
    let name = node.value()?.to_owned();
    if context.groups.contains_key(&name) {
        context.warn(
            node,
            &format!("{name} is there already; this one is left out"),
        );
        return Ok(());
    }
    if node.block().is_empty() {
        context.warn(node, &format!("{name} has nothing in it"));
    }
    context.groups.insert(name, node.clone());
    Ok(())
}

pub(super) fn read(node: &Node) -> Result<Group, ImportError> {
    let mut group = Group::default();
    for line in node.block() {
        if line.keyword() == "fwmark" {
            let mark = super::number(line)?;
            if mark == 0 {
                return Err(line.error("0 is no mark"));
            }
            let family = match line.values().get(1).map(String::as_str) {
                None => None,
                Some("inet") => Some(IpFamily::V4),
                Some("inet6") => Some(IpFamily::V6),
                Some(other) => return Err(line.error(&format!("{other:?} is no address family"))),
            };
            group.marks.push((mark, family));
            continue;
        }
        let port = match line.values().first() {
            None => 0,
            Some(port) => port
                .parse()
                .map_err(|_| line.error(&format!("{port:?} is not a port")))?,
        };
        let range = range(line.keyword()).map_err(|problem| line.error(&problem))?;
        let addresses = range.into_iter();
        group
            .addresses
            .extend(addresses.map(|address| SocketAddr::new(address, port)));
    }
    Ok(group)
}

/// `192.0.2.1`, `192.0.2.1-10`, `192.0.2.250-192.0.3.9`, `192.0.2.8/29`, and the
/// same of IPv6, where the end of a range is hexadecimal.
fn range(text: &str) -> Result<Vec<IpAddr>, String> {
    let address = |text: &str| {
        text.parse::<IpAddr>()
            .map_err(|_| format!("{text:?} is not an IP address"))
    };
    let (first, last) = if let Some((network, length)) = text.split_once('/') {
        let network = address(network)?;
        let bits = if network.is_ipv4() { 32 } else { 128 };
        let length = length.parse().ok().filter(|length: &u32| *length <= bits);
        let length = length.ok_or("not a prefix's length")?;
        let hosts = 1_u128
            .checked_shl(bits - length)
            .map_or(u128::MAX, |size| size - 1);
        let first = bits_of(network) & !hosts;
        (like(network, first), like(network, first | hosts))
    } else if let Some((first, last)) = text.split_once('-') {
        let first = address(first)?;
        let last = match first {
            _ if last.contains(['.', ':']) => address(last)?,
            IpAddr::V4(v4) => {
                let end: u8 = last.parse().map_err(|_| "not the end of a range")?;
                let [a, b, c, _] = v4.octets();
                Ipv4Addr::new(a, b, c, end).into()
            }
            IpAddr::V6(v6) => {
                let end = u16::from_str_radix(last, 16).map_err(|_| "not the end of a range")?;
                let mut segments = v6.segments();
                segments[7] = end;
                Ipv6Addr::from(segments).into()
            }
        };
        (first, last)
    } else {
        let address = address(text)?;
        (address, address)
    };
    if first.is_ipv4() != last.is_ipv4() || first > last {
        return Err(format!("{text:?} ends before it begins"));
    }
    let (start, end) = (bits_of(first), bits_of(last));
    if end - start >= MAX_RANGE {
        return Err(format!("{text:?} has more than {MAX_RANGE} addresses"));
    }
    Ok((start..=end).map(|bits| like(first, bits)).collect())
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address of these bits, in the family of `other`.
fn like(other: IpAddr, bits: u128) -> IpAddr {
    match other {
        IpAddr::V4(_) => Ipv4Addr::from_bits(bits as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(bits).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_both_ends() {
        for (text, expected) in [
            ("192.0.2.1", &["192.0.2.1"][..]),
            ("192.0.2.9-11", &["192.0.2.9", "192.0.2.10", "192.0.2.11"]),
            ("192.0.2.255-192.0.3.0", &["192.0.2.255", "192.0.3.0"]),
            ("192.0.2.9/31", &["192.0.2.8", "192.0.2.9"]),
            (
                "2001:db8::e-10",
                &["2001:db8::e", "2001:db8::f", "2001:db8::10"],
            ),
            ("2001:db8::/127", &["2001:db8::", "2001:db8::1"]),
        ] {
            let addresses = range(text).unwrap();
            let addresses: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
            assert_eq!(addresses, expected, "{text}");
        }
        for (text, expected) in [
            ("web1", "\"web1\" is not an IP address"),
            ("10.0.0.5-1", "ends before it begins"),
            ("10.0.0.5-2001:db8::1", "ends before it begins"),
            ("10.0.0.1-256", "not the end of a range"),
            ("10.0.0.0/33", "not a prefix's length"),
            ("10.0.0.0/8", "more than 4096 addresses"),
            ("::/0", "more than 4096 addresses"),
        ] {
            let error = range(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
