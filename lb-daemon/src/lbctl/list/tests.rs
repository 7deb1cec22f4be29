//! The tables against those of a recorded session of ipvsadm 1.31.

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
        listed_weight: Some(weight),
        checks: None,
        notify_up: Vec::new(),
        notify_down: Vec::new(),
        owner: wire::Owner::File,
        next_hop: "resolved".into(),
        upper_threshold: 0,
        lower_threshold: 0,
        overloaded: false,
        active,
        inactive: 0,
        persistent: 0,
        stats: wire::Stats::default(),
        rates: wire::Stats::default(),
        etag: String::new(),
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
        mh_table_size: None,
        slow_start_s: None,
        forward: "dr".into(),
        masquerade: Vec::new(),
        persistence: None,
        one_packet: false,
        on_down: "keep".into(),
        rate_limit: None,
        reals,
        sorry_server: None,
        health: Vec::new(),
        require: "all".into(),
        quorum: wire::Quorum::from(&crate::config::model::Quorum::default()),
        has_quorum: true,
        stats: wire::Stats::default(),
        rates: wire::Stats::default(),
        etag: String::new(),
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

fn persistent(of: wire::Service, timeout_s: u32, netmask: u8) -> wire::Service {
    let is_v6 = of.service.contains('[') || of.service.starts_with("fwmark6");
    let persistence = wire::Persistence {
        timeout_s,
        netmask: (!is_v6).then_some(netmask),
        netmask_v6: is_v6.then_some(netmask),
    };
    wire::Service {
        persistence: Some(persistence),
        ..of
    }
}

/// The recorded session's first table, in the order of configuration.
fn session() -> Vec<wire::Service> {
    let limited = wire::Real {
        upper_threshold: 100,
        lower_threshold: 50,
        ..real("10.0.0.3:8080", "nat", 2, 0)
    };
    let busy = wire::Real {
        persistent: 1,
        ..real("10.0.0.9:80", "tun", 1, 3)
    };
    let reals = vec![
        real("10.0.0.2:80", "dr", 1, 0),
        limited,
        real("10.0.0.4:80", "tun", 0, 0),
        busy,
    ];
    let dns = vec![real("10.0.0.5:53", "nat", 1, 0)];
    let marked = vec![real("10.0.0.6:0", "dr", 1, 0)];
    let marked_v6 = vec![real("[2001:db8::6]:0", "dr", 1, 0)];
    vec![
        persistent(service("tcp:192.0.2.10:80", "wlc", &[], reals), 300, 24),
        wire::Service {
            one_packet: true,
            ..service("udp:192.0.2.10:53", "rr", &[], dns)
        },
        persistent(service("fwmark:80", "lblcr", &[], marked), 360, 32),
        wire::Service {
            one_packet: true,
            ..persistent(service("fwmark6:81", "wlc", &[], marked_v6), 360, 64)
        },
    ]
}

#[test]
fn marks_persistence_and_one_packet_are_ipvsadms() {
    let text = render(&status(), &session(), NUMERIC, &mut Names::Numeric).unwrap();
    let expected = [
        "lbd 0.1.0 (size=4096)",
        "Prot LocalAddress:Port Scheduler Flags",
        "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
        "TCP  192.0.2.10:80 wlc persistent 300 mask 255.255.255.0",
        "  -> 10.0.0.2:80                  Route   1      0          0         ",
        "  -> 10.0.0.3:8080                Masq    2      0          0         ",
        "  -> 10.0.0.4:80                  Tunnel  0      0          0         ",
        "  -> 10.0.0.9:80                  Tunnel  1      3          0         ",
        "UDP  192.0.2.10:53 rr ops",
        "  -> 10.0.0.5:53                  Masq    1      0          0         ",
        "FWM  80 lblcr persistent 360",
        "  -> 10.0.0.6:0                   Route   1      0          0         ",
        "FWM  81 IPv6 wlc persistent 360 mask 64 ops",
        "  -> [2001:db8::6]:0              Route   1      0          0         ",
        "",
    ];
    assert_eq!(text, expected.join("\n"));
}

#[test]
fn thresholds_and_persistence_entries_have_ipvsadms_columns() {
    let thresholds = ListFlags {
        thresholds: true,
        ..NUMERIC
    };
    let text = render(&status(), &session()[..3], thresholds, &mut Names::Numeric).unwrap();
    let expected = [
        "lbd 0.1.0 (size=4096)",
        "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn ",
        "  -> RemoteAddress:Port",
        "TCP  192.0.2.10:80 wlc persistent 300 mask 255.255.255.0",
        "  -> 10.0.0.2:80                  0          0          0          0         ",
        "  -> 10.0.0.3:8080                100        50         0          0         ",
        "  -> 10.0.0.4:80                  0          0          0          0         ",
        "  -> 10.0.0.9:80                  0          0          3          0         ",
        "UDP  192.0.2.10:53 rr ops",
        "  -> 10.0.0.5:53                  0          0          0          0         ",
        "FWM  80 lblcr persistent 360",
        "  -> 10.0.0.6:0                   0          0          0          0         ",
        "",
    ];
    assert_eq!(text, expected.join("\n"));
    let persistent_conn = ListFlags {
        persistent_conn: true,
        ..NUMERIC
    };
    let text = render(
        &status(),
        &session()[..1],
        persistent_conn,
        &mut Names::Numeric,
    );
    let expected = [
        "lbd 0.1.0 (size=4096)",
        "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn ",
        "  -> RemoteAddress:Port",
        "TCP  192.0.2.10:80 wlc persistent 300 mask 255.255.255.0",
        "  -> 10.0.0.2:80                  1         0           0          0         ",
        "  -> 10.0.0.3:8080                2         0           0          0         ",
        "  -> 10.0.0.4:80                  0         0           0          0         ",
        "  -> 10.0.0.9:80                  1         1           3          0         ",
        "",
    ];
    assert_eq!(text.unwrap(), expected.join("\n"));
}

#[test]
fn a_mark_has_its_counters_too() {
    let flags = ListFlags {
        stats: true,
        ..NUMERIC
    };
    let text = render(&status(), &session()[2..3], flags, &mut Names::Numeric).unwrap();
    let lines: Vec<_> = text.lines().skip(3).collect();
    assert_eq!(
        lines,
        [
            "FWM  80                                  0        0        0        0        0",
            "  -> 10.0.0.6:0                          0        0        0        0        0",
        ]
    );
}

/// A service's rates are scaled, of a real's only those of bytes are.
#[test]
fn rates_have_ipvsadms_columns() {
    let flags = ListFlags {
        rate: true,
        ..NUMERIC
    };
    let rates = wire::Stats {
        connections: 200_000_000,
        in_packets: 7,
        in_bytes: 300_000_000,
        out_packets: 0,
        out_bytes: 9,
    };
    let mut services = services();
    services.truncate(1);
    services[0].rates = rates;
    services[0].reals.truncate(1);
    services[0].reals[0].rates = rates;
    let text = render(&status(), &services, flags, &mut Names::Numeric).unwrap();
    let lines: Vec<_> = text.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS",
            "  -> RemoteAddress:Port",
            "TCP  192.0.2.10:80                 200000K        7        0  300000K        9",
            "  -> 10.0.0.2:80                  200000000        7        0  300000K        9",
        ]
    );
}

#[test]
fn tunnels_are_told_by_kind_port_and_checksum() {
    let tunnel = |kind: &str, checksum| {
        Some(wire::Tunnel {
            kind: kind.into(),
            port: 6080,
            checksum,
        })
    };
    for (given, text) in [
        (None, "n/a"),
        (tunnel("ipip", false), "ipip"),
        (tunnel("gue", true), "gue:6080:+c"),
        (tunnel("gre", false), "gre:-c"),
    ] {
        let mut real = real("10.0.0.2:80", "tun", 1, 0);
        real.tunnel = given;
        assert_eq!(tunnel_info(&real), text);
    }
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
