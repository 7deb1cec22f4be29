//! `lbctl list`: the tables of `ipvsadm -L`, column for column (ipvsadm 1.31),
//! under a version line of our own.

use std::{fmt::Write, net::SocketAddr};

use anyhow::{Context, Result};

use super::{args::ListFlags, names::Names};
use crate::{api::wire, config::model::ServiceId};

/// ipvsadm cuts IPv4 names at these widths, and no IPv6 names.
const SERVICE_COLUMNS: usize = 33;
const REAL_COLUMNS: usize = 28;

/// The whole table.
pub(super) fn render(
    status: &wire::Status,
    services: &[wire::Service],
    flags: ListFlags,
    names: &mut Names,
) -> Result<String> {
    let mut text = format!("lbd {} (size={})\n", status.version, capacity(status));
    text.push_str(&title(flags.stats));
    for service in services {
        let id: ServiceId = service.service.parse().map_err(anyhow::Error::msg)?;
        let name = names.of(SocketAddr::new(id.address, id.port), id.protocol);
        let name = cut(
            format!("{:4} {name}", id.protocol.name().to_uppercase()),
            SERVICE_COLUMNS,
            id,
        );
        if flags.stats {
            writeln!(
                text,
                "{name:SERVICE_COLUMNS$}{}",
                numbers(service.stats, flags.exact)
            )?;
        } else {
            writeln!(
                text,
                "{name} {}{}",
                service.scheduler,
                scheduler_flags(service)
            )?;
        }
        for real in &service.reals {
            let socket: SocketAddr = real
                .real
                .parse()
                .with_context(|| format!("real {}", real.real))?;
            let name = cut(names.of(socket, id.protocol), REAL_COLUMNS, id);
            if flags.stats {
                writeln!(
                    text,
                    "  -> {name:REAL_COLUMNS$}{}",
                    numbers(real.stats, flags.exact)
                )?;
            } else {
                writeln!(
                    text,
                    "  -> {name:REAL_COLUMNS$} {:7} {:<6} {:<10} {:<10}",
                    method(&real.forward),
                    real.weight,
                    real.active,
                    real.inactive
                )?;
            }
        }
    }
    Ok(text)
}

fn title(stats: bool) -> String {
    if stats {
        format!(
            "{:33} {:>8} {:>8} {:>8} {:>8} {:>8}\n  -> RemoteAddress:Port\n",
            "Prot LocalAddress:Port", "Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"
        )
    } else {
        "Prot LocalAddress:Port Scheduler Flags\n  \
         -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
            .into()
    }
}

/// Entries that a connection table has room for.
fn capacity(status: &wire::Status) -> u64 {
    let connections = status
        .tables
        .iter()
        .find(|table| table.name.starts_with("connections"));
    connections.map_or(0, |table| table.capacity)
}

fn cut(name: String, columns: usize, of: ServiceId) -> String {
    if of.address.is_ipv6() {
        name
    } else {
        name.chars().take(columns).collect()
    }
}

fn scheduler_flags(service: &wire::Service) -> String {
    if service.scheduler_flags.is_empty() {
        String::new()
    } else {
        format!(" ({})", service.scheduler_flags.join(","))
    }
}

/// ipvsadm's words.
fn method(forward: &str) -> &str {
    match forward {
        "dr" => "Route",
        "nat" => "Masq",
        "tun" => "Tunnel",
        "local" => "Local",
        other => other,
    }
}

fn numbers(stats: wire::Stats, exact: bool) -> String {
    let wire::Stats {
        connections,
        in_packets,
        in_bytes,
        out_packets,
        out_bytes,
    } = stats;
    [connections, in_packets, out_packets, in_bytes, out_bytes]
        .map(|number| scaled(number, exact))
        .concat()
}

/// A counter in nine columns: from 100 million on in thousands, from a billion
/// on in millions, and so on; `exact` takes the columns that it needs.
fn scaled(number: u64, exact: bool) -> String {
    const K: u64 = 1000;
    if exact {
        return format!(" {number:>8}");
    }
    match number {
        0..100_000_000 => format!("{number:>9}"),
        100_000_000..1_000_000_000 => format!("{:>8}K", number / K),
        1_000_000_000..100_000_000_000 => format!("{:>8}M", number / K / K),
        100_000_000_000..100_000_000_000_000 => format!("{:>8}G", number / K / K / K),
        _ => format!("{:>8}T", number / K / K / K / K),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMERIC: ListFlags = ListFlags {
        numeric: true,
        stats: false,
        exact: false,
        rate: false,
        thresholds: false,
        persistent_conn: false,
    };

    fn status() -> wire::Status {
        wire::Status {
            version: "0.1.0".into(),
            uptime_s: 5,
            interfaces: Vec::new(),
            tables: vec![wire::Table {
                name: "connections_v4".into(),
                entries: 0,
                capacity: 4096,
            }],
            drops: std::collections::BTreeMap::new(),
            unresolved: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn real(real: &str, forward: &str, weight: u32, active: u32) -> wire::Real {
        wire::Real {
            real: real.into(),
            forward: forward.into(),
            tunnel: None,
            weight,
            effective_weight: weight,
            state: "ready".into(),
            health: "up".into(),
            owner: wire::Owner::File,
            next_hop: "resolved".into(),
            upper_threshold: 0,
            lower_threshold: 0,
            overloaded: false,
            active,
            inactive: 0,
            persistent: 0,
            stats: wire::Stats::default(),
        }
    }

    fn service(
        service: &str,
        scheduler: &str,
        flags: &[&str],
        reals: Vec<wire::Real>,
    ) -> wire::Service {
        wire::Service {
            service: service.into(),
            name: None,
            owner: wire::Owner::File,
            scheduler: scheduler.into(),
            scheduler_flags: flags.iter().map(|&flag| flag.into()).collect(),
            forward: "dr".into(),
            masquerade: Vec::new(),
            reals,
            stats: wire::Stats::default(),
        }
    }

    /// The recorded session's last table, without what has no counterpart yet.
    fn services() -> Vec<wire::Service> {
        vec![
            service(
                "tcp:192.0.2.10:80",
                "rr",
                &[],
                vec![
                    real("10.0.0.2:80", "dr", 5, 0),
                    real("10.0.0.3:8080", "nat", 2, 0),
                    real("10.0.0.4:80", "tun", 0, 0),
                    real("10.0.0.9:80", "tun", 1, 3),
                ],
            ),
            service(
                "tcp:[2001:db8::10]:443",
                "sh",
                &["sh-fallback", "sh-port"],
                vec![real("[2001:db8::20]:443", "dr", 3, 0)],
            ),
            service(
                "sctp:192.0.2.10:2905",
                "rr",
                &[],
                vec![
                    real("127.0.0.1:2905", "local", 1, 0),
                    real("[2001:db8::21]:2905", "tun", 1, 0),
                ],
            ),
        ]
    }

    #[test]
    fn the_table_is_ipvsadms_to_the_last_blank() {
        let text = render(&status(), &services(), NUMERIC, &mut Names::Numeric).unwrap();
        // The session's lines, trailing blanks included.
        let expected = [
            "lbd 0.1.0 (size=4096)",
            "Prot LocalAddress:Port Scheduler Flags",
            "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
            "TCP  192.0.2.10:80 rr",
            "  -> 10.0.0.2:80                  Route   5      0          0         ",
            "  -> 10.0.0.3:8080                Masq    2      0          0         ",
            "  -> 10.0.0.4:80                  Tunnel  0      0          0         ",
            "  -> 10.0.0.9:80                  Tunnel  1      3          0         ",
            "TCP  [2001:db8::10]:443 sh (sh-fallback,sh-port)",
            "  -> [2001:db8::20]:443           Route   3      0          0         ",
            "SCTP 192.0.2.10:2905 rr",
            "  -> 127.0.0.1:2905               Local   1      0          0         ",
            "  -> [2001:db8::21]:2905          Tunnel  1      0          0         ",
            "",
        ];
        assert_eq!(text, expected.join("\n"));
    }

    #[test]
    fn counters_have_ipvsadms_columns() {
        let flags = ListFlags {
            stats: true,
            ..NUMERIC
        };
        let mut services = services();
        services[0].stats = wire::Stats {
            connections: 7,
            in_packets: 70,
            in_bytes: 5200,
            out_packets: 3,
            out_bytes: 123_456_789,
        };
        let text = render(&status(), &services, flags, &mut Names::Numeric).unwrap();
        let expected = [
            "lbd 0.1.0 (size=4096)",
            "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes",
            "  -> RemoteAddress:Port",
            "TCP  192.0.2.10:80                       7       70        3     5200  123456K",
            "  -> 10.0.0.2:80                         0        0        0        0        0",
            "  -> 10.0.0.3:8080                       0        0        0        0        0",
            "  -> 10.0.0.4:80                         0        0        0        0        0",
            "  -> 10.0.0.9:80                         0        0        0        0        0",
            "TCP  [2001:db8::10]:443                  0        0        0        0        0",
            "  -> [2001:db8::20]:443                  0        0        0        0        0",
            "SCTP 192.0.2.10:2905                     0        0        0        0        0",
            "  -> 127.0.0.1:2905                      0        0        0        0        0",
            "  -> [2001:db8::21]:2905                 0        0        0        0        0",
            "",
        ];
        assert_eq!(text, expected.join("\n"));
    }

    #[test]
    fn large_counters_are_scaled_unless_exact() {
        for (number, text, exact) in [
            (0, "        0", "        0"),
            (99_999_999, " 99999999", " 99999999"),
            (100_000_000, "  100000K", " 100000000"),
            (999_999_999, "  999999K", " 999999999"),
            (1_000_000_000, "    1000M", " 1000000000"),
            (99_999_999_999, "   99999M", " 99999999999"),
            (100_000_000_000, "     100G", " 100000000000"),
            (100_000_000_000_000, "     100T", " 100000000000000"),
        ] {
            assert_eq!(scaled(number, false), text);
            assert_eq!(scaled(number, true), exact);
        }
    }

    #[test]
    fn long_names_are_cut_as_ipvsadm_cuts_them() {
        let address = std::net::IpAddr::from([10, 0, 0, 2]);
        let host = "a-host-with-a-name-of-forty-characters-x".to_owned();
        let vip = std::net::IpAddr::from([192, 0, 2, 10]);
        let mut names = Names::Resolved([(address, host.clone()), (vip, host)].into());
        let services = [service(
            "tcp:192.0.2.10:65533",
            "rr",
            &[],
            vec![real("10.0.0.2:65533", "dr", 1, 0)],
        )];
        let text = render(&status(), &services, NUMERIC, &mut names).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[3], "TCP  a-host-with-a-name-of-forty- rr");
        assert_eq!(
            lines[4],
            "  -> a-host-with-a-name-of-forty- Route   1      0          0         "
        );
    }
}
