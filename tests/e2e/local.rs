//! The director as one of its own reals: its packets go up to its own stack.

use lb_tests::conversation::Conversation;
use lb_tests::service::Service;
use lb_tests::topology::{Family, Method, PORT, Spec};
use lb_tests::webserver::WebServer;

use crate::site::{Site, json};

/// A connection of the director's own that is scheduled anew, or another's that the
/// director's stack gets, shows as an answer from the wrong one or as none.
fn beside_another(method: Method) {
    let Some(site) = Site::create(&Spec {
        method,
        native: true,
        reals: 1,
        ..Spec::default()
    }) else {
        return;
    };
    let network = &site.network;
    let director = &network.director;
    let _server = WebServer::start(director, "director", PORT, network.directory()).unwrap();
    let services = Family::BOTH.map(|family| {
        site.web(family)
            .real(director.address_in(family), "forward = \"local\"")
    });
    let mut daemon = site.start_services(&services);
    for (number, family) in Family::BOTH.into_iter().enumerate() {
        let tally = site.ask_in(family, 20);
        assert_eq!(
            (tally.of("real1"), tally.of("director")),
            (10, 10),
            "{tally}"
        );
        let reals = json(&daemon, &["list"])[number]["reals"].clone();
        assert_eq!(reals[1]["forward"], "local");
        for real in reals.as_array().unwrap() {
            assert_eq!(real["stats"]["connections"], 10, "{real}");
            assert!(
                real["stats"]["in_packets"].as_u64().unwrap() >= 40,
                "{real}"
            );
        }
    }

    // Both kinds of connection live through a restart.
    let vip = network.vip();
    let mut held = [(); 2].map(|()| Conversation::open(&network.clients[0], vip, PORT).unwrap());
    let names = held.each_mut().map(|one| one.ask().unwrap());
    assert!(names.contains(&"director".to_owned()) && names.contains(&"real1".to_owned()));
    daemon.kill();
    assert_eq!(held.each_mut().map(|one| one.ask().unwrap()), names);
    daemon.restart().unwrap();
    assert_eq!(held.each_mut().map(|one| one.ask().unwrap()), names);
}

#[test]
fn beside_dr() {
    beside_another(Method::Dr);
}

#[test]
fn beside_nat() {
    beside_another(Method::Nat);
}

/// As the service's own method, alone: the load balancer is then only a counter.
#[test]
fn alone() {
    let Some(site) = Site::small(Method::Dr) else {
        return;
    };
    let network = &site.network;
    let director = &network.director;
    let _server = WebServer::start(director, "director", PORT, network.directory()).unwrap();
    let service = Service::new("web", "tcp", network.vip().into(), PORT, "local")
        .real(director.address().into(), "");
    let daemon = site.start_services(&[service]);
    let tally = site.ask(10);
    assert_eq!(tally.of("director"), 10, "{tally}");
    assert_eq!(json(&daemon, &["list"])[0]["stats"]["connections"], 10);
}
