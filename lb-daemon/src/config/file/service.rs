//! `[[service]]` and `[[service.real]]`.

use std::{collections::HashMap, net::IpAddr};

use super::{ConfigError, entry::Entry, schema, table::Table};
use crate::config::{
    model::{ForwardingMethod, Real, RealId, Service, ServiceId, Weight},
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
        if let Some(line) = lines_by_id.insert(service.id, table.line_of("address")) {
            return Err(table.error(
                "address",
                format!("{} is listed twice, first on line {line}", service.id),
            ));
        }
        if let Some(name) = service.name.clone()
            && let Some(line) = lines_by_name.insert(name, table.line_of("name"))
        {
            return Err(table.error("name", format!("given twice, first on line {line}")));
        }
        services.push(service);
    }
    Ok(services)
}

fn service(table: &Table<'_>) -> Result<Service, ConfigError> {
    let id = ServiceId {
        protocol: table.require("protocol")?.parsed(vocabulary::protocol)?,
        address: address(table)?,
        port: table.require("port")?.integer(0..=65_535)?,
    };
    let forward = table
        .get("forward")
        .map_or(Ok(ForwardingMethod::Dr), |entry| {
            entry.parsed(vocabulary::forwarding_method)
        })?;
    let scheduler = match table.get("scheduler") {
        Some(entry) => entry.parsed(vocabulary::scheduler)?,
        None => {
            vocabulary::default_scheduler().map_err(|problem| table.error("scheduler", problem))?
        }
    };
    let mut service = Service {
        id,
        name: table
            .get("name")
            .map(|entry| entry.parsed(vocabulary::service_name))
            .transpose()?,
        scheduler,
        forward,
        reals: Vec::new(),
    };
    let at = if id.port == 0 { "port" } else { "address" };
    service
        .validate()
        .map_err(|invalid| table.error(at, invalid.to_string()))?;
    service.reals = reals(table, id, forward)?;
    // What holds for each real is checked; what is left is about all of them.
    service
        .validate()
        .map_err(|invalid| table.error("real", invalid.to_string()))?;
    Ok(service)
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
                .map_or(Ok(service.port), |entry| entry.integer(0..=65_535))?,
        },
        weight: weight(table)?,
        forward: table.get("forward").map_or(Ok(forward), |entry| {
            entry.parsed(vocabulary::forwarding_method)
        })?,
    };
    if real.forward != ForwardingMethod::Tun && table.get("tunnel").is_some() {
        let method = real.forward.name();
        return Err(table.error(
            "tunnel",
            format!("contradicts forward = \"{method}\"; only tun has tunnels"),
        ));
    }
    let at = if real.id.port == service.port {
        "address"
    } else {
        "port"
    };
    real.validate(service)
        .map_err(|invalid| table.error(at, invalid.to_string()))?;
    Ok(real)
}

fn weight(table: &Table<'_>) -> Result<Weight, ConfigError> {
    let Some(entry) = table.get("weight") else {
        return Ok(Weight::ONE);
    };
    let weight = entry.integer(0..=u64::from(MAX_WEIGHT))?;
    Weight::new(weight).ok_or_else(|| entry.error(format!("{weight} is more than {MAX_WEIGHT}")))
}

fn address(table: &Table<'_>) -> Result<IpAddr, ConfigError> {
    table.require("address")?.parsed(|text| {
        text.parse()
            .map_err(|_| format!("{text:?} is not an IP address"))
    })
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
mod tests {
    use super::super::parse;

    /// Seven lines.
    const BEFORE: &str = "[director]\ninterfaces = ['eth0']\n[[service]]\nprotocol = 'tcp'\n\
                          address = '192.0.2.10'\nport = 80\nscheduler = 'rr'\n";

    fn refused(text: &str) -> String {
        parse(text, "lbd.toml").unwrap_err().to_string()
    }

    /// The error for a service as in [`BEFORE`] with `old` replaced.
    fn with(old: &str, new: &str) -> String {
        refused(&BEFORE.replace(old, new))
    }

    #[test]
    fn the_identity_is_required_and_valid() {
        for (old, new, expected) in [
            (
                "protocol = 'tcp'\n",
                "",
                "lbd.toml:3: service.protocol: missing",
            ),
            ("port = 80\n", "", "lbd.toml:3: service.port: missing"),
            (
                "'tcp'",
                "'tpc'",
                "lbd.toml:4: service.protocol: unknown protocol \"tpc\"; did you mean tcp?",
            ),
            (
                "'tcp'",
                "'sctp'",
                "lbd.toml:4: service.protocol: sctp is not supported yet by this version",
            ),
            (
                "192.0.2.10",
                "300.1.1.1",
                "lbd.toml:5: service.address: \"300.1.1.1\" is not an IP address",
            ),
            (
                "80",
                "65536",
                "lbd.toml:6: service.port: 65536 is out of range: 0 to 65535",
            ),
            (
                "80",
                "'80'",
                "lbd.toml:6: service.port: expected an integer, found string",
            ),
            (
                "scheduler = 'rr'\n",
                "",
                "lbd.toml:3: service.scheduler: none given, and the default, wlc, is not supported yet by this version; choose rr or wrr",
            ),
            (
                "'rr'",
                "'lc'",
                "lbd.toml:7: service.scheduler: lc is not supported yet by this version; choose rr or wrr",
            ),
            (
                "'rr'",
                "'rr'\nforward = 'local'",
                "lbd.toml:8: service.forward: local is not supported yet by this version",
            ),
            (
                "'rr'",
                "'rr'\nname = 'a b'",
                "lbd.toml:8: service.name: \"a b\" is not a name: use letters, digits, \".\", \"_\", \"-\"",
            ),
        ] {
            assert_eq!(with(old, new), expected);
        }
        for (old, new, start) in [
            ("80", "0", "lbd.toml:6: service.port: "),
            ("192.0.2.10", "2001:db8::1", "lbd.toml:5: service.address: "),
            ("192.0.2.10", "224.0.0.1", "lbd.toml:5: service.address: "),
        ] {
            let error = with(old, new);
            assert!(error.starts_with(start), "{error}");
        }
    }

    #[test]
    fn services_are_unique_by_identity_and_name() {
        let again =
            "[[service]]\nprotocol = 'tcp'\nport = 80\naddress = '192.0.2.10'\nscheduler = 'rr'\n";
        assert_eq!(
            refused(&format!("{BEFORE}{again}")),
            "lbd.toml:11: service.address: tcp:192.0.2.10:80 is listed twice, first on line 5"
        );
        let other = again.replace("80", "81");
        assert_eq!(
            refused(&format!("{BEFORE}name = 'web'\n{other}name = 'web'\n")),
            "lbd.toml:14: service.name: given twice, first on line 8"
        );
    }

    #[test]
    fn reals_are_checked_on_their_own_lines() {
        for (real, expected) in [
            ("", "lbd.toml:8: service.real.address: missing"),
            (
                "address = '10.0.0.2'\nweight = 65536\n",
                "lbd.toml:10: service.real.weight: 65536 is out of range: 0 to 65535",
            ),
            (
                "address = '10.0.0.2'\nweight = -1\n",
                "lbd.toml:10: service.real.weight: -1 is out of range: 0 to 65535",
            ),
            (
                "address = '10.0.0.2'\nforward = 'nut'\n",
                "lbd.toml:10: service.real.forward: unknown forwarding method \"nut\"; did you mean nat?",
            ),
            (
                "address = '10.0.0.2'\ntunnel = { type = 'ipip' }\n",
                "lbd.toml:10: service.real.tunnel: contradicts forward = \"dr\"; only tun has tunnels",
            ),
            (
                "address = '10.0.0.2'\n[[service.real]]\naddress = '10.0.0.2'\n",
                "lbd.toml:11: service.real.address: 10.0.0.2:80 is listed twice in service tcp:192.0.2.10:80, first on line 9",
            ),
        ] {
            assert_eq!(
                refused(&format!("{BEFORE}[[service.real]]\n{real}")),
                expected
            );
        }
        let error = refused(&format!(
            "{BEFORE}[[service.real]]\naddress = '10.0.0.2'\nport = 8080\n"
        ));
        assert!(
            error.starts_with("lbd.toml:10: service.real.port: ")
                && error.contains("dr cannot change the port"),
            "{error}"
        );
        let error = refused(&format!(
            "{BEFORE}[[service.real]]\naddress = '127.0.0.1'\n"
        ));
        assert!(
            error.starts_with("lbd.toml:9: service.real.address: "),
            "{error}"
        );
    }

    #[test]
    fn a_service_is_an_array_of_tables() {
        let error = refused("[director]\ninterfaces = ['eth0']\n[service]\nport = 80\n");
        assert_eq!(
            error,
            "lbd.toml:3: service: expected [[service]], found table"
        );
        let error = refused(&format!("{BEFORE}[service.real]\naddress = '10.0.0.2'\n"));
        assert_eq!(
            error,
            "lbd.toml:8: service.real: expected [[service.real]], found table"
        );
    }
}
