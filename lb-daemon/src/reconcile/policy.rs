//! What holds for all services alike: options, timeouts, defences, who may
//! connect, firewall marks. Pure: from the configuration to what the maps are
//! to hold.

use std::{collections::HashMap, net::IpAddr};

use lb_common::{
    abi::{Settings, settings_flag},
    addr::{Addr, Be32},
    defence::{Defence as Kind, Mark, Marks},
    firewall_mark::{MarkKey, MarkPorts, PortRange},
    limits::MARK_RANGES,
    rate_limit::Limit,
};

use crate::{
    config::model::{
        Defence, FirewallMark, IpFamily, MarkRule, Options, ServiceId, Strategy, Timeouts,
        TunnelSources,
    },
    dataplane::Sizes,
};

/// Per cent of a table at which a defence comes by itself; it goes 10 lower.
const DROP_ENTRY_PERCENT: u32 = 80;
const STATELESS_PERCENT: u32 = 90;
const DROP_PACKET_PERCENT: u32 = 95;
const HYSTERESIS_PERCENT: u32 = 10;
/// From here on a packet without an entry makes none.
const MOST_PERCENT: u32 = 97;

/// `[timeouts]`, `[options]` and `[defence]` as the programs read them, but for
/// the flags that say what the maps hold.
#[must_use]
pub fn settings(
    timeouts: &Timeouts,
    options: &Options,
    defence: &Defence,
    sizes: &Sizes,
) -> Settings {
    let TunnelSources { v4, v6 } = options.tunnel_sources;
    let mut settings = Settings {
        timeouts_s: timeouts.0,
        flags: 0,
        icmp_rate: options.icmp_rate,
        tunnel_source_v4: Be32::default(),
        tunnel_prefix_v4: 0,
        tunnel_prefix_v6: 0,
        source_prefix_v4: 0,
        source_prefix_v6: 0,
        tunnel_source_v6: Addr::UNSPECIFIED,
        source_rate: Limit::default(),
        marks: marks_of_fill(defence, sizes.connections),
        most_entries: share(sizes.connections, MOST_PERCENT),
        half_open_mask: sizes.half_open() - 1,
        locality_s: options.lblc_expiry_s,
        pad: 0,
    };
    if let Some((network, length)) = v4 {
        settings.flags |= settings_flag::TUNNEL_SOURCES_V4;
        settings.tunnel_source_v4 = Be32::new(network.to_bits());
        settings.tunnel_prefix_v4 = length;
    }
    if let Some((network, length)) = v6 {
        settings.flags |= settings_flag::TUNNEL_SOURCES_V6;
        settings.tunnel_source_v6 = IpAddr::from(network).into();
        settings.tunnel_prefix_v6 = length;
    }
    if let Some(limit) = defence.rate_limit {
        settings.source_rate = Limit::new(limit.per_source, limit.burst);
        settings.source_prefix_v4 = limit.netmask;
        settings.source_prefix_v6 = limit.netmask_v6;
    }
    for (is_set, flag) in [
        (options.sloppy_tcp, settings_flag::SLOPPY_TCP),
        (options.reuse_fin_wait, settings_flag::REUSE_FIN_WAIT),
        (
            defence.drop_packet == Strategy::On,
            settings_flag::DROP_PACKET_ALWAYS,
        ),
        (defence.stateless != Strategy::Off, settings_flag::STATELESS),
    ] {
        if is_set {
            settings.flags |= flag;
        }
    }
    settings
}

fn marks_of_fill(defence: &Defence, connections: u32) -> Marks {
    let mut marks = Marks::default();
    for (kind, strategy, percent) in [
        (Kind::DropEntry, defence.drop_entry, DROP_ENTRY_PERCENT),
        (Kind::Stateless, defence.stateless, STATELESS_PERCENT),
        (Kind::DropPacket, defence.drop_packet, DROP_PACKET_PERCENT),
        (Kind::SecureTcp, defence.secure_tcp, DROP_ENTRY_PERCENT),
    ] {
        marks[kind as usize] = match strategy {
            Strategy::Off => Mark::NEVER,
            Strategy::On => Mark::ALWAYS,
            Strategy::Auto => Mark::new(
                share(connections, percent),
                share(connections, percent - HYSTERESIS_PERCENT),
            ),
        };
    }
    marks
}

fn share(entries: u32, percent: u32) -> u32 {
    (u64::from(entries) * u64::from(percent) / 100) as u32
}

/// What `DENY` or `ALLOW` is to hold.
pub(super) fn networks(prefixes: &[(IpAddr, u8)]) -> HashMap<(u32, Addr), u32> {
    let network = |&(address, length): &(IpAddr, u8)| {
        let length = u32::from(length) + if address.is_ipv4() { 96 } else { 0 };
        ((length, Addr::from(address)), 1)
    };
    prefixes.iter().map(network).collect()
}

/// More port ranges for one destination than the programs look through.
#[derive(Debug, thiserror::Error)]
#[error(
    "firewall marks of {destination}: {found} port ranges; at most {MARK_RANGES} fit one destination"
)]
pub struct TooManyRanges {
    destination: IpAddr,
    found: usize,
}

/// What `MARKS` is to hold: for each destination that a rule names, every rule
/// that covers it, the longest prefix first. Rules without a service say
/// nothing.
pub fn marks(
    rules: &[MarkRule],
    slot_of: impl Fn(ServiceId) -> Option<u32>,
) -> Result<HashMap<(u32, MarkKey), MarkPorts>, TooManyRanges> {
    let mut marks = HashMap::new();
    for rule in rules {
        let (destination, length) = rule.destination;
        let mut covering: Vec<&MarkRule> = rules
            .iter()
            .filter(|other| other.protocol == rule.protocol && covers(other, rule))
            .collect();
        covering.sort_by_key(|other| std::cmp::Reverse(other.destination.1));
        let ranges: Vec<PortRange> = covering
            .into_iter()
            .filter_map(|other| Some((other, slot_of(service_of(other))?)))
            .flat_map(|(other, service)| {
                let all = [(0, u16::MAX)];
                let ports = if other.ports.is_empty() {
                    all.to_vec()
                } else {
                    other.ports.clone()
                };
                ports.into_iter().map(move |(first, last)| PortRange {
                    first,
                    last,
                    service,
                })
            })
            .collect();
        let flat = flatten(&ranges);
        if flat.is_empty() {
            continue;
        }
        if flat.len() > MARK_RANGES {
            return Err(TooManyRanges {
                destination,
                found: flat.len(),
            });
        }
        let mut ports = MarkPorts::EMPTY;
        ports.count = flat.len() as u32;
        ports.ranges[..flat.len()].copy_from_slice(&flat);
        let key = MarkKey::new(rule.protocol.number(), Addr::from(destination));
        let bits = MarkKey::prefix_length(destination.is_ipv4(), length);
        marks.insert((bits, key), ports);
    }
    Ok(marks)
}

fn service_of(rule: &MarkRule) -> ServiceId {
    let family = if rule.destination.0.is_ipv4() {
        IpFamily::V4
    } else {
        IpFamily::V6
    };
    ServiceId::Mark(FirewallMark {
        mark: rule.mark,
        family,
    })
}

/// Whether every destination of `inner` is one of `outer`.
fn covers(outer: &MarkRule, inner: &MarkRule) -> bool {
    let (outer, length) = outer.destination;
    let (inner, inner_length) = inner.destination;
    let network = |address: IpAddr| {
        lb_common::prefix::network(Addr::from(address), length, address.is_ipv4())
    };
    outer.is_ipv4() == inner.is_ipv4() && length <= inner_length && network(outer) == network(inner)
}

/// The same, in rising order and without overlap; where ranges overlap, the
/// first one holds.
fn flatten(ranges: &[PortRange]) -> Vec<PortRange> {
    let mut starts: Vec<u32> = ranges
        .iter()
        .flat_map(|range| [u32::from(range.first), u32::from(range.last) + 1])
        .collect();
    starts.sort_unstable();
    starts.dedup();
    let mut flat: Vec<PortRange> = Vec::new();
    for pair in starts.windows(2) {
        let (first, last) = (pair[0] as u16, (pair[1] - 1) as u16);
        let holds = |range: &&PortRange| range.first <= first && last <= range.last;
        let Some(range) = ranges.iter().find(holds) else {
            continue;
        };
        match flat.last_mut() {
            Some(before)
                if before.service == range.service
                    && u32::from(before.last) + 1 == u32::from(first) =>
            {
                before.last = last;
            }
            _ => flat.push(PortRange {
                first,
                last,
                service: range.service,
            }),
        }
    }
    flat
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Protocol;

    fn rule(mark: u32, destination: &str, length: u8, ports: &[(u16, u16)]) -> MarkRule {
        MarkRule {
            mark,
            protocol: Protocol::Tcp,
            destination: (destination.parse().unwrap(), length),
            ports: ports.to_vec(),
        }
    }

    /// The service slots are the marks' numbers; mark 99 has no service.
    fn service(rules: &[MarkRule], address: &str, port: u16) -> Option<u32> {
        let slot = |id| match id {
            ServiceId::Mark(mark) if mark.mark != 99 => Some(mark.mark),
            _ => None,
        };
        let marks = marks(rules, slot).unwrap();
        let address: IpAddr = address.parse().unwrap();
        // What the trie does.
        let mut longest = None;
        for ((bits, key), ports) in &marks {
            let length = (bits - 32 - if address.is_ipv4() { 96 } else { 0 }) as u8;
            let network = lb_common::prefix::network(address.into(), length, address.is_ipv4());
            if network == key.address && longest.is_none_or(|(most, _)| most < *bits) {
                longest = Some((*bits, *ports));
            }
        }
        longest?.1.service(port)
    }

    #[test]
    fn rules_of_one_mark_add_up() {
        let rules = [
            rule(80, "192.0.2.10", 32, &[(80, 80), (443, 443)]),
            rule(80, "192.0.2.10", 32, &[(10_000, 20_000)]),
            rule(81, "192.0.2.11", 32, &[]),
        ];
        for (address, port, expected) in [
            ("192.0.2.10", 80, Some(80)),
            ("192.0.2.10", 81, None),
            ("192.0.2.10", 443, Some(80)),
            ("192.0.2.10", 15_000, Some(80)),
            ("192.0.2.10", 20_001, None),
            ("192.0.2.11", 1, Some(81)),
            ("192.0.2.12", 80, None),
        ] {
            assert_eq!(service(&rules, address, port), expected, "{address}:{port}");
        }
    }

    #[test]
    fn the_longer_prefix_comes_first() {
        let rules = [
            rule(1, "192.0.2.0", 24, &[]),
            rule(2, "192.0.2.10", 32, &[(80, 89)]),
            rule(99, "192.0.2.11", 32, &[(80, 80)]),
        ];
        assert_eq!(service(&rules, "192.0.2.10", 79), Some(1));
        assert_eq!(service(&rules, "192.0.2.10", 80), Some(2));
        assert_eq!(service(&rules, "192.0.2.10", 90), Some(1));
        // A mark without a service leaves the packet to the next one.
        assert_eq!(service(&rules, "192.0.2.11", 80), Some(1));
        assert_eq!(service(&rules, "192.0.2.200", 65_535), Some(1));
        assert_eq!(service(&rules, "2001:db8::1", 80), None);
    }

    #[test]
    fn a_destination_has_room_for_so_many_ranges() {
        let ports: Vec<_> = (0..=MARK_RANGES as u16).map(|n| (n * 10, n * 10)).collect();
        let rules = [rule(7, "192.0.2.10", 32, &ports)];
        let error = marks(&rules, |_| Some(1)).unwrap_err().to_string();
        assert!(error.contains("192.0.2.10: 33 port ranges"), "{error}");
        // Neighbours are one.
        let ports: Vec<_> = (0..100).map(|n| (n, n)).collect();
        assert_eq!(
            service(&[rule(7, "192.0.2.10", 32, &ports)], "192.0.2.10", 50),
            Some(7)
        );
    }
}
