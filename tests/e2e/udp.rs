//! UDP: DNS through the director, with real name servers.

use lb_tests::daemon::{self, Binaries, Daemon};
use lb_tests::dns::{self, NameServer};
use lb_tests::privilege;
use lb_tests::topology::{Method, Spec, Topology};

use crate::site::json;

/// A wrong UDP checksum or a reply from the real's own address shows as a
/// question without an answer, a missing entry as questions that go elsewhere.
fn spread(method: Method, native: bool) {
    if !privilege::network() {
        return;
    }
    let binaries = Binaries::locate().unwrap();
    let mut network = Topology::create(&Spec {
        method,
        native,
        ..Spec::default()
    })
    .unwrap();
    network.start_decapsulators(&binaries).unwrap();
    let servers: Vec<_> = network
        .reals
        .iter()
        .map(|real| NameServer::start(real, real.name(), network.directory()).unwrap())
        .collect();
    let service = daemon::service_at(&network, "dns", "udp", dns::PORT, "rr", &[1, 1, 1]);
    let config = daemon::configuration(&network, &service).unwrap();
    let daemon = Daemon::start(&network, &binaries, &config).unwrap();

    let tally = dns::ask_many(&network.clients[0], network.vip().into(), 60).unwrap();
    assert_eq!(tally.by_real(3), [20, 20, 20], "{tally}");
    for real in json(&daemon, &["list"])[0]["reals"].as_array().unwrap() {
        assert_eq!(real["stats"]["connections"], 20, "{real}");
        assert_eq!(real["stats"]["in_packets"], 20, "{real}");
        let answers = if method == Method::Nat { 20 } else { 0 };
        assert_eq!(real["stats"]["out_packets"], answers, "{real}");
        // UDP has no established state: all are inactive, as in IPVS.
        assert_eq!(
            (&real["active"], &real["inactive"]),
            (&0.into(), &20.into())
        );
    }
    assert_eq!(servers.len(), 3);
}

#[test]
fn dr_native() {
    spread(Method::Dr, true);
}

#[test]
fn nat_native() {
    spread(Method::Nat, true);
}

#[test]
fn nat_generic() {
    spread(Method::Nat, false);
}

#[test]
fn tun_native() {
    spread(Method::Tun, true);
}
