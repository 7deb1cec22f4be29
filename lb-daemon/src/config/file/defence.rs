//! `[defence]`, and the rate limit of a service.

use std::{collections::HashSet, net::IpAddr};

use super::{ConfigError, schema, sections::section, table::Table};
use crate::config::{
    defence::{MAX_RATE, default_burst},
    model::{Defence, RateLimit, SourceLimit, Strategy},
    prefix, vocabulary,
};

pub(super) fn defence(root: &Table<'_>) -> Result<Defence, ConfigError> {
    let default = Defence::default();
    let Some(table) = section(root, "defence", schema::DEFENCE)? else {
        return Ok(default);
    };
    let strategy = |key, default: Strategy| {
        table
            .get(key)
            .map_or(Ok(default), |entry| entry.parsed(vocabulary::strategy))
    };
    let defence = Defence {
        drop_entry: strategy("drop_entry", default.drop_entry)?,
        drop_packet: strategy("drop_packet", default.drop_packet)?,
        secure_tcp: strategy("secure_tcp", default.secure_tcp)?,
        stateless: strategy("stateless", default.stateless)?,
        rate_limit: source_limit(&table)?,
        deny: networks(&table, "deny", &[])?,
        allow: Vec::new(),
    };
    let allow = networks(&table, "allow", &defence.deny)?;
    if allow.is_empty()
        && let Some(entry) = table.get("allow")
    {
        return Err(entry.error("nobody would get in; leave the key out for everybody"));
    }
    Ok(Defence { allow, ..defence })
}

/// `rate_limit` of a service.
pub(super) fn rate_limit(of: &Table<'_>) -> Result<Option<RateLimit>, ConfigError> {
    let Some(table) = section(of, "rate_limit", schema::RATE_LIMIT)? else {
        return Ok(None);
    };
    let (connections, burst) = rate(&table, "connections")?;
    Ok(Some(RateLimit { connections, burst }))
}

fn source_limit(of: &Table<'_>) -> Result<Option<SourceLimit>, ConfigError> {
    let Some(table) = section(of, "rate_limit", schema::SOURCE_LIMIT)? else {
        return Ok(None);
    };
    let (per_source, burst) = rate(&table, "per_source")?;
    let length = |key, bits: u8, default| {
        table
            .get(key)
            .map_or(Ok(default), |entry| entry.integer(1..=bits.into()))
    };
    Ok(Some(SourceLimit {
        per_source,
        netmask: length("netmask", 32, 24)?,
        netmask_v6: length("netmask_v6", 128, 64)?,
        burst,
    }))
}

/// The rate in `key`, and the burst.
fn rate(table: &Table<'_>, key: &'static str) -> Result<(u32, u32), ConfigError> {
    let range = || 1..=u64::from(MAX_RATE);
    let rate = table.require(key)?.integer(range())?;
    let burst = table
        .get("burst")
        .map_or(Ok(default_burst(rate)), |entry| entry.integer(range()))?;
    Ok((rate, burst))
}

/// The networks in `key`, none of which is in `denied`.
fn networks(
    table: &Table<'_>,
    key: &'static str,
    denied: &[(IpAddr, u8)],
) -> Result<Vec<(IpAddr, u8)>, ConfigError> {
    let mut networks = Vec::new();
    let Some(entry) = table.get(key) else {
        return Ok(networks);
    };
    let denied: HashSet<_> = denied.iter().collect();
    let mut listed = HashSet::new();
    for element in entry.elements("an array")? {
        let network = element.parsed(prefix::address_or_prefix)?;
        let name = || format!("{}/{}", network.0, network.1);
        if !listed.insert(network) {
            return Err(element.error(format!("{} is listed twice", name())));
        }
        if denied.contains(&network) {
            return Err(element.error(format!("{} is in deny too", name())));
        }
        networks.push(network);
    }
    Ok(networks)
}

#[cfg(test)]
mod tests {
    use super::{super::parse, *};

    const DIRECTOR: &str = "[director]\ninterfaces = ['eth0']\n";

    fn parsed(text: &str) -> Defence {
        let text = format!("{DIRECTOR}[defence]\n{text}");
        parse(&text, "lbd.toml").unwrap().defence
    }

    #[test]
    fn every_key_has_its_meaning_and_default() {
        assert_eq!(parsed(""), Defence::default());
        let defence = parsed(
            "drop_entry = 'on'\ndrop_packet = 'off'\nsecure_tcp = 'auto'\nstateless = 'off'\n\
             deny = ['203.0.113.0/24', '2001:db8::1']\nallow = ['198.51.100.0/24', '0.0.0.0/0']\n",
        );
        use Strategy::{Auto, Off, On};
        let strategies = [
            defence.drop_entry,
            defence.drop_packet,
            defence.secure_tcp,
            defence.stateless,
        ];
        assert_eq!(strategies, [On, Off, Auto, Off]);
        assert_eq!(defence.deny[0], ([203, 0, 113, 0].into(), 24));
        assert_eq!(defence.deny[1], ("2001:db8::1".parse().unwrap(), 128));
        assert_eq!(defence.allow.len(), 2);
    }

    #[test]
    fn sources_are_limited_by_network() {
        let limit = |per_source, netmask, netmask_v6, burst| {
            Some(SourceLimit {
                per_source,
                netmask,
                netmask_v6,
                burst,
            })
        };
        for (text, expected) in [
            ("{ per_source = 1000 }", limit(1000, 24, 64, 2000)),
            (
                "{ per_source = 5, netmask = 32, netmask_v6 = 128, burst = 5 }",
                limit(5, 32, 128, 5),
            ),
        ] {
            assert_eq!(
                parsed(&format!("rate_limit = {text}\n")).rate_limit,
                expected
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            (
                "drop_entry = 'no'",
                "drop_entry: unknown strategy \"no\"; did you mean on?",
            ),
            (
                "secure_tcp = true",
                "secure_tcp: expected a string, found boolean",
            ),
            ("rate_limit = {}", "rate_limit.per_source: missing"),
            (
                "rate_limit = { per_source = 0 }",
                "rate_limit.per_source: 0 is out of range: 1 to 1000000000",
            ),
            (
                "rate_limit = { per_source = 1, netmask = 33 }",
                "rate_limit.netmask: 33 is out of range: 1 to 32",
            ),
            (
                "rate_limit = { per_source = 1, burts = 3 }",
                "rate_limit.burts: unknown key; did you mean burst?",
            ),
            (
                "deny = ['203.0.113.1/24']",
                "deny: \"203.0.113.1/24\" has bits behind its length; write 203.0.113.0/24",
            ),
            (
                "deny = ['10.0.0.1', '10.0.0.1/32']",
                "deny: 10.0.0.1/32 is listed twice",
            ),
            (
                "deny = ['10.0.0.0/8']\nallow = ['10.0.0.0/8']",
                "allow: 10.0.0.0/8 is in deny too",
            ),
            (
                "allow = []",
                "allow: nobody would get in; leave the key out for everybody",
            ),
        ] {
            let error = parse(&format!("{DIRECTOR}[defence]\n{text}\n"), "lbd.toml").unwrap_err();
            let line = 3 + text.lines().count();
            assert_eq!(
                error.to_string(),
                format!("lbd.toml:{line}: defence.{expected}")
            );
        }
    }
}
