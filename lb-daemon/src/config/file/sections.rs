//! The sections of plain numbers and switches.

use std::{net::IpAddr, ops::RangeInclusive};

use super::{ConfigError, entry::Entry, schema, table::Table};
use crate::config::{
    model::{Capacity, Config, Metrics, Options, TunnelSources},
    prefix,
    scheduling::MAX_LBLC_EXPIRY_S,
};

/// Entries of one map: past any machine's memory, far from overflowing.
const CAPACITY_RANGE: RangeInclusive<u64> = 1..=1 << 28;

pub(super) fn capacity(root: &Table<'_>) -> Result<Capacity, ConfigError> {
    let table = section(root, "capacity", schema::CAPACITY)?;
    let entries = |key: &'static str, default| number(table.as_ref(), key, CAPACITY_RANGE, default);
    Ok(Capacity {
        services: entries("services", 4096)?,
        reals: entries("reals", 65_536)?,
        connections: entries("connections", 1_048_576)?,
        persistence: entries("persistence", 262_144)?,
    })
}

pub(super) fn options(root: &Table<'_>) -> Result<Options, ConfigError> {
    let table = section(root, "options", schema::OPTIONS)?;
    let flag = |key| table.as_ref().map_or(Ok(false), |table| flag(table, key));
    Ok(Options {
        sloppy_tcp: flag("sloppy_tcp")?,
        expire_nodest: flag("expire_nodest")?,
        expire_quiescent: flag("expire_quiescent")?,
        reuse_fin_wait: flag("reuse_fin_wait")?,
        lblc_expiry_s: table
            .as_ref()
            .and_then(|table| table.get("lblc_expiry"))
            .map_or(Ok(86_400), |entry| {
                entry.seconds(1..=MAX_LBLC_EXPIRY_S.into())
            })?,
        icmp_rate: number(table.as_ref(), "icmp_rate", 0..=1_000_000, 1000)?,
        tunnel_sources: table
            .as_ref()
            .map_or(Ok(TunnelSources::default()), tunnel_sources)?,
    })
}

/// At most one prefix for each family.
fn tunnel_sources(table: &Table<'_>) -> Result<TunnelSources, ConfigError> {
    let mut sources = TunnelSources::default();
    let Some(entry) = table.get("tunnel_sources") else {
        return Ok(sources);
    };
    for element in entry.elements("an array")? {
        let is_second = match element.parsed(prefix::unicast)? {
            (IpAddr::V4(network), length) => sources.v4.replace((network, length)).is_some(),
            (IpAddr::V6(network), length) => sources.v6.replace((network, length)).is_some(),
        };
        if is_second {
            return Err(element.error("a second prefix of one family; there can be one for each"));
        }
    }
    Ok(sources)
}

pub(super) fn metrics(root: &Table<'_>) -> Result<Metrics, ConfigError> {
    let table = section(root, "metrics", schema::METRICS)?;
    let listen = table.and_then(|table| table.get("listen"));
    let address = |entry: Entry<'_>| {
        entry.parsed(|text| {
            let error =
                || format!("{text:?} is not an address and a port: expected 127.0.0.1:9106");
            text.parse().map_err(|_| error())
        })
    };
    Ok(Metrics {
        listen: listen.map(address).transpose()?,
    })
}

/// What the file lists must fit into the tables that it asks for.
pub(super) fn check_capacity(root: &Table<'_>, config: &Config) -> Result<(), ConfigError> {
    let reals = config
        .services
        .iter()
        .map(|service| service.reals.len())
        .sum();
    for (key, listed, capacity) in [
        ("services", config.services.len(), config.capacity.services),
        ("reals", reals, config.capacity.reals),
    ] {
        if listed > capacity as usize {
            let problem = format!("{capacity} is too small: the file has {listed} {key}");
            let table = section(root, "capacity", schema::CAPACITY)?;
            return Err(table.map_or_else(
                || root.error("capacity", format!("{key}: {problem}")),
                |table| table.error(key, problem.clone()),
            ));
        }
    }
    Ok(())
}

/// The table called `key`, if the file has it.
pub(super) fn section<'a>(
    root: &Table<'a>,
    key: &'static str,
    section: schema::Section,
) -> Result<Option<Table<'a>>, ConfigError> {
    root.get(key).map(|entry| entry.table(section)).transpose()
}

/// A switch, off by default.
pub(super) fn flag(table: &Table<'_>, key: &'static str) -> Result<bool, ConfigError> {
    table.get(key).map_or(Ok(false), |entry| entry.boolean())
}

fn number(
    table: Option<&Table<'_>>,
    key: &'static str,
    range: RangeInclusive<u64>,
    default: u32,
) -> Result<u32, ConfigError> {
    table
        .and_then(|table| table.get(key))
        .map_or(Ok(default), |entry| entry.integer(range))
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    const DIRECTOR: &str = "[director]\ninterfaces = ['eth0']\n";

    fn refused(text: &str) -> String {
        parse(text, "lbd.toml").unwrap_err().to_string()
    }

    #[test]
    fn tunnels_have_a_source_prefix_for_each_family() {
        let text =
            format!("{DIRECTOR}[options]\ntunnel_sources = ['100.64.0.0/16', '2001:db8:f::/64']\n");
        let sources = parse(&text, "lbd.toml").unwrap().options.tunnel_sources;
        assert_eq!(sources.v4, Some(([100, 64, 0, 0].into(), 16)));
        assert_eq!(sources.v6, Some(("2001:db8:f::".parse().unwrap(), 64)));
        for (value, problem) in [
            (
                "'100.64.0.0'",
                "\"100.64.0.0\" is not a prefix: expected 100.64.0.0/16 or 2001:db8:f::/64",
            ),
            (
                "'100.64.0.1/16'",
                "\"100.64.0.1/16\" has bits behind its length; write 100.64.0.0/16",
            ),
            (
                "'224.0.0.0/8'",
                "\"224.0.0.0/8\" is not a prefix of unicast addresses",
            ),
            (
                "'10.0.0.0/8', '10.0.0.0/8'",
                "a second prefix of one family; there can be one for each",
            ),
        ] {
            assert_eq!(
                refused(&format!(
                    "{DIRECTOR}[options]\ntunnel_sources = [\n{value}]\n"
                )),
                format!("lbd.toml:5: options.tunnel_sources: {problem}")
            );
        }
    }

    #[test]
    fn options_are_switches() {
        let text = format!(
            "{DIRECTOR}[options]\nexpire_nodest = true\nexpire_quiescent = true\n\
             lblc_expiry = '1h'\n[capacity]\npersistence = 5\n"
        );
        let config = parse(&text, "lbd.toml").unwrap();
        assert!(config.options.expire_nodest && config.options.expire_quiescent);
        assert!(!config.options.sloppy_tcp);
        assert_eq!(config.options.lblc_expiry_s, 3600);
        assert_eq!(config.capacity.persistence, 5);
        assert_eq!(
            refused(&format!("{DIRECTOR}[options]\nexpire_nodest = 1\n")),
            "lbd.toml:4: options.expire_nodest: expected true or false, found integer"
        );
        for (expiry, problem) in [
            ("500ms", "whole seconds only"),
            ("0s", "out of range: 1s to 31536000s"),
            ("366d", "out of range: 1s to 31536000s"),
        ] {
            assert_eq!(
                refused(&format!("{DIRECTOR}[options]\nlblc_expiry = '{expiry}'\n")),
                format!("lbd.toml:4: options.lblc_expiry: {problem}")
            );
        }
        assert_eq!(
            refused(&format!("{DIRECTOR}[capacity]\npersistence = 0\n")),
            "lbd.toml:4: capacity.persistence: 0 is out of range: 1 to 268435456"
        );
    }

    #[test]
    fn capacities_hold_what_the_file_has() {
        assert_eq!(
            refused(&format!("{DIRECTOR}[capacity]\nconnections = 0\n")),
            "lbd.toml:4: capacity.connections: 0 is out of range: 1 to 268435456"
        );
        assert_eq!(
            refused(&format!("{DIRECTOR}[capacity]\nconnections = -5\n")),
            "lbd.toml:4: capacity.connections: -5 is out of range: 1 to 268435456"
        );
        let service = "[[service]]\nprotocol='tcp'\naddress='192.0.2.10'\nscheduler='rr'\n";
        assert_eq!(
            refused(&format!(
                "{DIRECTOR}[capacity]\nservices = 1\n{service}port=1\n{service}port=2\n"
            )),
            "lbd.toml:4: capacity.services: 1 is too small: the file has 2 services"
        );
    }
}
