//! 300 requests of three clients at once spread exactly as the scheduler says,
//! by each method, in each XDP mode.

use std::thread;

use lb_tests::http::{self, Tally};
use lb_tests::topology::{Method, Spec, Topology, Wiring};

use crate::site::Site;

/// A packet that takes a wrong way shows as a failed request, a wrong schedule
/// or a pick that two CPUs made at once as an uneven spread.
fn spread(method: Method, wiring: Wiring, native: bool) {
    let Some(site) = Site::create(&Spec {
        method,
        wiring,
        native,
        clients: 3,
        reals: 3,
    }) else {
        return;
    };
    let mut daemon = site.start("rr", &[1, 1, 1]);
    let tally = ask_from_all(&site.network);
    assert_eq!(tally.by_real(3), [100; 3], "{tally}\n{}", daemon.log());

    daemon.reload(&site.config("wrr", &[1, 2, 3])).unwrap();
    let tally = ask_from_all(&site.network);
    assert_eq!(tally.by_real(3), [50, 100, 150], "{tally}");
}

/// 100 requests from each client, at the same time.
fn ask_from_all(network: &Topology) -> Tally {
    let url = network.url("");
    let mut sum = Tally::default();
    thread::scope(|scope| {
        let askers: Vec<_> = network
            .clients
            .iter()
            .map(|client| scope.spawn(|| http::get_many(client, &url, 100).unwrap()))
            .collect();
        for asker in askers {
            sum.add(&asker.join().unwrap());
        }
    });
    sum
}

#[test]
fn dr_generic() {
    spread(Method::Dr, Wiring::TwoArmed, false);
}

#[test]
fn dr_native() {
    spread(Method::Dr, Wiring::TwoArmed, true);
}

#[test]
fn dr_one_armed_generic() {
    spread(Method::Dr, Wiring::OneArmed, false);
}

#[test]
fn dr_one_armed_native() {
    spread(Method::Dr, Wiring::OneArmed, true);
}

#[test]
fn nat_generic() {
    spread(Method::Nat, Wiring::TwoArmed, false);
}

#[test]
fn nat_native() {
    spread(Method::Nat, Wiring::TwoArmed, true);
}

#[test]
fn tun_generic() {
    spread(Method::Tun, Wiring::TwoArmed, false);
}

#[test]
fn tun_native() {
    spread(Method::Tun, Wiring::TwoArmed, true);
}
