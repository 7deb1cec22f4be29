//! A web server that is killed, hangs or answers wrongly is taken out, gets no request
//! from then on, and comes back.

use lb_tests::topology::{Family, Method};
use lb_tests::wait;
use nix::sys::signal::Signal;

use super::{LIMIT, await_healths, check, healths};
use crate::site::{Site, json, run};

fn web_servers(method: Method) {
    let Some(mut site) = Site::small(method) else {
        return;
    };
    let config = {
        let web = site.web(Family::V4).scheduled("rr");
        site.configuration(&[web.set(&check("type = 'http'"))])
    };
    let mut first = site.servers.remove(0);
    let daemon = site.start_with(&config);
    await_healths(&daemon, &["up", "up"]);
    site.expect(&[2, 2]);

    // It hangs: connections come about, and nothing else.
    first.process().signal(Signal::SIGSTOP).unwrap();
    await_healths(&daemon, &["down", "up"]);
    site.expect(&[0, 6]);
    let listed = run(&daemon, "list -n");
    assert!(!listed.contains("10.0.2.11"), "{listed}");
    let checks = json(&daemon, &["health"]);
    assert_eq!(checks[0]["last"]["reason"], "timed out", "{checks}");
    first.process().signal(Signal::SIGCONT).unwrap();
    await_healths(&daemon, &["up", "up"]);
    site.expect(&[2, 2]);

    // It is gone: nobody listens.
    drop(first);
    await_healths(&daemon, &["down", "up"]);
    site.expect(&[0, 6]);
    let history = json(&daemon, &["health", "--history", "web", "10.0.2.11"]);
    let history = history.as_array().unwrap();
    let turns: Vec<_> = history.iter().map(|turn| turn["health"].as_str()).collect();
    assert_eq!(
        turns,
        [Some("down"), Some("up"), Some("down")],
        "{history:?}"
    );
}

#[test]
fn web_servers_dr() {
    web_servers(Method::Dr);
}

#[test]
fn web_servers_nat() {
    web_servers(Method::Nat);
}

#[test]
fn web_servers_tun() {
    web_servers(Method::Tun);
}

/// Whoever answers clients with RST alone is asked at once, however long the interval is.
#[test]
fn clients_without_answers() {
    let Some(mut site) = Site::small(Method::Nat) else {
        return;
    };
    let keys = "type = 'tcp', interval = '1h', timeout = '300ms', fall = 1";
    let web = site.web(Family::V4).set(&format!("health = {{ {keys} }}"));
    let config = site.configuration(&[web]);
    let first = site.servers.remove(0);
    let daemon = site.start_with(&config);
    await_healths(&daemon, &["up", "up"]);
    wait::until("the first answers", LIMIT, || {
        let checks = json(&daemon, &["health"]);
        checks
            .as_array()
            .unwrap()
            .iter()
            .all(|check| check["last"]["ok"] == true)
    })
    .unwrap();
    drop(first);
    wait::until("the real to be asked", 2 * LIMIT, || {
        let _some_fail = site.ask(4);
        healths(&daemon) == ["down", "up"]
    })
    .unwrap();
    site.expect(&[0, 4]);
}
