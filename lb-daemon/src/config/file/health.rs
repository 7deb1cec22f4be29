//! How a service watches its reals: `health`, `require`, `quorum` and
//! `sorry_server`, and what a real has of its own.

use std::{sync::Arc, time::Duration};

use super::{ConfigError, entry::Entry, schema, schema::Section, sections::flag, table::Table};
use crate::config::{
    health::{
        Check, Dns, Exchange, Exec, Expected, Health, Http, INTERVALS, MAX_CHECKS, MAX_IN_A_ROW,
        MAX_WARMUP, Octets, OnFailure, Pattern, Probe, ProbeType, Quorum, RealHealth, Record,
        Require, SorryServer, TIMEOUTS, Timing, Tls, Via,
    },
    mark::in_order,
    model::{ForwardingMethod, RealId, ServiceId},
    probe::words,
    vocabulary::{self, one_of},
};

/// That of the service `id`, whose reals are forwarded to by `forward` by
/// default.
pub(super) fn health(
    of: &Table<'_>,
    id: ServiceId,
    forward: ForwardingMethod,
) -> Result<Arc<Health>, ConfigError> {
    let health = Health {
        checks: of.optional("health", Vec::new(), |entry| checks(entry, schema::HEALTH))?,
        require: of.optional("require", Require::All, |entry| {
            entry.parsed(one_of("choice", Require::ALL, Require::name))
        })?,
        quorum: of.optional("quorum", Quorum::default(), quorum)?,
        sorry_server: of
            .get("sorry_server")
            .map(|entry| sorry_server(&entry, id, forward))
            .transpose()?,
    };
    Ok(Arc::new(health))
}

/// That of a real.
pub(super) fn real_health(of: &Table<'_>) -> Result<Option<Arc<RealHealth>>, ConfigError> {
    let health = RealHealth {
        checks: of
            .get("health")
            .map(|entry| checks(&entry, schema::REAL_HEALTH))
            .transpose()?,
        notify_up: of.optional("notify_up", Vec::new(), argv)?,
        notify_down: of.optional("notify_down", Vec::new(), argv)?,
    };
    Ok(health.shared())
}

fn quorum(entry: &Entry<'_>) -> Result<Quorum, ConfigError> {
    let table = entry.table(schema::QUORUM)?;
    let default = Quorum::default();
    Ok(Quorum {
        up: table.optional("up", default.up, |entry| entry.integer(1..=u32::MAX.into()))?,
        hysteresis: table.optional("hysteresis", default.hysteresis, |entry| {
            entry.integer(0..=u32::MAX.into())
        })?,
        notify_up: table.optional("notify_up", Vec::new(), argv)?,
        notify_down: table.optional("notify_down", Vec::new(), argv)?,
    })
}

fn sorry_server(
    entry: &Entry<'_>,
    of: ServiceId,
    forward: ForwardingMethod,
) -> Result<SorryServer, ConfigError> {
    let table = entry.table(schema::SORRY_SERVER)?;
    Ok(SorryServer {
        id: RealId {
            address: table.require("address")?.parsed(vocabulary::address)?,
            port: table.optional("port", of.default_real_port(), |entry| {
                entry.integer(0..=65_535)
            })?,
        },
        forward: table.optional("forward", forward, |entry| {
            entry.parsed(vocabulary::forwarding_method)
        })?,
    })
}

pub(super) fn checks(entry: &Entry<'_>, section: Section) -> Result<Vec<Check>, ConfigError> {
    let tables = entry.one_or_more()?;
    if tables.len() > MAX_CHECKS {
        return Err(entry.error(format!("more than {MAX_CHECKS} checks")));
    }
    tables.iter().map(|entry| check(entry, section)).collect()
}

fn check(entry: &Entry<'_>, section: Section) -> Result<Check, ConfigError> {
    let table = entry.table(section)?;
    let of_type: ProbeType = table.require("type")?.parsed(str::parse)?;
    let kind = format!("key for type \"{}\"", of_type.name());
    table.refuse_keys_but(&kind, |key| of_type.has_key(key))?;
    let default = Check::new(Probe::Tcp);
    let in_a_row = |entry: &Entry<'_>| entry.integer(1..=MAX_IN_A_ROW.into());
    Ok(Check {
        probe: probe_of(&table, of_type)?,
        timing: timing(&table)?,
        rise: table.optional("rise", default.rise, in_a_row)?,
        fall: table.optional("fall", default.fall, in_a_row)?,
        port: table.optional("port", None, |entry| entry.integer(1..=65_535).map(Some))?,
        via: table.optional("via", default.via, |entry| {
            entry.parsed(one_of("choice", Via::ALL, Via::name))
        })?,
        alpha: flag(&table, "alpha")?,
        omega: flag(&table, "omega")?,
        on_failure: table.optional("on_failure", default.on_failure, |entry| {
            entry.parsed(one_of("choice", OnFailure::ALL, OnFailure::name))
        })?,
    })
}

fn timing(table: &Table<'_>) -> Result<Timing, ConfigError> {
    let default = Timing::default();
    Ok(Timing {
        interval: table.optional("interval", default.interval, |entry| {
            entry.duration(INTERVALS)
        })?,
        timeout: table.optional("timeout", default.timeout, |entry| entry.duration(TIMEOUTS))?,
        warmup: table.optional("warmup", default.warmup, |entry| {
            entry.duration(Duration::ZERO..=MAX_WARMUP)
        })?,
        fast_interval: table.optional("fast_interval", None, |entry| {
            entry.duration(INTERVALS).map(Some)
        })?,
    })
}

fn probe_of(table: &Table<'_>, of_type: ProbeType) -> Result<Probe, ConfigError> {
    let host = || table.optional("host", None, |entry| entry.parsed(words::host).map(Some));
    Ok(match of_type {
        ProbeType::Tcp => Probe::Tcp,
        ProbeType::Http => Probe::Http(http(table)?),
        ProbeType::Https => Probe::Https(
            http(table)?,
            Tls {
                verify: table.optional("verify", true, Entry::boolean)?,
                sni: table.optional("sni", None, |entry| entry.parsed(words::domain).map(Some))?,
            },
        ),
        ProbeType::Udp => Probe::Udp(exchange(table)?),
        ProbeType::SendExpect => {
            let exchange = exchange(table)?;
            if exchange == Exchange::default() {
                return Err(table.error("expect", "missing: there is nothing to send or to expect"));
            }
            Probe::SendExpect(exchange)
        }
        ProbeType::Dns => Probe::Dns(Dns {
            query: table.require("query")?.parsed(words::domain)?,
            record: table.optional("record", Record::A, |entry| entry.parsed(str::parse))?,
        }),
        ProbeType::Icmp => Probe::Icmp,
        ProbeType::Smtp => Probe::Smtp(host()?),
        ProbeType::Exec => Probe::Exec(Exec {
            command: command(&table.require("command")?)?,
            expect: expected(table)?,
            dynamic: flag(table, "dynamic")?,
        }),
        ProbeType::File => Probe::File(table.require("path")?.absolute_path()?),
        ProbeType::Grpc => Probe::Grpc(table.optional("service", String::new(), |entry| {
            entry.parsed(words::grpc_service)
        })?),
        ProbeType::Mysql => Probe::Mysql,
        ProbeType::Redis => Probe::Redis,
        ProbeType::Agent => Probe::Agent,
    })
}

fn http(table: &Table<'_>) -> Result<Http, ConfigError> {
    let default = Http::default();
    Ok(Http {
        path: table.optional("path", default.path, |entry| {
            entry.parsed(words::request_path)
        })?,
        method: table.optional("method", default.method, |entry| {
            entry.parsed(words::method)
        })?,
        host: table.optional("host", None, |entry| entry.parsed(words::host).map(Some))?,
        headers: table.optional("headers", Vec::new(), headers)?,
        status: table.optional("status", default.status, status)?,
        body_regex: table.optional("body_regex", None, |entry| {
            entry.parsed(str::parse).map(Some)
        })?,
        body_sha256: table.optional("body_sha256", None, |entry| {
            entry.parsed(str::parse).map(Some)
        })?,
        body_md5: table.optional("body_md5", None, |entry| entry.parsed(str::parse).map(Some))?,
    })
}

fn headers(entry: &Entry<'_>) -> Result<Vec<(String, String)>, ConfigError> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in entry.dictionary()? {
        let name = words::header_name(name).map_err(|problem| value.error(problem))?;
        if headers
            .iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(&name))
        {
            return Err(value.error(format!("{name} is listed twice")));
        }
        headers.push((name, value.parsed(words::header_value)?));
    }
    Ok(headers)
}

fn status(entry: &Entry<'_>) -> Result<Vec<(u16, u16)>, ConfigError> {
    let elements = entry.elements("an array")?;
    if elements.is_empty() {
        return Err(entry.error("at least one status is needed; leave the key out for 200-299"));
    }
    let range = |element: &Entry<'_>| {
        if element.text().is_ok() {
            return element.parsed(words::status_range);
        }
        let status = element.integer(100..=599)?;
        Ok((status, status))
    };
    let ranges: Result<Vec<_>, _> = elements.iter().map(range).collect();
    ranges.map(in_order)
}

fn exchange(table: &Table<'_>) -> Result<Exchange, ConfigError> {
    Ok(Exchange {
        send: table.optional("send", Octets::default(), |entry| entry.parsed(str::parse))?,
        expect: expected(table)?,
    })
}

fn expected(table: &Table<'_>) -> Result<Option<Expected>, ConfigError> {
    match (table.get("expect"), table.get("expect_regex")) {
        (Some(_), Some(pattern)) => Err(pattern.error("contradicts expect; one of them is enough")),
        (Some(prefix), None) => {
            let octets: Octets = prefix.parsed(str::parse)?;
            if octets.as_bytes().is_empty() {
                return Err(prefix.error("empty; leave the key out for any answer"));
            }
            Ok(Some(Expected::Prefix(octets)))
        }
        (None, Some(pattern)) => {
            let pattern: Pattern = pattern.parsed(str::parse)?;
            Ok(Some(Expected::Match(pattern)))
        }
        (None, None) => Ok(None),
    }
}

fn command(entry: &Entry<'_>) -> Result<Vec<String>, ConfigError> {
    let command = argv(entry)?;
    if command.is_empty() {
        return Err(entry.error("at least the program is needed"));
    }
    Ok(command)
}

/// None: nothing is run.
fn argv(entry: &Entry<'_>) -> Result<Vec<String>, ConfigError> {
    let words = entry.list(words::argument)?;
    words::argv(words).map_err(|problem| entry.error(problem))
}

#[cfg(test)]
mod tests;
