//! Services and reals as files write them, right and wrong.

mod listen;

use super::{super::parse, *};
use crate::config::model::{Persistence, RateLimit, TunnelKind};

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
            "'rr'",
            "'lcc'",
            "lbd.toml:7: service.scheduler: unknown scheduler \"lcc\"; did you mean lc?",
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
fn the_scheduler_is_ipvsadms_unless_named_and_has_what_belongs_to_it() {
    let scheduling = |scheduler: &str| {
        let text = BEFORE.replace("scheduler = 'rr'\n", scheduler);
        parse(&text, "lbd.toml").unwrap().services[0].scheduling()
    };
    let default = Scheduling::default();
    assert_eq!(default.scheduler, Scheduler::Wlc);
    assert_eq!(scheduling(""), default);
    assert_eq!(
        scheduling("scheduler_flags = []\nmh_table_size = 4093\n"),
        default
    );
    let slow = Scheduling {
        slow_start: Some(Duration::from_secs(120)),
        ..default
    };
    assert_eq!(scheduling("slow_start = '2m'\n"), slow);
    let mh =
        "scheduler = 'mh'\nmh_table_size = 251\nscheduler_flags = ['mh-port', 'mh-fallback']\n";
    let flags = lb_common::scheduler::flag::PORT | lb_common::scheduler::flag::FALLBACK;
    assert_eq!(
        scheduling(mh),
        Scheduling {
            flags,
            table_size: 251,
            ..Scheduling::plain(Scheduler::Mh)
        }
    );
    for (new, expected) in [
        (
            "'sh'\nscheduler_flags = ['sh-port',\n'mh-port']",
            "9: service.scheduler_flags: sh has no flag \"mh-port\"; it takes sh-fallback, sh-port",
        ),
        (
            "'mh'\nscheduler_flags = ['mh-port', 'mh-port']",
            "8: service.scheduler_flags: \"mh-port\" is listed twice",
        ),
        (
            "'rr'\nscheduler_flags = 'sh-port'",
            "8: service.scheduler_flags: expected an array, found string",
        ),
        (
            "'mh'\nmh_table_size = 4096",
            "8: service.mh_table_size: service tcp:192.0.2.10:80: mh_table_size 4096 is not a prime; the nearest \
             are 4093 and 4099",
        ),
        (
            "'sh'\nmh_table_size = 251",
            "8: service.mh_table_size: service tcp:192.0.2.10:80: mh_table_size is of mh alone, and the scheduler \
             is sh",
        ),
        (
            "'fo'\nslow_start = '30s'",
            "8: service.slow_start: service tcp:192.0.2.10:80: fo has no slow_start: it says who gets a \
             connection, not how many each gets",
        ),
        (
            "'rr'\nslow_start = '0s'",
            "8: service.slow_start: out of range: 1s to 3600s",
        ),
    ] {
        assert_eq!(with("'rr'", new), format!("lbd.toml:{expected}"));
    }
    let reals: String = (0..252)
        .map(|host| format!("[[service.real]]\naddress = '10.0.0.{host}'\n"))
        .collect();
    assert_eq!(
        with("'rr'", &format!("'mh'\nmh_table_size = 251\n{reals}")),
        "lbd.toml:8: service.mh_table_size: service tcp:192.0.2.10:80: mh_table_size 251 has not one place for each \
         of 252 reals"
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

#[test]
fn what_a_service_does_with_its_clients_is_read() {
    let service = |text: &str| {
        let text = BEFORE.replace("'tcp'", "'udp'") + text;
        parse(&text, "lbd.toml").unwrap().services.remove(0)
    };
    let plain = service("");
    assert_eq!(
        (
            plain.persistence,
            plain.one_packet,
            plain.on_down,
            plain.rate_limit
        ),
        (None, false, OnDown::Keep, None)
    );
    let all = service(
        "persistence = { timeout = '10m', netmask = 24, netmask_v6 = 64 }\none_packet = true\n\
         on_down = 'reset'\nrate_limit = { connections = 1000 }\n",
    );
    let persistence = Persistence {
        timeout_s: 600,
        netmask: 24,
        netmask_v6: 64,
    };
    assert_eq!(all.persistence, Some(persistence));
    assert!(all.one_packet);
    assert_eq!(all.on_down, OnDown::Reset);
    let limit = |connections, burst| Some(RateLimit { connections, burst });
    assert_eq!(all.rate_limit, limit(1000, 2000));
    let defaults = service("persistence = {}\nrate_limit = { connections = 5, burst = 7 }\n");
    assert_eq!(defaults.persistence, Some(Persistence::default()));
    assert_eq!(defaults.rate_limit, limit(5, 7));
}

#[test]
fn a_mark_stands_in_the_place_of_an_address() {
    let service = "[director]\ninterfaces = ['eth0']\n[[service]]\nfwmark = 80\nscheduler = 'rr'\n";
    let real = "[[service.real]]\naddress = '10.0.0.2'\n";
    let config = parse(&format!("{service}{real}"), "lbd.toml").unwrap();
    assert_eq!(config.services[0].id.to_string(), "fwmark:80");
    assert_eq!(config.services[0].reals[0].id.to_string(), "10.0.0.2:0");
    let config = parse(&format!("{service}family = 'ipv6'\n"), "lbd.toml").unwrap();
    assert_eq!(config.services[0].id.to_string(), "fwmark6:80");
    for (text, expected) in [
        (
            format!("{service}port = 80\n"),
            "6: service.port: contradicts fwmark, which stands in its place",
        ),
        (
            service.replace("80", "0"),
            "4: service.fwmark: 0 is out of range: 1 to 4294967295",
        ),
        (
            format!("{service}family = 'ip6'\n"),
            "6: service.family: unknown family \"ip6\"; did you mean ipv6?",
        ),
        (
            service.replace("fwmark = 80", "family = 'ipv6'"),
            "4: service.family: only a service by fwmark has it",
        ),
        (
            format!("{service}[[service]]\nscheduler = 'rr'\nfwmark = 80\n"),
            "8: service.fwmark: fwmark:80 is listed twice, first on line 4",
        ),
        (
            format!("{service}one_packet = true\n"),
            "6: service.one_packet: service fwmark:80: one_packet is for services of udp",
        ),
        (
            format!("{service}{real}port = 80\n"),
            "8: service.real.port: service fwmark:80: real 10.0.0.2:80: dr cannot change the port (the service has \
             many); use nat or leave the port out",
        ),
    ] {
        assert_eq!(refused(&text), format!("lbd.toml:{expected}"));
    }
}

#[test]
fn what_is_wrong_with_a_services_clients_is_named() {
    for (text, expected) in [
        (
            "persistence = '6m'",
            "persistence: expected a table, found string",
        ),
        (
            "persistence = { timeout = 360 }",
            "persistence.timeout: expected a string, found integer",
        ),
        (
            "persistence = { timeout = '0s' }",
            "persistence.timeout: out of range: 1s to 2678400s",
        ),
        (
            "persistence = { netmask = 33 }",
            "persistence.netmask: 33 is out of range: 1 to 32",
        ),
        (
            "persistence = { netmask_v6 = 0 }",
            "persistence.netmask_v6: 0 is out of range: 1 to 128",
        ),
        (
            "persistence = { mask = 24 }",
            "persistence.mask: unknown key; did you mean netmask?",
        ),
        (
            "one_packet = true",
            "one_packet: service tcp:192.0.2.10:80: one_packet is for services of udp",
        ),
        (
            "on_down = 'rest'",
            "on_down: unknown choice \"rest\"; did you mean reset?",
        ),
        ("rate_limit = {}", "rate_limit.connections: missing"),
        (
            "rate_limit = { connections = 0 }",
            "rate_limit.connections: 0 is out of range: 1 to 1000000000",
        ),
    ] {
        assert_eq!(
            refused(&format!("{BEFORE}{text}\n")),
            format!("lbd.toml:8: service.{expected}")
        );
    }
}

#[test]
fn a_real_has_thresholds_and_no_state() {
    let real = |text: &str| format!("{BEFORE}[[service.real]]\naddress = '10.0.0.2'\n{text}\n");
    let text = real("upper_threshold = 100\nlower_threshold = 50");
    let config = parse(&text, "lbd.toml").unwrap();
    let read = &config.services[0].reals[0];
    assert_eq!((read.upper_threshold, read.lower_threshold), (100, 50));
    for (text, expected) in [
        (
            "upper_threshold = -1",
            "10: service.real.upper_threshold: -1 is out of range: 0 to 4294967295",
        ),
        (
            "upper_threshold = 5\nlower_threshold = 6",
            "11: service.real.lower_threshold: service tcp:192.0.2.10:80: real 10.0.0.2:80: lower_threshold 6 is \
             above upper_threshold 5",
        ),
        (
            "state = 'drain'",
            "10: service.real.state: unknown key; the nearest valid key is port",
        ),
    ] {
        assert_eq!(refused(&real(text)), format!("lbd.toml:{expected}"));
    }
}

#[test]
fn replies_of_one_packet_services_are_told_apart() {
    let dns = |host: u8| {
        format!(
            "[[service]]\nprotocol = 'udp'\naddress = '192.0.2.{host}'\nport = 53\nscheduler = 'rr'\n\
             forward = 'nat'\none_packet = true\n[[service.real]]\naddress = '10.0.0.2'\n"
        )
    };
    let error = refused(&format!(
        "[director]\ninterfaces = ['eth0']\n{}{}",
        dns(10),
        dns(11)
    ));
    assert!(
        error.starts_with(
            "lbd.toml:18: service.one_packet: service udp:192.0.2.11:53: real 10.0.0.2:53: "
        ),
        "{error}"
    );
}
