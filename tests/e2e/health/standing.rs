//! Reals that are in maintenance, new, or slow to begin.

use std::time::{Duration, Instant};

use lb_tests::topology::{Family, Method};
use lb_tests::wait;

use super::{LIMIT, await_healths, check, healths};
use crate::site::{Site, json, run};

#[test]
fn in_maintenance_nobody_is_asked() {
    let Some(site) = Site::small(Method::Nat) else {
        return;
    };
    let daemon = site.start_services(&[site.web(Family::V4).set(&check("type = 'http'"))]);
    await_healths(&daemon, &["up", "up"]);
    let asked = |number: usize| site.servers[number - 1].requests().len();
    // Two intervals and more.
    let some_time = || {
        let before = asked(2);
        wait::until("checks of the second real", LIMIT, || asked(2) > before + 2).unwrap();
    };
    run(&daemon, "real state web 10.0.2.11 maint");
    some_time();
    let before = asked(1);
    some_time();
    some_time();
    assert_eq!(asked(1), before);
    let checks = json(&daemon, &["health"]);
    assert_eq!(checks.as_array().unwrap().len(), 1, "{checks}");
    site.expect(&[0, 4]);
    let before = asked(1);
    run(&daemon, "real state web 10.0.2.11 ready");
    wait::until("checks to begin again", LIMIT, || asked(1) > before).unwrap();
    await_healths(&daemon, &["up", "up"]);
    site.expect(&[2, 2]);
}

/// A real that has died while it was in maintenance is found out when it is over, before
/// it has got more than a few requests.
#[test]
fn dead_after_maintenance() {
    let Some(mut site) = Site::small(Method::Nat) else {
        return;
    };
    let config = site.configuration(&[site.web(Family::V4).set(&check("type = 'http'"))]);
    let first = site.servers.remove(0);
    let daemon = site.start_with(&config);
    await_healths(&daemon, &["up", "up"]);
    run(&daemon, "real state web 10.0.2.11 maint");
    drop(first);
    site.expect(&[0, 4]);
    run(&daemon, "real state web 10.0.2.11 ready");
    await_healths(&daemon, &["down", "up"]);
    site.expect(&[0, 4]);
}

/// It is down until it has shown that it is up, without a word about that, and not asked
/// before its warm-up is over.
#[test]
fn down_until_proven() {
    const WARMUP: Duration = Duration::from_secs(1);
    let Some(site) = Site::small(Method::Nat) else {
        return;
    };
    let keys = "type = 'http', alpha = true, warmup = '1s'";
    let config = site.configuration(&[site.web(Family::V4).set(&check(keys))]);
    let began = Instant::now();
    let daemon = site.start_with(&config);
    if healths(&daemon) != ["down", "down"] {
        assert!(began.elapsed() > WARMUP, "{:?}", healths(&daemon));
    }
    await_healths(&daemon, &["up", "up"]);
    assert!(began.elapsed() > WARMUP);
    site.expect(&[2, 2]);
    let log = daemon.log();
    assert!(!log.contains("real server down"), "{log}");
    assert_eq!(log.matches("real server up").count(), 2, "{log}");
}
