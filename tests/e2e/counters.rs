//! What lbctl counts is what was there.

use std::thread;
use std::time::Duration;

use lb_tests::conversation::Conversation;
use lb_tests::topology::{Method, PORT};
use lb_tests::wait;
use serde_json::Value;

use crate::site::{Site, json, real};

/// Shortened timeouts, and 5 s more at most for the sweep to come by.
const TIMEOUTS: &str = "[timeouts]\n\
    tcp_fin_wait = \"1s\"\n\
    tcp_time_wait = \"1s\"\n\
    tcp_close = \"1s\"\n\
    tcp_close_wait = \"1s\"\n\
    tcp_last_ack = \"1s\"\n\n";
const METRICS: &str = "[metrics]\nlisten = \"127.0.0.1:9106\"\n\n";
const SWEPT: Duration = Duration::from_secs(1 + 5 + 2);

/// A count that is off by one after a state change shows as an active connection
/// too many or too few; a leak as a table that never empties; counters of the
/// wrong real or direction in their numbers.
fn counts(method: Method) {
    let Some(site) = Site::small(method) else {
        return;
    };
    let network = &site.network;
    let config = site
        .config("rr", &[1, 1])
        .replace("[capacity]", &format!("{TIMEOUTS}{METRICS}[capacity]"));
    let daemon = site.start_with(&config);
    assert_eq!(counts_of(&real(&daemon, 1)), (0, 0, 0));

    let mut held = Conversation::open(&network.clients[0], network.vip(), PORT).unwrap();
    assert_eq!(held.ask().unwrap(), "real1");
    assert_eq!(counts_of(&real(&daemon, 1)), (1, 0, 1));
    // real2, real1, real2, real1, real2
    let tally = site.ask(5);
    assert_eq!(tally.by_real(2), [2, 3], "{tally}");
    assert_eq!(counts_of(&real(&daemon, 1)), (1, 2, 3));
    assert_eq!(counts_of(&real(&daemon, 2)), (0, 3, 3));
    held.ask().unwrap();

    let service = json(&daemon, &["list"])[0].clone();
    compare_stats(
        &daemon.lbctl(&["list", "-n", "--stats", "--exact"]).unwrap(),
        &service,
    );
    assert_eq!(service["stats"]["connections"], 6, "{service}");
    let in_packets = number(&service["stats"]["in_packets"]);
    // SYN, ACK, request, ACK and FIN at least; not one that was counted twice.
    assert!((5 * 5..=10 * 6).contains(&in_packets), "{service}");
    let in_bytes = number(&service["stats"]["in_bytes"]);
    assert!(
        (40 * in_packets..=200 * in_packets).contains(&in_bytes),
        "{service}"
    );
    let out_packets = number(&service["stats"]["out_packets"]);
    assert_eq!(out_packets > 0, method == Method::Nat, "{service}");

    let url = "http://127.0.0.1:9106/metrics";
    let metrics = network.director.run("curl", &["-sSf", url]).unwrap();
    let backend = |index: usize| {
        let name = service["reals"][index]["real"].as_str().unwrap();
        let (address, port) = name.rsplit_once(':').unwrap();
        format!(
            "{{local_address=\"192.0.2.10\",local_mark=\"\",local_port=\"80\",proto=\"TCP\",\
             remote_address=\"{address}\",remote_port=\"{port}\"}}"
        )
    };
    for line in [
        "lbd_connections_total 6".to_owned(),
        format!("lbd_incoming_packets_total {in_packets}"),
        format!("lbd_outgoing_packets_total {out_packets}"),
        format!("lbd_backend_connections_active{} 1", backend(0)),
        format!("lbd_backend_connections_inactive{} 3", backend(1)),
        format!("lbd_backend_weight{} 1", backend(0)),
        "lbd_connection_table_capacity{family=\"v4\"} 16384".to_owned(),
        "lbd_config_last_reload_successful 1".to_owned(),
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line}: {metrics}");
    }

    wait::until("closed connections to expire", SWEPT, || {
        counts_of(&real(&daemon, 1)) == (1, 0, 3) && counts_of(&real(&daemon, 2)) == (0, 0, 3)
    })
    .unwrap();
    daemon.lbctl(&["zero", "web"]).unwrap();
    assert_eq!(counts_of(&real(&daemon, 2)), (0, 0, 0));
    held.ask().unwrap();
    drop(held);
    wait::until("the table to empty", SWEPT + SWEPT, || {
        counts_of(&real(&daemon, 1)) == (0, 0, 0) && entries(&daemon) == 0
    })
    .unwrap();
    let page = daemon.lbctl(&["status"]).unwrap();
    assert!(
        page.contains("connections_v4        0     16384  0.0 %"),
        "{page}"
    );
}

/// Active and inactive connections, and all there ever were.
fn counts_of(real: &Value) -> (u64, u64, u64) {
    let count = |name| number(&real[name]);
    (
        count("active"),
        count("inactive"),
        number(&real["stats"]["connections"]),
    )
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

fn entries(daemon: &lb_tests::daemon::Daemon<'_>) -> u64 {
    number(&json(daemon, &["status"])["tables"][0]["entries"])
}

/// The table for people has the numbers of the JSON.
#[track_caller]
fn compare_stats(table: &str, service: &Value) {
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 6, "{table}");
    let objects = [service, &service["reals"][0], &service["reals"][1]];
    for (line, object) in lines[3..].iter().zip(objects) {
        let shown: Vec<u64> = line
            .split_whitespace()
            .rev()
            .take(5)
            .map(|field| field.parse().unwrap())
            .collect();
        let stats = [
            "out_bytes",
            "in_bytes",
            "out_packets",
            "in_packets",
            "connections",
        ];
        assert_eq!(
            shown,
            stats.map(|name| number(&object["stats"][name])),
            "{table}"
        );
    }
}

/// Side by side, for each spends most of its time waiting.
#[test]
fn each_method() {
    thread::scope(|scope| {
        for method in Method::ALL {
            scope.spawn(move || counts(method));
        }
    });
}
