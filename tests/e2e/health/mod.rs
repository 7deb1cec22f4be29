//! Health checks end to end: real servers that break, and what becomes of them.

mod detection;
mod exacting;
mod floods;
mod grpc;
mod kinds;
mod lasting;
mod notices;
mod outcomes;
mod runtime;
mod servers;
mod sorry;
mod standing;
mod via;
mod weights;

use std::time::Duration;

use lb_tests::daemon::Daemon;
use lb_tests::wait;

use crate::site::json;

/// A check that finds out soon: `fall` failures, 200 ms apart, each within 300 ms.
const SOON: &str = "interval = '200ms', timeout = '300ms', rise = 2, fall = 2";
/// Interval × fall + timeout of [`SOON`], and what a busy machine takes.
const LIMIT: Duration = Duration::from_secs(5);

/// `health = { … }` with [`SOON`] and these keys.
fn check(keys: &str) -> String {
    format!("health = {{ {SOON}, {keys} }}")
}

/// Of the reals of the first service.
fn healths(daemon: &Daemon<'_>) -> Vec<String> {
    let services = json(daemon, &["service", "list"]);
    let reals = services[0]["reals"].as_array().unwrap();
    let health = reals.iter().map(|real| real["health"].as_str().unwrap());
    health.map(str::to_owned).collect()
}

/// Waits until the reals' health is as given.
#[track_caller]
fn await_healths(daemon: &Daemon<'_>, expected: &[&str]) {
    let what = format!("reals to be {expected:?}");
    wait::until(&what, LIMIT, || healths(daemon) == expected)
        .unwrap_or_else(|error| panic!("{error}: {:?}\n{}", healths(daemon), daemon.log()));
}

/// The first real of a service: its health, its weight in force, and what the last answer
/// to each of its checks was found to be.
fn first(daemon: &Daemon<'_>, service: &str) -> (String, u64, Vec<String>) {
    let shown = json(daemon, &["service", "show", service]);
    let real = &shown["reals"][0];
    let checks = json(daemon, &["health", service, "10.0.2.11"]);
    let said = checks.as_array().unwrap().iter().map(|check| {
        let reason = check["last"]["reason"].as_str();
        reason.unwrap_or("not yet asked").to_owned()
    });
    let health = real["health"].as_str().unwrap();
    let weight = real["effective_weight"].as_u64().unwrap();
    (health.to_owned(), weight, said.collect())
}

/// Waits until a service's first real, which weighs 1, is up or down and its checks say
/// this.
#[track_caller]
fn await_first(daemon: &Daemon<'_>, service: &str, health: &str, said: &[&str]) {
    let said: Vec<_> = said.iter().map(|&said| said.to_owned()).collect();
    let expected = (health.to_owned(), u64::from(health == "up"), said);
    let what = format!("{service}'s first real to be {expected:?}");
    wait::until(&what, LIMIT, || first(daemon, service) == expected).unwrap_or_else(|error| {
        panic!("{error}: {:?}\n{}", first(daemon, service), daemon.log());
    });
}
