//! `[[service]]` and `[[service.real]]`.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use super::{
    ConfigError, defence::rate_limit, entry::Entry, persistence::persistence, schema,
    sections::flag, table::Table,
};
use crate::config::{
    model::{
        FirewallMark, ForwardingMethod, IpFamily, OnDown, Real, RealId, RealState, Scheduler,
        Scheduling, Service, ServiceId, Tunnel, VirtualAddress, Weight,
    },
    rules::{Invalid, check_replies},
    scheduling::{self, MAX_SLOW_START_S},
    vocabulary,
};
use lb_common::limits::MAX_WEIGHT;

/// All services, in the order of the file.
pub(super) fn services(root: &Table<'_>) -> Result<Vec<Service>, ConfigError> {
    let mut services = Vec::new();
    let mut lines_by_id = HashMap::new();
    let mut lines_by_name = HashMap::new();
    for entry in tables(root, "service")? {
        let table = entry.table(schema::SERVICE)?;
        let service = service(&table)?;
        let key = match service.id {
            ServiceId::Address(_) => "address",
            ServiceId::Mark(_) => "fwmark",
        };
        if let Some(line) = lines_by_id.insert(service.id, table.line_of(key)) {
            return Err(table.error(
                key,
                format!("{} is listed twice, first on line {line}", service.id),
            ));
        }
        if let Some(name) = service.name.clone()
            && let Some(line) = lines_by_name.insert(name, table.line_of("name"))
        {
            return Err(table.error("name", format!("given twice, first on line {line}")));
        }
        check_replies(&service, &services).map_err(|invalid| refused(&table, invalid))?;
        services.push(service);
    }
    Ok(services)
}

fn refused(table: &Table<'_>, invalid: Invalid) -> ConfigError {
    table.error(invalid.key, invalid.problem)
}

fn service(table: &Table<'_>) -> Result<Service, ConfigError> {
    let id = identity(table)?;
    let forward = table
        .get("forward")
        .map_or(Ok(ForwardingMethod::Dr), |entry| {
            entry.parsed(vocabulary::forwarding_method)
        })?;
    let Scheduling {
        scheduler,
        flags: scheduler_flags,
        table_size: mh_table_size,
        slow_start,
    } = scheduling(table)?;
    let mut service = Service {
        id,
        name: table
            .get("name")
            .map(|entry| entry.parsed(vocabulary::service_name))
            .transpose()?,
        scheduler,
        scheduler_flags,
        mh_table_size,
        slow_start,
        forward,
        masquerade: masquerade(table)?,
        persistence: persistence(table)?,
        one_packet: flag(table, "one_packet")?,
        on_down: table
            .get("on_down")
            .map_or(Ok(OnDown::Keep), |entry| entry.parsed(vocabulary::on_down))?,
        rate_limit: rate_limit(table)?,
        reals: Vec::new(),
    };
    service
        .validate()
        .map_err(|invalid| refused(table, invalid))?;
    service.reals = reals(table, id, forward)?;
    // What holds for each real is checked; what is left is about all of them,
    // or about the service and their number.
    service
        .validate()
        .map_err(|invalid| refused(table, invalid))?;
    service
        .check_pool_is_used()
        .map_err(|invalid| refused(table, invalid))?;
    Ok(service)
}

/// `protocol`, `address` and `port`, or a mark in their place.
fn identity(table: &Table<'_>) -> Result<ServiceId, ConfigError> {
    let Some(mark) = table.get("fwmark") else {
        if table.get("family").is_some() {
            return Err(table.error("family", "only a service by fwmark has it"));
        }
        return Ok(ServiceId::Address(VirtualAddress {
            protocol: table.require("protocol")?.parsed(vocabulary::protocol)?,
            address: address(table)?,
            port: table.require("port")?.integer(0..=65_535)?,
        }));
    };
    for key in ["protocol", "address", "port"] {
        if table.get(key).is_some() {
            return Err(table.error(key, "contradicts fwmark, which stands in its place"));
        }
    }
    Ok(ServiceId::Mark(FirewallMark {
        mark: mark.integer(1..=u32::MAX.into())?,
        family: table
            .get("family")
            .map_or(Ok(IpFamily::V4), |entry| entry.parsed(vocabulary::family))?,
    }))
}

fn scheduling(table: &Table<'_>) -> Result<Scheduling, ConfigError> {
    let default = Scheduling::default();
    let scheduler = table
        .get("scheduler")
        .map_or(Ok(default.scheduler), |of| of.parsed(vocabulary::scheduler))?;
    Ok(Scheduling {
        scheduler,
        flags: scheduler_flags(table, scheduler)?,
        table_size: table
            .get("mh_table_size")
            .map_or(Ok(default.table_size), |entry| {
                entry.integer(0..=u32::MAX.into())
            })?,
        slow_start: table
            .get("slow_start")
            .map(|entry| entry.seconds(1..=MAX_SLOW_START_S.into()))
            .transpose()?
            .map(|seconds| Duration::from_secs(seconds.into())),
    })
}

/// An error is on the line of the flag at fault.
fn scheduler_flags(table: &Table<'_>, scheduler: Scheduler) -> Result<u32, ConfigError> {
    let Some(entry) = table.get("scheduler_flags") else {
        return Ok(0);
    };
    let mut words = Vec::new();
    let mut bits = 0;
    for element in entry.elements("an array")? {
        words.push(element.text()?);
        bits = scheduling::flags(scheduler, &words).map_err(|problem| element.error(problem))?;
    }
    Ok(bits)
}

fn masquerade(table: &Table<'_>) -> Result<Vec<IpAddr>, ConfigError> {
    let Some(entry) = table.get("masquerade") else {
        return Ok(Vec::new());
    };
    let elements = entry.elements("an array")?;
    if elements.is_empty() {
        return Err(entry.error("at least one address is needed; leave the key out for none"));
    }
    let addresses = elements.iter();
    addresses
        .map(|element| element.parsed(vocabulary::address))
        .collect()
}

fn reals(
    of: &Table<'_>,
    service: ServiceId,
    forward: ForwardingMethod,
) -> Result<Vec<Real>, ConfigError> {
    let mut reals = Vec::new();
    let mut lines = HashMap::new();
    for entry in tables(of, "real")? {
        let table = entry.table(schema::REAL)?;
        let real = real(&table, service, forward)?;
        if let Some(line) = lines.insert(real.id, table.line_of("address")) {
            let problem = format!(
                "{} is listed twice in service {service}, first on line {line}",
                real.id
            );
            return Err(table.error("address", problem));
        }
        reals.push(real);
    }
    Ok(reals)
}

fn real(
    table: &Table<'_>,
    service: ServiceId,
    forward: ForwardingMethod,
) -> Result<Real, ConfigError> {
    let real = Real {
        id: RealId {
            address: address(table)?,
            port: table
                .get("port")
                .map_or(Ok(service.default_real_port()), |entry| {
                    entry.integer(0..=65_535)
                })?,
        },
        weight: weight(table)?,
        upper_threshold: threshold(table, "upper_threshold")?,
        lower_threshold: threshold(table, "lower_threshold")?,
        state: RealState::Ready,
        forward: table.get("forward").map_or(Ok(forward), |entry| {
            entry.parsed(vocabulary::forwarding_method)
        })?,
        tunnel: Tunnel::default(),
    };
    if real.forward != ForwardingMethod::Tun && table.get("tunnel").is_some() {
        let method = real.forward.name();
        return Err(table.error(
            "tunnel",
            format!("contradicts forward = \"{method}\"; only tun has tunnels"),
        ));
    }
    let real = Real {
        tunnel: tunnel(table)?,
        ..real
    };
    real.validate(service)
        .map_err(|invalid| match invalid.key.strip_prefix("tunnel.") {
            Some(key) => tunnel_error(table, key, invalid.problem),
            None => table.error(invalid.key, invalid.problem),
        })?;
    Ok(real)
}

fn tunnel(of: &Table<'_>) -> Result<Tunnel, ConfigError> {
    let default = Tunnel::default();
    let Some(entry) = of.get("tunnel") else {
        return Ok(default);
    };
    let table = entry.table(schema::TUNNEL)?;
    Ok(Tunnel {
        kind: table.get("type").map_or(Ok(default.kind), |entry| {
            entry.parsed(vocabulary::tunnel_kind)
        })?,
        port: table
            .get("port")
            .map_or(Ok(default.port), |entry| entry.integer(1..=65_535))?,
        checksum: flag(&table, "checksum")?,
    })
}

/// An error about a key of a real's tunnel.
fn tunnel_error(of: &Table<'_>, key: &str, problem: String) -> ConfigError {
    let tunnel = of.get("tunnel").map(|entry| entry.table(schema::TUNNEL));
    match tunnel {
        Some(Ok(table)) => table.error(key, problem),
        _ => of.error("tunnel", problem),
    }
}

fn weight(table: &Table<'_>) -> Result<Weight, ConfigError> {
    let Some(entry) = table.get("weight") else {
        return Ok(Weight::ONE);
    };
    let weight = entry.integer(0..=u64::from(MAX_WEIGHT))?;
    Weight::new(weight).ok_or_else(|| entry.error(format!("{weight} is more than {MAX_WEIGHT}")))
}

fn threshold(table: &Table<'_>, key: &str) -> Result<u32, ConfigError> {
    table
        .get(key)
        .map_or(Ok(0), |entry| entry.integer(0..=u32::MAX.into()))
}

fn address(table: &Table<'_>) -> Result<IpAddr, ConfigError> {
    table.require("address")?.parsed(vocabulary::address)
}

fn tables<'a>(of: &Table<'a>, key: &str) -> Result<Vec<Entry<'a>>, ConfigError> {
    let expected = if key == "real" {
        "[[service.real]]"
    } else {
        "[[service]]"
    };
    of.get(key)
        .map_or_else(|| Ok(Vec::new()), |entry| entry.elements(expected))
}

#[cfg(test)]
mod tests;
