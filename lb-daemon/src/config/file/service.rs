//! `[[service]]` and `[[service.real]]`.

use std::{collections::HashMap, net::IpAddr};

use super::{ConfigError, entry::Entry, schema, sections::flag, table::Table};
use crate::config::{
    model::{ForwardingMethod, Real, RealId, Service, ServiceId, Tunnel, Weight},
    rules::Invalid,
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
        masquerade: masquerade(table)?,
        reals: Vec::new(),
    };
    let refused = |invalid: Invalid| table.error(invalid.key, invalid.problem);
    service.validate().map_err(refused)?;
    service.reals = reals(table, id, forward)?;
    // What holds for each real is checked; what is left is about all of them.
    service
        .validate()
        .map_err(|invalid| table.error("real", invalid.problem))?;
    service.check_pool_is_used().map_err(refused)?;
    Ok(service)
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
                .map_or(Ok(service.port), |entry| entry.integer(0..=65_535))?,
        },
        weight: weight(table)?,
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
mod tests {
    use super::{super::parse, *};
    use crate::config::model::TunnelKind;

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
                "'rr'\nmasquerade = []",
                "lbd.toml:8: service.masquerade: at least one address is needed; leave the key out for none",
            ),
            (
                "'rr'",
                "'rr'\nmasquerade = ['10.0.0.x']",
                "lbd.toml:8: service.masquerade: \"10.0.0.x\" is not an IP address",
            ),
            (
                "'rr'",
                "'rr'\nmasquerade = ['10.0.0.250']",
                "lbd.toml:8: service.masquerade: service tcp:192.0.2.10:80: only nat can masquerade, and neither \
                 the service (forward = \"dr\") nor a real of it is forwarded to by nat",
            ),
            (
                "'rr'",
                "'rr'\nforward = 'nat'\nmasquerade = ['2001:db8::1']",
                "lbd.toml:9: service.masquerade: service tcp:192.0.2.10:80: masquerade: 2001:db8::1: IPv6 in a \
                 service of IPv4",
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
            ("192.0.2.10", "fe80::1", "lbd.toml:5: service.address: "),
            (
                "192.0.2.10",
                "fe80::1%eth0",
                "lbd.toml:5: service.address: ",
            ),
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
                "address = '10.0.0.2'\nforward = 'tun'\ntunnel = { type = 'gut' }\n",
                "lbd.toml:11: service.real.tunnel.type: unknown tunnel type \"gut\"; did you mean gue?",
            ),
            (
                "address = '10.0.0.2'\nforward = 'tun'\ntunnel = { kind = 'gue' }\n",
                "lbd.toml:11: service.real.tunnel.kind: unknown key; the nearest valid key is type",
            ),
            (
                "address = '10.0.0.2'\nforward = 'tun'\ntunnel = { type = 'gue', port = 0 }\n",
                "lbd.toml:11: service.real.tunnel.port: 0 is out of range: 1 to 65535",
            ),
            (
                "address = '10.0.0.2'\nforward = 'tun'\n[service.real.tunnel]\ntype = 'gre'\nport = 7000\n",
                "lbd.toml:13: service.real.tunnel.port: service tcp:192.0.2.10:80: real 10.0.0.2:80: only a gue \
                 tunnel has a port",
            ),
            (
                "address = '10.0.0.2'\nforward = 'tun'\ntunnel = { checksum = true }\n",
                "lbd.toml:11: service.real.tunnel.checksum: service tcp:192.0.2.10:80: real 10.0.0.2:80: an ipip \
                 tunnel has no checksum; gue and gre may have one",
            ),
            (
                "address = '2001:db8::2'\n",
                "lbd.toml:9: service.real.address: service tcp:192.0.2.10:80: real [2001:db8::2]:80: a real of IPv6 \
                 in a service of IPv4: dr keeps the packet as it is, only tun gets it across",
            ),
            (
                "address = '10.0.0.2'\nport = 8080\nforward = 'local'\n",
                "lbd.toml:10: service.real.port: service tcp:192.0.2.10:80: real 10.0.0.2:8080: local cannot change \
                 the port (the service's is 80); use nat or leave the port out",
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
    fn a_service_of_ipv6_has_reals_of_any_kind() {
        let config = parse(
            "[director]
            interfaces = ['eth0']
            [[service]]
            protocol = 'sctp'
            address = '2001:db8::a'
            port = 2905
            scheduler = 'rr'
            forward = 'nat'
            [[service.real]]
            address = '2001:db8:1::2'
            [[service.real]]
            address = '10.0.0.3'
            forward = 'tun'
            tunnel = { type = 'gue', port = 7000, checksum = true }
            [[service.real]]
            address = '::1'
            forward = 'local'
            [[service]]
            protocol = 'tcp'
            address = '2001:db8::a'
            port = 80
            scheduler = 'rr'
            masquerade = ['fd00::1', 'fd00::2']
            [[service.real]]
            address = 'fd00::a'
            port = 8080
            forward = 'nat'",
            "lbd.toml",
        )
        .unwrap();
        let [sctp, web] = &config.services[..] else {
            panic!("{config:?}")
        };
        let tunnel = Tunnel {
            kind: TunnelKind::Gue,
            port: 7000,
            checksum: true,
        };
        let reals: Vec<_> = sctp
            .reals
            .iter()
            .map(|real| (real.id.to_string(), real.forward, real.tunnel))
            .collect();
        assert_eq!(
            reals,
            [
                (
                    "[2001:db8:1::2]:2905".into(),
                    ForwardingMethod::Nat,
                    Tunnel::default()
                ),
                ("10.0.0.3:2905".into(), ForwardingMethod::Tun, tunnel),
                (
                    "[::1]:2905".into(),
                    ForwardingMethod::Local,
                    Tunnel::default()
                ),
            ]
        );
        let pool: [IpAddr; 2] = ["fd00::1", "fd00::2"].map(|text| text.parse().unwrap());
        assert_eq!(web.masquerade, pool);
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
