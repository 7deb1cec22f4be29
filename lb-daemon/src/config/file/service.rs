//! `[[service]]` and `[[service.real]]`.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{
    ConfigError,
    defence::rate_limit,
    entry::Entry,
    health::{health, real_health},
    persistence::persistence,
    schema,
    sections::flag,
    table::Table,
};
use crate::config::{
    model::{
        FirewallMark, ForwardingMethod, IpFamily, OnDown, Real, RealId, RealState, Scheduler,
        Scheduling, Service, ServiceId, Tunnel, VirtualAddress, Weight,
    },
    rules::{Invalid, Replies},
    scheduling::{self, MAX_SLOW_START_S},
    vocabulary,
};
use lb_common::limits::MAX_WEIGHT;

/// All services, in the order of the file.
pub(super) fn services(root: &Table<'_>) -> Result<Vec<Service>, ConfigError> {
    let mut services = Vec::new();
    let mut places_by_id = HashMap::new();
    let mut places_by_name = HashMap::new();
    let mut replies = Replies::default();
    for entry in tables(root, "service")? {
        let table = entry.table(schema::SERVICE)?;
        for identity in identities(&table)? {
            let service = service(&table, &identity)?;
            let id = identity.id;
            if let Some(first) = places_by_id.insert(id, identity.at.position()) {
                let line = table.line(first);
                let problem = format!("{id} is listed twice, first on line {line}");
                return Err(identity.at.error(problem));
            }
            replies
                .add(&service)
                .map_err(|invalid| refused(&table, &identity, invalid))?;
            services.push(service);
        }
        if let Some(name) = table.get("name")
            && let Some(first) = places_by_name.insert(name.text()?, name.position())
        {
            let line = table.line(first);
            return Err(name.error(format!("given twice, first on line {line}")));
        }
    }
    Ok(services)
}

/// What one virtual service is reached by, and the value that says so.
struct Identity<'a> {
    id: ServiceId,
    at: Entry<'a>,
}

fn refused(table: &Table<'_>, identity: &Identity<'_>, invalid: Invalid) -> ConfigError {
    match invalid.key {
        "address" | "port" if identity.at.key == "listen" => identity.at.error(invalid.problem),
        key => table.error(key, invalid.problem),
    }
}

fn service(table: &Table<'_>, identity: &Identity<'_>) -> Result<Service, ConfigError> {
    let id = identity.id;
    let forward = table.optional("forward", ForwardingMethod::Dr, |entry| {
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
        on_down: table.optional("on_down", OnDown::Keep, |entry| {
            entry.parsed(vocabulary::on_down)
        })?,
        rate_limit: rate_limit(table)?,
        health: health(table, id, forward)?,
        reals: Vec::new(),
    };
    let refused = |invalid| refused(table, identity, invalid);
    service.check_settings().map_err(refused)?;
    service.reals = reals(table, id, forward)?;
    // What holds for each real is checked; what is left is about all of them,
    // or about the service and their number.
    service.check_reals().map_err(refused)?;
    service.check_settings().map_err(refused)?;
    service.check_pool_is_used().map_err(refused)?;
    Ok(service)
}

/// `protocol`, `address` and `port`; or several in a `listen`; or a mark in
/// their place.
fn identities<'a>(table: &Table<'a>) -> Result<Vec<Identity<'a>>, ConfigError> {
    let excluded =
        |keys: &[&'static str], by: &str| match keys.iter().find(|key| table.get(key).is_some()) {
            Some(key) => {
                let problem = format!("contradicts {by}, which stands in its place");
                Err(table.error(key, problem))
            }
            None => Ok(()),
        };
    if let Some(mark) = table.get("fwmark") {
        excluded(&["protocol", "address", "port", "listen"], "fwmark")?;
        let id = ServiceId::Mark(FirewallMark {
            mark: mark.integer(1..=u32::MAX.into())?,
            family: table.optional("family", IpFamily::V4, |entry| {
                entry.parsed(vocabulary::family)
            })?,
        });
        return Ok(vec![Identity { id, at: mark }]);
    }
    if table.get("family").is_some() {
        return Err(table.error("family", "only a service by fwmark has it"));
    }
    let protocol = table.require("protocol")?.parsed(vocabulary::protocol)?;
    let virtual_address = |address, port| {
        ServiceId::Address(VirtualAddress {
            protocol,
            address,
            port,
        })
    };
    let Some(listen) = table.get("listen") else {
        let at = table.require("address")?;
        let address = at.parsed(vocabulary::address)?;
        let port = table.require("port")?.integer(0..=65_535)?;
        let id = virtual_address(address, port);
        return Ok(vec![Identity { id, at }]);
    };
    excluded(&["address", "port"], "listen")?;
    let elements = listen.elements("an array")?;
    if elements.is_empty() {
        return Err(listen.error("at least one address is needed"));
    }
    let identity = |at: Entry<'a>| {
        let socket = at.parsed(socket)?;
        let id = virtual_address(socket.ip(), socket.port());
        Ok(Identity { id, at })
    };
    elements.into_iter().map(identity).collect()
}

/// An address and a port of `listen`.
fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("{text:?} is not an address and a port: expected 192.0.2.10:80 or [2001:db8::1]:80")
    })
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
    let mut places = HashMap::new();
    for entry in tables(of, "real")? {
        let table = entry.table(schema::REAL)?;
        let real = real(&table, service, forward)?;
        if let Some(first) = places.insert(real.id, table.position_of("address")) {
            let line = table.line(first);
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
        health: real_health(table)?,
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

fn threshold(table: &Table<'_>, key: &'static str) -> Result<u32, ConfigError> {
    table
        .get(key)
        .map_or(Ok(0), |entry| entry.integer(0..=u32::MAX.into()))
}

fn address(table: &Table<'_>) -> Result<IpAddr, ConfigError> {
    table.require("address")?.parsed(vocabulary::address)
}

fn tables<'a>(of: &Table<'a>, key: &'static str) -> Result<Vec<Entry<'a>>, ConfigError> {
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
