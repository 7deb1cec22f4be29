//! The sorry server: it serves everybody while no real does, and nobody longer than that.

use std::time::{Duration, Instant};

use lb_tests::conversation::Conversation;
use lb_tests::daemon::Daemon;
use lb_tests::http;
use lb_tests::service::Service;
use lb_tests::topology::{Family, Method, PORT, Spec};
use lb_tests::webserver::WebServer;

use super::{await_healths, check};
use crate::site::{Site, drops, json, run};

/// The last of the reals is the sorry server.
fn create(method: Method, reals: u8) -> Option<Site> {
    Site::create(&Spec {
        method,
        native: true,
        clients: 2,
        reals: reals + 1,
        ..Spec::default()
    })
}

/// A web service on all reals but the last, which is its sorry server; `lines` are of
/// each real.
fn service(site: &Site, lines: &str) -> Service {
    let (network, method) = (&site.network, site.network.spec().method);
    let (sorry, reals) = network.reals.split_last().unwrap();
    let service = Service::new("web", "tcp", network.vip().into(), PORT, method.name());
    reals
        .iter()
        .fold(service, |service, real| {
            service.real(real.address().into(), lines)
        })
        .set(&check("type = 'http'"))
        .set(&format!(
            "sorry_server = {{ address = '{}' }}",
            sorry.address()
        ))
}

fn start_again(site: &Site, number: usize) -> WebServer {
    let real = &site.network.reals[number - 1];
    WebServer::start(real, real.name(), PORT, site.network.directory()).unwrap()
}

/// Requests are spread like this over two reals and the sorry server, which is listed if
/// it serves.
#[track_caller]
fn expect(site: &Site, daemon: &Daemon<'_>, spread: [usize; 3]) {
    site.expect(&spread);
    let serves = spread[2] > 0;
    let list = run(daemon, "list -n");
    assert_eq!(list.contains("10.0.2.13:80"), serves, "{list}");
    let shown = json(daemon, &["service", "list"]);
    assert_eq!(shown[0]["has_quorum"], !serves);
}

fn serves_while_no_real_does(method: Method) {
    let Some(mut site) = create(method, 2) else {
        return;
    };
    let config = site.configuration(&[service(&site, "")]);
    let servers: Vec<_> = site.servers.drain(..2).collect();
    let mut daemon = site.start_with(&config);
    await_healths(&daemon, &["up", "up"]);
    expect(&site, &daemon, [2, 2, 0]);

    // Nobody else is left when all are in maintenance.
    for (state, spread) in [
        ("maint", [0, 0, 4]),
        ("drain", [0, 0, 4]),
        ("ready", [2, 2, 0]),
    ] {
        for real in ["10.0.2.11", "10.0.2.12"] {
            run(&daemon, &format!("real state web {real} {state}"));
        }
        await_healths(&daemon, &["up", "up"]);
        expect(&site, &daemon, spread);
    }

    drop(servers);
    await_healths(&daemon, &["down", "down"]);
    expect(&site, &daemon, [0, 0, 6]);
    daemon.kill();
    site.expect(&[0, 0, 2]);
    daemon.restart().unwrap();
    expect(&site, &daemon, [0, 0, 2]);

    let _first = start_again(&site, 1);
    await_healths(&daemon, &["up", "down"]);
    expect(&site, &daemon, [6, 0, 0]);
}

#[test]
fn serves_while_no_real_does_dr() {
    serves_while_no_real_does(Method::Dr);
}

#[test]
fn serves_while_no_real_does_nat() {
    serves_while_no_real_does(Method::Nat);
}

/// A client who came to the sorry server and stayed there for the persistence's six
/// minutes would be without the service for so long.
#[test]
fn nobody_persists_with_it() {
    let Some(mut site) = create(Method::Nat, 2) else {
        return;
    };
    let service = service(&site, "").set("persistence = { timeout = '6m' }");
    let config = site.configuration(&[service]);
    let servers: Vec<_> = site.servers.drain(..2).collect();
    let daemon = site.start_with(&config);
    await_healths(&daemon, &["up", "up"]);
    let (vip, url) = (site.network.vip(), site.network.url(""));
    let ask = |client: usize| {
        let client = &site.network.clients[client];
        http::get_many(client, &url, 3).unwrap().by_real(3)
    };
    // One of them goes to either real.
    let mut spread = [ask(0), ask(1)];
    spread.sort_unstable();
    assert_eq!(spread, [[0, 3, 0], [3, 0, 0]]);

    drop(servers);
    await_healths(&daemon, &["down", "down"]);
    assert_eq!([ask(0), ask(1)], [[0, 0, 3], [0, 0, 3]]);
    let mut told_sorry = Conversation::open(&site.network.clients[0], vip, PORT).unwrap();
    assert_eq!(told_sorry.ask().unwrap(), "real3");

    let _second = start_again(&site, 2);
    await_healths(&daemon, &["down", "up"]);
    assert_eq!([ask(0), ask(1)], [[0, 3, 0], [0, 3, 0]]);
    // What is established goes on.
    assert_eq!(told_sorry.ask().unwrap(), "real3");
}

/// Lost below 2, regained at 4: between them it is as it was.
#[test]
fn quorum_with_hysteresis() {
    let Some(mut site) = create(Method::Nat, 4) else {
        return;
    };
    let service = service(&site, "").set("quorum = { up = 3, hysteresis = 1 }");
    let config = site.configuration(&[service]);
    let mut servers: Vec<_> = site.servers.drain(..4).map(Some).collect();
    let mut daemon = site.start_with(&config);
    await_healths(&daemon, &["up"; 4]);
    // Up to this real they are down; the spread of requests then.
    let steps = [
        (1, [0, 2, 2, 2, 0]),
        (2, [0, 0, 2, 2, 0]),
        (3, [0, 0, 0, 0, 4]),
        (2, [0, 0, 0, 0, 4]),
        (1, [0, 0, 0, 0, 4]),
        (0, [1, 1, 1, 1, 0]),
        (2, [0, 0, 2, 2, 0]),
    ];
    for (down, spread) in steps {
        for (number, server) in servers.iter_mut().enumerate() {
            if number < down {
                *server = None;
            } else {
                server.get_or_insert_with(|| start_again(&site, number + 1));
            }
        }
        let is = |number| if number < down { "down" } else { "up" };
        let healths: Vec<_> = (0..4).map(is).collect();
        await_healths(&daemon, &healths);
        site.expect(&spread);
        let has_quorum = spread[4] == 0;
        let shown = json(&daemon, &["service", "list"]);
        assert_eq!(shown[0]["has_quorum"], has_quorum, "{down} down");
        if down == 1 {
            // Nor does a restart change it.
            daemon.restart().unwrap();
            site.expect(&spread);
        }
    }
}

#[test]
fn takes_the_surplus_of_overloaded_reals() {
    let Some(site) = create(Method::Nat, 2) else {
        return;
    };
    let daemon = site.start_services(&[service(&site, "upper_threshold = 2\n")]);
    await_healths(&daemon, &["up", "up"]);
    let (client, vip) = (&site.network.clients[0], site.network.vip());
    let mut kept: Vec<_> = (0..4)
        .map(|_| Conversation::open(client, vip, PORT).unwrap())
        .collect();
    let answers: Vec<_> = kept.iter_mut().map(|kept| kept.ask().unwrap()).collect();
    let of = |name: &str| answers.iter().filter(|answer| *answer == name).count();
    assert_eq!([of("real1"), of("real2")], [2, 2]);
    site.expect(&[0, 0, 4]);
    for (kept, answer) in kept.iter_mut().zip(&answers) {
        assert_eq!(kept.ask().unwrap(), *answer);
    }
}

/// Without one, clients hear at once that nobody is there: by ICMP, as from IPVS.
#[test]
fn without_one_clients_are_refused() {
    let Some(mut site) = Site::small(Method::Nat) else {
        return;
    };
    let config = site.configuration(&[site.web(Family::V4).set(&check("type = 'tcp'"))]);
    let servers = std::mem::take(&mut site.servers);
    let daemon = site.start_with(&config);
    await_healths(&daemon, &["up", "up"]);
    site.expect(&[1, 1]);
    drop(servers);
    await_healths(&daemon, &["down", "down"]);
    let dropped = drops(&daemon, "no_real");
    let asked = Instant::now();
    let error = http::get(&site.network.clients[0], &site.network.url("")).unwrap_err();
    let error = error.to_string();
    // curl's code for a connection that does not come about.
    assert!(error.contains("exit status: 7"), "{error}");
    assert!(asked.elapsed() < Duration::from_secs(1), "{error}");
    assert!(drops(&daemon, "no_real") > dropped);
}
