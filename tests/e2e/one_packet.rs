//! One-packet scheduling: DNS questions from one and the same port, each to the
//! scheduler's next real.

use std::time::Duration;

use lb_tests::daemon::Daemon;
use lb_tests::dns::{self, NameServer};
use lb_tests::service::Service;
use lb_tests::topology::{Family, Method};
use lb_tests::wait;

use crate::site::{Site, await_reals, json};

/// A sweep comes by every 5 seconds at most.
const SWEEP: Duration = Duration::from_secs(5 + 2);

/// Asks so often from one port: who answered.
#[track_caller]
fn ask_from_one_port(site: &Site, family: Family, times: usize) -> Vec<String> {
    let (client, vip) = (&site.network.clients[0], site.network.vip_in(family));
    let port = dns::next_port();
    let ask = |_| dns::ask(client, vip, port).unwrap();
    let answers: Option<Vec<_>> = (0..times).map(ask).collect();
    answers.unwrap_or_else(|| panic!("no answer from the {family:?} VIP"))
}

/// Connections in the tables of both families.
#[track_caller]
fn entries(daemon: &Daemon<'_>) -> u64 {
    let tables = json(daemon, &["status"])["tables"].clone();
    let tables = tables.as_array().unwrap().iter();
    tables
        .filter(|table| table["name"].as_str().unwrap().starts_with("connections_"))
        .map(|table| table["entries"].as_u64().unwrap())
        .sum()
}

/// An entry that a datagram leaves shows as two answers in a row from one real, and
/// in the tables; a reply by nat that keeps the real's address as no answer: dig
/// takes none but the VIP's.
fn each_datagram(method: Method) {
    let Some(site) = Site::small(method) else {
        return;
    };
    let network = &site.network;
    let _servers: Vec<_> = network
        .reals
        .iter()
        .map(|real| NameServer::start(real, real.name(), network.directory()).unwrap())
        .collect();
    let config = |one_packet: bool| {
        let services = [("dns", Family::V4), ("dns6", Family::V6)].map(|(name, family)| {
            Service::new(
                name,
                "udp",
                network.vip_in(family),
                dns::PORT,
                method.name(),
            )
            .with(&format!("one_packet = {one_packet}"))
            .reals(&network.reals, family, method)
        });
        site.configuration(&services)
    };

    let mut daemon = site.start_with(&config(true));
    await_reals(&daemon);
    for (number, family) in Family::BOTH.into_iter().enumerate() {
        let answers = ask_from_one_port(&site, family, 6);
        let turns = ["real1", "real2"].repeat(3);
        assert_eq!(answers, turns, "{family:?}");
        let reals = json(&daemon, &["list"])[number]["reals"].clone();
        for real in reals.as_array().unwrap() {
            assert_eq!((&real["active"], &real["inactive"]), (&0.into(), &0.into()));
            assert_eq!(real["stats"]["connections"], 3, "{real}");
            assert_eq!(real["stats"]["in_packets"], 3, "{real}");
        }
    }

    daemon.reload(&config(false)).unwrap();
    for family in Family::BOTH {
        let first = ask_from_one_port(&site, family, 3);
        let second = ask_from_one_port(&site, family, 3);
        assert_eq!(first, vec![first[0].clone(); 3], "{family:?}");
        assert_eq!(second, vec![second[0].clone(); 3], "{family:?}");
        assert_ne!(first[0], second[0], "{family:?}");
    }
    // The datagrams before have left none. `lbctl status` knows of the last walk.
    let expected = if method == Method::Nat { 8 } else { 4 };
    wait::until("the table to be walked", SWEEP, || {
        entries(&daemon) == expected
    })
    .unwrap();
}

#[test]
fn dr() {
    each_datagram(Method::Dr);
}

#[test]
fn nat() {
    each_datagram(Method::Nat);
}

#[test]
fn tun() {
    each_datagram(Method::Tun);
}
