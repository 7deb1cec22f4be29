//! `lbctl connections`: what is listed is what there is, and what is flushed is
//! gone, for its client too.

use std::io;
use std::time::{Duration, Instant};

use lb_tests::conversation::Conversation;
use lb_tests::daemon::Daemon;
use lb_tests::process;
use lb_tests::service::Service;
use lb_tests::topology::{Family, Method, PORT};
use serde_json::{Value, json};

use crate::site::{Site, json as ask, refused};

/// A client who is told does not wait for a timeout.
const AT_ONCE: Duration = Duration::from_secs(2);

#[track_caller]
fn run(daemon: &Daemon<'_>, line: &str) -> String {
    daemon.lbctl(&line.split(' ').collect::<Vec<_>>()).unwrap()
}

#[track_caller]
fn rows(daemon: &Daemon<'_>, line: &str) -> Vec<Value> {
    let arguments: Vec<_> = line.split(' ').collect();
    let rows = ask(daemon, &arguments);
    rows.as_array().unwrap().clone()
}

/// So many conversations, each of which has asked once.
fn converse(site: &Site, count: usize) -> Vec<Conversation> {
    let network = &site.network;
    let mut conversations = Vec::new();
    for _ in 0..count {
        let mut one = Conversation::open(&network.clients[0], network.vip(), PORT).unwrap();
        one.ask().unwrap();
        conversations.push(one);
    }
    conversations
}

/// The client's next segment is answered with RST.
#[track_caller]
fn is_reset(conversation: &mut Conversation) {
    let began = Instant::now();
    let error = conversation.ask().unwrap_err();
    let cause = error.root_cause().downcast_ref::<io::Error>();
    assert_eq!(
        cause.map(io::Error::kind),
        Some(io::ErrorKind::ConnectionReset),
        "{error:#}"
    );
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
}

/// One page by curl: the rows, and the path of the next page.
fn page(site: &Site, daemon: &Daemon<'_>, path: &str) -> (Vec<Value>, Option<String>) {
    let mut curl = site.network.director.command("curl");
    curl.args([
        "--disable",
        "--silent",
        "--fail",
        "--include",
        "--unix-socket",
    ]);
    curl.arg(daemon.socket()).arg(format!("http://lbd{path}"));
    let answer = process::output(&mut curl).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let link = head.lines().find_map(|line| line.strip_prefix("link: <"));
    let next = link.map(|link| {
        let next = link.strip_suffix(">; rel=\"next\"");
        next.unwrap_or_else(|| panic!("{link}")).to_owned()
    });
    (serde_json::from_str(body).unwrap(), next)
}

/// Five connections by two reals. Whatever a page leaves out or shows twice,
/// counts that are another connection's, a filter that lets others pass, and a
/// flush that misses one or takes one too many, show here.
fn listed_and_flushed(method: Method) {
    let Some(site) = Site::small(method) else {
        return;
    };
    let daemon = site.start("rr", &[1, 1]);
    assert_eq!(rows(&daemon, "connections list"), Vec::<Value>::new());
    let mut conversations = converse(&site, 5);

    let all = rows(&daemon, "connections list");
    assert_eq!(all.len(), 5, "{all:?}");
    for row in &all {
        assert_eq!(row["protocol"], "tcp");
        assert_eq!(row["virtual"], "192.0.2.10:80");
        assert_eq!(row["forward"], method.name());
        assert_eq!(row["state"], "ESTABLISHED");
        let client = row["client"].as_str().unwrap();
        assert!(client.starts_with("10.0.1.11:"), "{client}");
        let expires = row["expires_s"].as_u64().unwrap();
        assert!((880..=900).contains(&expires), "{row}");
        assert_eq!(row["out_bytes"].is_null(), method != Method::Nat, "{row}");
    }
    let services = ask(&daemon, &["list"]);
    for (index, expected) in [(0, 3), (1, 2)] {
        let real = &services[0]["reals"][index];
        let name = real["real"].as_str().unwrap();
        let of_real = rows(&daemon, &format!("connections list web --real {name}"));
        assert_eq!(of_real.len(), expected, "{of_real:?}");
        for field in ["in_packets", "in_bytes", "out_packets", "out_bytes"] {
            let counts = of_real.iter().map(|row| row[field].as_u64().unwrap_or(0));
            assert_eq!(json!(counts.sum::<u64>()), real["stats"][field], "{field}");
        }
    }
    for (flags, expected) in [
        ("--state ESTABLISHED", 5),
        ("--state FIN_WAIT", 0),
        ("--client 10.0.1.0/24", 5),
        ("--client 10.0.1.12", 0),
        ("--limit 3", 3),
        ("tcp:192.0.2.10:80", 5),
    ] {
        let found = rows(&daemon, &format!("connections list {flags}"));
        assert_eq!(found.len(), expected, "{flags}: {found:?}");
    }

    let mut paged = Vec::new();
    let mut next = Some("/v1/connections?limit=2".to_owned());
    while let Some(path) = next {
        let (found, following) = page(&site, &daemon, &path);
        assert!(found.len() <= 2 && paged.len() <= 5, "{path}: {found:?}");
        paged.extend(found.iter().map(|row| row["client"].to_string()));
        next = following;
    }
    let mut clients: Vec<_> = all.iter().map(|row| row["client"].to_string()).collect();
    clients.sort_unstable();
    paged.sort_unstable();
    assert_eq!(paged, clients);

    let table = run(&daemon, "connections");
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("IPVS connection entries"));
    assert_eq!(
        lines.next(),
        Some("pro expire state       source             virtual            destination")
    );
    let mut expected: Vec<_> = all
        .iter()
        .map(|row| {
            let text = |field: &str| row[field].as_str().unwrap().to_owned();
            let (client, real) = (text("client"), text("real"));
            format!("  ESTABLISHED {client:<18} 192.0.2.10:80      {real}")
        })
        .collect();
    let mut found: Vec<_> = lines
        .map(|line| line.strip_prefix("TCP 1").unwrap()[4..].to_owned())
        .collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);

    // The second and the fourth are the second real's.
    assert_eq!(run(&daemon, "connections flush web 10.0.2.12"), "");
    let states = |state: &str| rows(&daemon, &format!("connections list --state {state}")).len();
    assert_eq!((states("CUT"), states("ESTABLISHED")), (2, 3));
    for index in [1, 3] {
        is_reset(&mut conversations[index]);
    }
    for index in [0, 2, 4] {
        assert_eq!(conversations[index].ask().unwrap(), "real1");
    }
    assert_eq!(run(&daemon, "connections flush"), "");
    assert_eq!((states("CUT"), states("ESTABLISHED")), (5, 0));
    for index in [0, 2, 4] {
        is_reset(&mut conversations[index]);
    }
    assert_eq!(ask(&daemon, &["list"])[0]["reals"][0]["active"], 0);
    site.expect(&[2, 2]);

    for (line, code, part) in [
        (
            "connections flush wab",
            1,
            "no service wab; did you mean web?",
        ),
        ("connections flush web 10.0.2.13", 1, "no real 10.0.2.13:80"),
        (
            "connections list --real 10.9.9.9",
            1,
            "no service has a real 10.9.9.9",
        ),
        ("connections list --state ESTABLISHDE", 2, "did you mean"),
    ] {
        let (exit, said) = refused(&daemon, &line.split(' ').collect::<Vec<_>>());
        assert!(exit == code && said.contains(part), "{line}: {exit} {said}");
    }
    let log = daemon.log();
    assert!(!log.contains("10.0.1.11"), "a client's address: {log}");
}

#[test]
fn listed_and_flushed_dr() {
    listed_and_flushed(Method::Dr);
}

#[test]
fn listed_and_flushed_nat() {
    listed_and_flushed(Method::Nat);
}

#[test]
fn listed_and_flushed_tun() {
    listed_and_flushed(Method::Tun);
}

/// A persistent client is a row of his own, and free to go elsewhere after a flush.
#[test]
fn persistent_clients() {
    let Some(site) = Site::small(Method::Dr) else {
        return;
    };
    let (vip, reals) = (site.network.vip().into(), &site.network.reals);
    let service = Service::new("web", "tcp", vip, PORT, "dr")
        .with("persistence = { timeout = \"5m\", netmask = 24 }")
        .reals(reals, Family::V4, Method::Dr);
    let daemon = site.start_services(&[service]);
    let mut conversations = converse(&site, 2);

    let templates = || rows(&daemon, "connections list --state NONE");
    let found = templates();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["client"], "10.0.1.0:0");
    assert_eq!(found[0]["virtual"], "192.0.2.10:80");
    assert_eq!(found[0]["real"], "10.0.2.11:80");
    assert!((280..=300).contains(&found[0]["expires_s"].as_u64().unwrap()));
    assert_eq!(rows(&daemon, "connections list").len(), 3);
    assert_eq!(
        rows(&daemon, "connections list --client 10.0.1.11").len(),
        3
    );
    let table = run(&daemon, "connections list web");
    assert!(
        table.contains("  NONE        10.0.1.0:0         192.0.2.10:80      10.0.2.11:80\n"),
        "{table}"
    );
    let persistent = || ask(&daemon, &["list"])[0]["reals"][0]["persistent"].clone();
    assert_eq!(persistent(), 1);

    // Another real's flush leaves it.
    run(&daemon, "connections flush web 10.0.2.12");
    assert_eq!((templates().len(), persistent()), (1, json!(1)));
    run(&daemon, "connections flush web");
    assert_eq!((templates().len(), persistent()), (0, json!(0)));
    conversations.iter_mut().for_each(is_reset);
    assert_eq!(converse(&site, 1)[0].ask().unwrap(), "real2");
}

/// What a deleted real and a deleted service have left is listed and flushed by
/// the service's name still.
#[test]
fn of_what_was_deleted() {
    let Some(site) = Site::small(Method::Nat) else {
        return;
    };
    let daemon = site.start("rr", &[1, 1]);
    let mut conversations = converse(&site, 2);
    run(&daemon, "real delete web 10.0.2.12");
    assert_eq!(rows(&daemon, "connections list web").len(), 2);
    let of_real = rows(&daemon, "connections list web --real 10.0.2.12");
    assert_eq!(of_real.len(), 1);
    run(&daemon, "connections flush web 10.0.2.12");
    is_reset(&mut conversations[1]);
    assert_eq!(conversations[0].ask().unwrap(), "real1");

    run(&daemon, "service delete web");
    assert_eq!(ask(&daemon, &["list"]), json!([]));
    assert_eq!(conversations[0].ask().unwrap(), "real1");
    run(&daemon, "connections flush tcp:192.0.2.10:80");
    is_reset(&mut conversations[0]);
}
