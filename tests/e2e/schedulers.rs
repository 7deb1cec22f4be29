//! The schedulers on real connections that stay: where each new one goes shows in
//! the reals' active connections, and they outlive every change of scheduler.

use std::time::Duration;

use lb_tests::conversation::Conversation;
use lb_tests::daemon::Daemon;
use lb_tests::http;
use lb_tests::service::Service;
use lb_tests::topology::{Family, Method, PORT, Spec};
use lb_tests::wait;

use crate::site::{Site, json, real, run};

fn site(method: Method) -> Option<Site> {
    Site::create(&Spec {
        method,
        native: true,
        clients: 4,
        reals: 3,
        ..Spec::default()
    })
}

/// Active connections of the three reals.
#[track_caller]
fn active(daemon: &Daemon<'_>) -> Vec<u64> {
    let count = |number| real(daemon, number)["active"].as_u64().unwrap();
    (1..=3).map(count).collect()
}

/// Connections are opened one after the other and kept; the scheduler changes on
/// the way. A connection that is lost shows as a number that falls, a pick by the
/// old plan as a wrong one.
fn one_after_the_other(method: Method) {
    let Some(site) = site(method) else { return };
    let network = &site.network;
    let mut daemon = site.start("lc", &[1, 2, 3]);
    let mut kept = Vec::new();
    for (scheduler, weights, more, expected) in [
        ("lc", [1, 2, 3], 6, [2, 2, 2]),
        ("wlc", [1, 2, 3], 12, [3, 6, 9]),
        // (A+1)/w: the heaviest is as good with one more than it has.
        ("sed", [1, 2, 3], 6, [4, 8, 12]),
        ("fo", [1, 2, 3], 3, [4, 8, 15]),
        // Who has more than its weight is passed over.
        ("ovf", [30, 20, 10], 2, [6, 8, 15]),
        ("nq", [1, 2, 3], 1, [6, 9, 15]),
        ("rr", [1, 1, 1], 3, [7, 10, 16]),
        ("wrr", [4, 1, 1], 6, [11, 11, 17]),
        // All want the same address, and its real has less than its weight.
        ("lblc", [60, 1, 1], 4, [15, 11, 17]),
        ("lblcr", [60, 1, 1], 4, [19, 11, 17]),
        ("wlc", [0, 0, 1], 2, [19, 11, 19]),
    ] {
        daemon.reload(&site.config(scheduler, &weights)).unwrap();
        for _ in 0..more {
            let client = &network.clients[0];
            let opened = Conversation::open(client, network.vip_in(Family::V4), PORT);
            kept.push(opened.unwrap());
        }
        wait::until("the connections to count", wait::START_LIMIT, || {
            active(&daemon) == expected
        })
        .unwrap_or_else(|_| panic!("{scheduler}: {:?}, not {expected:?}", active(&daemon)));
    }
    for mut conversation in kept {
        conversation.ask().unwrap();
    }
}

#[test]
fn one_after_the_other_dr() {
    one_after_the_other(Method::Dr);
}

#[test]
fn one_after_the_other_nat() {
    one_after_the_other(Method::Nat);
}

#[test]
fn one_after_the_other_tun() {
    one_after_the_other(Method::Tun);
}

/// Each client comes back to his real, and dh's are all led to one.
#[test]
fn by_hash() {
    let Some(site) = site(Method::Dr) else { return };
    let network = &site.network;
    let mut daemon = site.start("sh", &[1, 1, 1]);
    for (scheduler, is_one) in [("sh", false), ("mh", false), ("dh", true), ("twos", false)] {
        daemon.reload(&site.config(scheduler, &[1, 1, 1])).unwrap();
        let url = network.url("");
        let mut met = Vec::new();
        for client in &network.clients {
            let tally = http::get_many(client, &url, 10).unwrap().by_real(3);
            assert_eq!(tally.iter().sum::<usize>(), 10, "{scheduler}: {tally:?}");
            if scheduler != "twos" {
                assert!(tally.contains(&10), "{scheduler}: {tally:?}");
            }
            met.push(tally);
        }
        assert!(
            !is_one || met.iter().all(|tally| *tally == met[0]),
            "{met:?}"
        );
    }
}

/// A real that comes beside others has a small share at first, also when the daemon
/// comes back, and its whole one in the end.
#[test]
fn slow_start() {
    let Some(site) = site(Method::Dr) else { return };
    let network = &site.network;
    let config = |slow_start: &str| {
        let vip = network.vip_in(Family::V4);
        let service = Service::new("web", "tcp", vip, PORT, "dr")
            .with(&format!("slow_start = \"{slow_start}\""))
            .reals(&network.reals[..2], Family::V4, Method::Dr);
        site.configuration(&[service])
    };
    let mut daemon = site.start_with(&config("1h"));
    site.expect(&[5, 5]);
    let third = network.reals[2].address();
    run(&daemon, &format!("real add web {third} -w 16"));
    let weight = |daemon: &Daemon<'_>| real(daemon, 3)["effective_weight"].clone();
    assert_eq!(weight(&daemon), 1);
    // rr in sixteen rounds, of which the third takes part in the first.
    assert_eq!(site.ask(33).by_real(3), [16, 16, 1]);
    daemon.restart().unwrap();
    assert_eq!(weight(&daemon), 1);
    assert_eq!(site.ask(33).by_real(3), [16, 16, 1]);
    // A shorter one holds for who is in it.
    daemon.reload(&config("2s")).unwrap();
    wait::until("the whole share", Duration::from_secs(20), || {
        weight(&daemon) == 16
    })
    .unwrap();
    site.expect(&[5, 5, 5]);
    assert_eq!(
        json(&daemon, &["service", "show", "web"])["slow_start_s"],
        2
    );
}
