//! HTTP and HTTPS under one firewall mark, with persistence: a client has one real
//! for both, as long as it keeps coming back.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use lb_tests::certificate::Certificate;
use lb_tests::conversation::Conversation;
use lb_tests::daemon::Daemon;
use lb_tests::http;
use lb_tests::service::{self, Service};
use lb_tests::topology::{Family, Host, Method, PORT, Spec};
use lb_tests::wait;
use lb_tests::webserver::WebServer;

use crate::site::{Site, json, with_section};

const SECURE_PORT: u16 = 443;

/// A configuration with a service by firewall mark for each family.
fn config(site: &Site, persistence: &str) -> String {
    let network = &site.network;
    let method = network.spec().method;
    let mut tables = String::new();
    for (family, name, mark) in [(Family::V4, "web", 80), (Family::V6, "web6", 81)] {
        let ports = format!("{PORT}, {SECURE_PORT}");
        tables += &service::firewall_mark(mark, network.vip_in(family), &ports);
        tables += &Service::marked(name, mark, family, method.name())
            .with(&format!("persistence = {{ {persistence} }}"))
            .reals(&network.reals, family, method)
            .to_string();
    }
    lb_tests::daemon::configuration(network, &tables).unwrap()
}

/// The real that a client has for both.
#[track_caller]
fn real_of(site: &Site, client: &Host, family: Family, certificate: &Certificate) -> String {
    let plain = http::get(client, &site.network.url_in(family, "")).unwrap();
    let authority = SocketAddr::from((site.network.vip_in(family), SECURE_PORT));
    let url = format!("https://{authority}/");
    let secure = http::get_secure(client, &url, certificate).unwrap();
    assert_eq!(plain, secure, "{family:?} {}", client.name());
    plain
}

/// A port that has a template of its own shows as a client with two reals, a real
/// that gets all clients as a template that is not the client's.
fn both_ports(method: Method) {
    let Some(site) = Site::create(&Spec {
        method,
        native: true,
        clients: 3,
        reals: 2,
        ..Spec::default()
    }) else {
        return;
    };
    let network = &site.network;
    let vips = Family::BOTH.map(|family| network.vip_in(family));
    let certificate = Certificate::create(&vips, network.directory()).unwrap();
    let _servers: Vec<_> = network
        .reals
        .iter()
        .map(|real| {
            let (name, scratch) = (real.name(), network.directory());
            WebServer::start_secure(real, name, SECURE_PORT, &certificate, scratch).unwrap()
        })
        .collect();
    let mut daemon = site.start_with(&config(&site, "timeout = \"5m\""));
    for (number, family) in Family::BOTH.into_iter().enumerate() {
        for _ in 0..3 {
            let clients = network.clients.iter();
            let reals: Vec<_> = clients
                .map(|client| real_of(&site, client, family, &certificate))
                .collect();
            assert_eq!(reals, ["real1", "real2", "real1"], "{family:?}");
        }
        let reals = json(&daemon, &["list"])[number]["reals"].clone();
        let persistent = [0, 1].map(|real| reals[real]["persistent"].clone());
        assert_eq!(persistent, [2, 1], "{reals}");
    }

    // Neighbours are one client, and somebody from elsewhere is another.
    network.move_client(&network.clients[2], 4).unwrap();
    let together = "timeout = \"5m\", netmask = 24, netmask_v6 = 64";
    daemon.reload(&config(&site, together)).unwrap();
    for family in Family::BOTH {
        for _ in 0..2 {
            let clients = [0, 1, 2].map(|client| &network.clients[client]);
            let [one, neighbour, other] =
                clients.map(|client| real_of(&site, client, family, &certificate));
            assert_eq!(one, neighbour, "{family:?}");
            assert_ne!(one, other, "{family:?}");
        }
    }
}

#[test]
fn both_ports_dr() {
    both_ports(Method::Dr);
}

#[test]
fn both_ports_nat() {
    both_ports(Method::Nat);
}

#[test]
fn both_ports_tun() {
    both_ports(Method::Tun);
}

/// The template's timeout.
const TIMEOUT: Duration = Duration::from_secs(2);
/// A sweep comes by every 5 seconds at most.
const SWEEP: Duration = Duration::from_secs(5);

/// How many clients the reals of the service have.
#[track_caller]
fn templates(daemon: &Daemon<'_>, service: usize) -> u64 {
    let reals = json(daemon, &["list"])[service]["reals"].clone();
    let reals = reals.as_array().unwrap().iter();
    reals.map(|real| real["persistent"].as_u64().unwrap()).sum()
}

/// A template that ends while a connection is under it shows as a client that goes
/// elsewhere early, one that never ends as a count that stays.
#[test]
fn renewed_while_it_is_used() {
    let Some(site) = Site::small(Method::Dr) else {
        return;
    };
    let network = &site.network;
    let client = &network.clients[0];
    let config = with_section(
        &config(&site, "timeout = \"2s\""),
        "[timeouts]\ntcp_fin_wait = \"1s\"\ntcp_time_wait = \"1s\"\ntcp_close = \"1s\"",
    );
    let daemon = site.start_with(&config);
    let mut held = Family::BOTH
        .map(|family| Conversation::open(client, network.vip_in(family), PORT).unwrap());
    let begin = Instant::now();
    while begin.elapsed() < TIMEOUT + SWEEP + TIMEOUT {
        for conversation in &mut held {
            assert_eq!(conversation.ask().unwrap(), "real1");
        }
        thread::sleep(TIMEOUT / 4);
    }
    for (number, family) in Family::BOTH.into_iter().enumerate() {
        assert_eq!(templates(&daemon, number), 1);
        let page = http::get(client, &network.url_in(family, "")).unwrap();
        assert_eq!(page, "real1", "{family:?}");
    }
    drop(held);
    wait::until("the templates to end", TIMEOUT + 3 * SWEEP, || {
        (0..2).all(|service| templates(&daemon, service) == 0)
    })
    .unwrap();
    for family in Family::BOTH {
        let page = http::get(client, &network.url_in(family, "")).unwrap();
        assert_eq!(page, "real2", "{family:?}");
    }
}
