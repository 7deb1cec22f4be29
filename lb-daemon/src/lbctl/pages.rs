//! Pages for people: `status`, `service list`, `service show`.

use std::fmt::Write;

use super::columns::{
    Align::{self, Left, Right},
    aligned,
};
use crate::api::wire;

/// `lbctl status`.
pub(super) fn status(status: &wire::Status) -> String {
    let mut page = format!("lbd {}, up {}\n", status.version, duration(status.uptime_s));

    let interfaces = status
        .interfaces
        .iter()
        .map(|interface| vec![interface.name.clone(), interface.mode.clone()]);
    section(&mut page, "Interfaces", &[Left, Left], interfaces.collect());

    let mut tables = vec![
        ["", "entries", "capacity", "fill"]
            .map(str::to_owned)
            .to_vec(),
    ];
    tables.extend(status.tables.iter().map(|table| {
        vec![
            table.name.clone(),
            table.entries.to_string(),
            table.capacity.to_string(),
            fill(table),
        ]
    }));
    section(&mut page, "Tables", &[Left, Right, Right, Right], tables);

    let drops = status
        .drops
        .iter()
        .map(|(reason, packets)| vec![reason.clone(), packets.to_string()]);
    section(
        &mut page,
        "Dropped packets",
        &[Left, Right],
        drops.collect(),
    );

    let lines = |lines: &[String]| lines.iter().map(|line| vec![line.clone()]).collect();
    section(
        &mut page,
        "Reals without a next hop",
        &[Left],
        lines(&status.unresolved),
    );
    section(&mut page, "Warnings", &[Left], lines(&status.warnings));
    page
}

/// `lbctl service list`.
pub(super) fn service_list(services: &[wire::Service]) -> String {
    let mut rows = vec![
        ["SERVICE", "NAME", "SCHEDULER", "FORWARD", "REALS", "OWNER"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(services.iter().map(|service| {
        vec![
            service.service.clone(),
            service.name.clone().unwrap_or_else(|| "-".into()),
            service.scheduler.clone(),
            service.forward.clone(),
            service.reals.len().to_string(),
            service.owner.name().into(),
        ]
    }));
    aligned(0, &[Left, Left, Left, Left, Right, Left], &rows)
}

/// `lbctl service show`.
pub(super) fn service(service: &wire::Service) -> String {
    let mut scheduler = service.scheduler.clone();
    if !service.scheduler_flags.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(scheduler, " ({})", service.scheduler_flags.join(", "));
    }
    if let Some(places) = service.mh_table_size {
        let _ = write!(scheduler, ", {places} places");
    }
    let stats = service.stats;
    let masquerade = match &service.masquerade[..] {
        [] => "-".to_owned(),
        pool => pool
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    };
    let rows = [
        ("Service", service.service.clone()),
        ("Name", service.name.clone().unwrap_or_else(|| "-".into())),
        ("Owner", service.owner.name().into()),
        ("Scheduler", scheduler),
        ("Slow start", slow_start(service)),
        ("Forward", service.forward.clone()),
        ("Masquerade", masquerade),
        ("Persistence", persistence(service)),
        (
            "One packet",
            if service.one_packet { "yes" } else { "no" }.into(),
        ),
        ("On down", service.on_down.clone()),
        ("Rate limit", rate_limit(service)),
        ("Checks", checks(service)),
        (
            "Quorum",
            if service.has_quorum { "yes" } else { "lost" }.into(),
        ),
        ("Sorry server", sorry_server(service)),
        ("Connections", stats.connections.to_string()),
        (
            "In",
            format!("{} packets, {} bytes", stats.in_packets, stats.in_bytes),
        ),
        (
            "Out",
            format!("{} packets, {} bytes", stats.out_packets, stats.out_bytes),
        ),
    ];
    let mut page = aligned(
        0,
        &[Left, Left],
        &rows.map(|(key, value)| vec![key.to_owned(), value]),
    );
    page.push('\n');
    if service.reals.is_empty() {
        page.push_str("No reals: new connections are refused.\n");
    } else {
        page.push_str(&reals(&service.reals));
    }
    page
}

fn persistence(service: &wire::Service) -> String {
    let Some(persistence) = service.persistence else {
        return "-".into();
    };
    let length = persistence.netmask.or(persistence.netmask_v6);
    let netmask = length.map_or_else(String::new, |length| format!(", netmask {length}"));
    format!("{} s{netmask}", persistence.timeout_s)
}

/// The types of the checks, and how many of them must succeed.
fn checks(service: &wire::Service) -> String {
    let types = service.health.iter().filter_map(|of| of["type"].as_str());
    match types.collect::<Vec<_>>()[..] {
        [] => "-".into(),
        [one] => one.to_owned(),
        ref several => format!("{} of {}", service.require, several.join(", ")),
    }
}

fn sorry_server(service: &wire::Service) -> String {
    match &service.sorry_server {
        None => "-".into(),
        Some(sorry) if sorry.listed_weight.is_some() => format!("{}, serving", sorry.real),
        Some(sorry) => sorry.real.clone(),
    }
}

fn slow_start(service: &wire::Service) -> String {
    service
        .slow_start_s
        .map_or_else(|| "-".into(), |seconds| format!("{seconds} s"))
}

fn rate_limit(service: &wire::Service) -> String {
    service.rate_limit.map_or_else(
        || "-".into(),
        |limit| {
            let wire::RateLimit { connections, burst } = limit;
            format!("{connections} connections a second, {burst} at once")
        },
    )
}

fn reals(reals: &[wire::Real]) -> String {
    let header = [
        "REAL",
        "FORWARD",
        "WEIGHT",
        "STATE",
        "HEALTH",
        "OWNER",
        "ACTIVE",
        "INACTIVE",
        "THRESHOLDS",
        "CONNECTIONS",
        "NEXT HOP",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(reals.iter().map(|real| {
        vec![
            real.real.clone(),
            forward(real),
            weight(real),
            real.state.clone(),
            real.health.clone(),
            real.owner.name().into(),
            real.active.to_string(),
            real.inactive.to_string(),
            thresholds(real),
            real.stats.connections.to_string(),
            real.next_hop.clone(),
        ]
    }));
    let aligns = [
        Left, Left, Right, Left, Left, Left, Right, Right, Left, Right, Left,
    ];
    aligned(0, &aligns, &rows)
}

fn section(page: &mut String, title: &str, aligns: &[Align], rows: Vec<Vec<String>>) {
    let rows = if rows.is_empty() {
        vec![vec!["none".to_owned()]]
    } else {
        rows
    };
    page.push_str(&format!("\n{title}\n"));
    page.push_str(&aligned(2, aligns, &rows));
}

/// The method, and of a tunnel what is not ipip: `tun gue:6080+checksum`.
fn forward(real: &wire::Real) -> String {
    let mut text = real.forward.clone();
    let Some(tunnel) = real.tunnel.as_ref().filter(|tunnel| tunnel.kind != "ipip") else {
        return text;
    };
    text.push_str(&format!(" {}", tunnel.kind));
    if tunnel.kind == "gue" {
        text.push_str(&format!(":{}", tunnel.port));
    }
    if tunnel.checksum {
        text.push_str("+checksum");
    }
    text
}

/// The upper and the lower one, and whether they hold clients off.
fn thresholds(real: &wire::Real) -> String {
    let (upper, lower) = (real.upper_threshold, real.lower_threshold);
    match (upper, lower, real.overloaded) {
        (0, 0, _) => "-".into(),
        (_, _, false) => format!("{upper}/{lower}"),
        (_, _, true) => format!("{upper}/{lower} (overloaded)"),
    }
}

/// What is configured, and what is in force where that differs.
fn weight(real: &wire::Real) -> String {
    if real.weight == real.effective_weight {
        real.weight.to_string()
    } else {
        format!("{} (now {})", real.weight, real.effective_weight)
    }
}

/// Tenths of a percent, rounded down: 100.0 % is full.
fn fill(table: &wire::Table) -> String {
    let permille = u128::from(table.entries) * 1000 / u128::from(table.capacity.max(1));
    format!("{}.{} %", permille / 10, permille % 10)
}

/// The two largest units: `2 d 3 h`, `5 min 7 s`, `4 s`.
fn duration(seconds: u64) -> String {
    let units = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let first = units
        .iter()
        .position(|(count, _)| *count > 0)
        .unwrap_or(units.len() - 1);
    let shown = units[first..]
        .iter()
        .take(2)
        .map(|(count, unit)| format!("{count} {unit}"));
    shown.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_aligned_and_says_none() {
        let page = status(&wire::Status {
            version: "0.1.0".into(),
            uptime_s: 307,
            interfaces: vec![
                wire::Interface {
                    name: "eth0".into(),
                    mode: "native".into(),
                },
                wire::Interface {
                    name: "wan".into(),
                    mode: "generic".into(),
                },
            ],
            tables: vec![wire::Table {
                name: "connections_v4".into(),
                entries: 10,
                capacity: 1000,
            }],
            drops: [("no_real".to_owned(), 3)].into(),
            unresolved: vec!["tcp:192.0.2.10:80 10.0.0.2:80: no neighbour".into()],
            warnings: Vec::new(),
        });
        let expected = [
            "lbd 0.1.0, up 5 min 7 s",
            "",
            "Interfaces",
            "  eth0  native",
            "  wan   generic",
            "",
            "Tables",
            "                  entries  capacity   fill",
            "  connections_v4       10      1000  1.0 %",
            "",
            "Dropped packets",
            "  no_real  3",
            "",
            "Reals without a next hop",
            "  tcp:192.0.2.10:80 10.0.0.2:80: no neighbour",
            "",
            "Warnings",
            "  none",
            "",
        ];
        assert_eq!(page, expected.join("\n"));
    }

    #[test]
    fn durations_have_two_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min 0 s"),
            (3601, "1 h 0 min"),
            (183_600, "2 d 3 h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn a_full_table_is_full() {
        let table = |entries| wire::Table {
            name: String::new(),
            entries,
            capacity: 1000,
        };
        assert_eq!(fill(&table(999)), "99.9 %");
        assert_eq!(fill(&table(1000)), "100.0 %");
    }

    #[test]
    fn tunnels_other_than_ipip_are_told() {
        let real = |tunnel: Option<(&str, u16, bool)>| wire::Real {
            real: "10.0.0.2:80".into(),
            forward: if tunnel.is_some() { "tun" } else { "nat" }.into(),
            tunnel: tunnel.map(|(kind, port, checksum)| wire::Tunnel {
                kind: kind.into(),
                port,
                checksum,
            }),
            weight: 1,
            effective_weight: 1,
            state: "ready".into(),
            health: "up".into(),
            listed_weight: Some(1),
            checks: None,
            notify_up: Vec::new(),
            notify_down: Vec::new(),
            owner: wire::Owner::File,
            next_hop: "resolved".into(),
            upper_threshold: 0,
            lower_threshold: 0,
            overloaded: false,
            active: 0,
            inactive: 0,
            persistent: 0,
            stats: wire::Stats::default(),
            rates: wire::Stats::default(),
            etag: String::new(),
        };
        for (tunnel, text) in [
            (None, "nat"),
            (Some(("ipip", 6080, false)), "tun"),
            (Some(("gre", 6080, true)), "tun gre+checksum"),
            (Some(("gue", 7000, false)), "tun gue:7000"),
        ] {
            assert_eq!(forward(&real(tunnel)), text);
        }
    }

    #[test]
    fn a_service_without_reals_says_so() {
        let page = service(&wire::Service {
            service: "tcp:192.0.2.10:80".into(),
            name: Some("web".into()),
            owner: wire::Owner::File,
            scheduler: "mh".into(),
            scheduler_flags: vec!["mh-fallback".into(), "mh-port".into()],
            mh_table_size: Some(4093),
            slow_start_s: None,
            forward: "dr".into(),
            masquerade: Vec::new(),
            persistence: None,
            one_packet: false,
            on_down: "keep".into(),
            rate_limit: None,
            reals: Vec::new(),
            sorry_server: None,
            health: Vec::new(),
            require: "all".into(),
            quorum: wire::Quorum::from(&crate::config::model::Quorum::default()),
            has_quorum: true,
            stats: wire::Stats::default(),
            rates: wire::Stats::default(),
            etag: String::new(),
        });
        assert!(
            page.starts_with("Service       tcp:192.0.2.10:80\nName          web\n"),
            "{page}"
        );
        assert!(
            page.contains(
                "Scheduler     mh (mh-fallback, mh-port), 4093 places\nSlow start    -\n"
            ),
            "{page}"
        );
        assert!(
            page.ends_with("No reals: new connections are refused.\n"),
            "{page}"
        );
    }
}
