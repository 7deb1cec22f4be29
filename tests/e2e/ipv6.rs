//! IPv6: what the tests of IPv4 ask, asked of the other family, beside it.

use lb_tests::capture::Capture;
use lb_tests::dns::{self, NameServer};
use lb_tests::topology::{Family, Method, Spec, Wiring};

use crate::site::{Site, json};

/// A packet that takes a wrong way shows as a failed request, a wrong schedule as
/// an uneven spread, one family's connection that is taken for the other's as
/// either.
fn spread(method: Method, wiring: Wiring, native: bool) {
    let Some(site) = Site::create(&Spec {
        method,
        wiring,
        native,
        ..Spec::default()
    }) else {
        return;
    };
    let daemon = site.start_services(&Family::BOTH.map(|family| site.web(family)));
    site.expect_in(Family::V6, &[10, 10, 10]);
    site.expect_in(Family::V4, &[5, 5, 5]);
    site.expect_in(Family::V6, &[10, 10, 10]);
    let services = json(&daemon, &["list"]);
    for (service, connections) in [(0, 5), (1, 20)] {
        for real in services[service]["reals"].as_array().unwrap() {
            assert_eq!(real["stats"]["connections"], connections, "{services}");
        }
    }

    let third = site.network.reals[2].address_in(Family::V6).to_string();
    let run = |words: &[&str]| daemon.lbctl(words).unwrap();
    run(&["service", "edit", "web6", "-s", "wrr"]);
    run(&["real", "edit", "web6", &format!("[{third}]:80"), "-w", "3"]);
    site.expect_in(Family::V6, &[4, 4, 12]);
    run(&["real", "edit", "web6", &third, "-w", "0"]);
    site.expect_in(Family::V6, &[5, 5, 0]);
}

#[test]
fn spread_dr() {
    spread(Method::Dr, Wiring::TwoArmed, true);
}

#[test]
fn spread_dr_one_armed() {
    spread(Method::Dr, Wiring::OneArmed, false);
}

#[test]
fn spread_nat() {
    spread(Method::Nat, Wiring::TwoArmed, true);
}

#[test]
fn spread_nat_generic() {
    spread(Method::Nat, Wiring::TwoArmed, false);
}

#[test]
fn spread_tun() {
    spread(Method::Tun, Wiring::TwoArmed, true);
}

/// 8 MB up and down arrive intact, and tshark finds no checksum wrong, neither at
/// the client nor at the real. IPv6 has no header checksum that would cover an
/// address which the transport checksum misses.
fn transfers(method: Method, native: bool) {
    let Some(site) = Site::create(&Spec {
        method,
        native,
        reals: 1,
        ..Spec::default()
    }) else {
        return;
    };
    let _daemon = site.start_services(&[site.web(Family::V6)]);
    let file = site.payload(8 << 20);
    let network = &site.network;
    let mut captures = ["client1", "real1"]
        .map(|port| Capture::start(&network.switch, port, "ip6", network.directory()).unwrap());
    site.transfer(Family::V6, &file);
    for capture in &mut captures {
        capture.stop().unwrap();
        let good = capture.packets("tcp.checksum.status == 1").unwrap();
        assert!(good.len() >= 5_000, "{} packets", good.len());
        let wrong = capture.wrong().unwrap();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
    // 1500 less the outer header, by tun only.
    let too_big = captures[0].field("icmpv6.mtu", "icmpv6.type == 2").unwrap();
    assert_eq!(too_big.is_empty(), method != Method::Tun, "{too_big:?}");
    assert!(too_big.iter().all(|mtu| mtu == "1460"), "{too_big:?}");
}

#[test]
fn transfers_dr() {
    transfers(Method::Dr, false);
}

#[test]
fn transfers_nat() {
    transfers(Method::Nat, true);
}

#[test]
fn transfers_tun() {
    transfers(Method::Tun, true);
}

/// UDP: DNS, with real name servers.
fn datagrams(method: Method) {
    let Some(site) = Site::create(&Spec {
        method,
        native: true,
        ..Spec::default()
    }) else {
        return;
    };
    let network = &site.network;
    let servers: Vec<_> = network
        .reals
        .iter()
        .map(|real| NameServer::start(real, real.name(), network.directory()).unwrap())
        .collect();
    let daemon = site.start_services(&[site.service("dns", "udp", Family::V6, dns::PORT)]);
    let vip = network.vip_in(Family::V6);
    let tally = dns::ask_many(&network.clients[0], vip, 30).unwrap();
    assert_eq!(tally.by_real(3), [10, 10, 10], "{tally}");
    for real in json(&daemon, &["list"])[0]["reals"].as_array().unwrap() {
        assert_eq!(real["stats"]["in_packets"], 10, "{real}");
        let answers = if method == Method::Nat { 10 } else { 0 };
        assert_eq!(real["stats"]["out_packets"], answers, "{real}");
    }
    assert_eq!(servers.len(), 3);
}

#[test]
fn datagrams_dr() {
    datagrams(Method::Dr);
}

#[test]
fn datagrams_nat() {
    datagrams(Method::Nat);
}

#[test]
fn datagrams_tun() {
    datagrams(Method::Tun);
}
