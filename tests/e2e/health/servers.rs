//! Servers of every kind that break in every way: they are taken out within the time
//! that their check has, nobody's request fails from then on, and they come back.

use std::time::{Duration, Instant};

use lb_tests::daemon::Daemon;
use lb_tests::topology::{Family, Method};
use nix::sys::signal::Signal;

use super::kinds::{Ftp, Kind, Mail, MySql, Names, Redis, SecureWeb, Web};
use super::{await_healths, check};
use crate::site::{Site, json};

/// Asked while a server is out.
const REQUESTS: usize = 6;

/// Each request is answered, as often by each real as given.
#[track_caller]
fn expect<K: Kind>(site: &Site, spread: [usize; 2]) {
    let network = &site.network;
    let mut came = [0; 2];
    for _ in 0..spread.iter().sum() {
        let name = K::ask(network, &network.clients[0], network.vip().into()).unwrap();
        let number = network.reals.iter().position(|real| real.name() == name);
        came[number.unwrap_or_else(|| panic!("{name:?} answers"))] += 1;
    }
    assert_eq!(came, spread);
}

/// The first real is found to be down, for one of these reasons, and nobody misses it.
#[track_caller]
fn expect_down<K: Kind>(site: &Site, daemon: &Daemon<'_>, reasons: &[&str]) {
    await_healths(daemon, &["down", "up"]);
    expect::<K>(site, [0, REQUESTS]);
    let checks = json(daemon, &["health"]);
    let reason = checks[0]["last"]["reason"].as_str().unwrap_or_default();
    assert!(reasons.contains(&reason), "{checks}");
}

#[track_caller]
fn expect_up<K: Kind>(site: &Site, daemon: &Daemon<'_>) {
    await_healths(daemon, &["up", "up"]);
    expect::<K>(site, [2, 2]);
}

fn breaks_and_comes_back<K: Kind>(method: Method) {
    let Some(site) = Site::small_bare(method) else {
        return;
    };
    let network = &site.network;
    let [real, other] = &network.reals[..] else {
        panic!("two reals");
    };
    let mut server = K::start(network, real);
    let _other = K::start(network, other);
    let service = site.service("checked", K::PROTOCOL, Family::V4, K::PORT);
    let daemon = site.start_services(&[service.set(&check(K::CHECK))]);
    expect_up::<K>(&site, &daemon);

    // It hangs.
    server.process().signal_all(Signal::SIGSTOP).unwrap();
    expect_down::<K>(&site, &daemon, &["timed out"]);
    server.process().signal_all(Signal::SIGCONT).unwrap();
    expect_up::<K>(&site, &daemon);

    // It answers, but wrongly.
    server = server.spoil(network, real);
    expect_down::<K>(&site, &daemon, &[K::WRONG]);
    server = server.mend(network, real);
    expect_up::<K>(&site, &daemon);

    // It is killed: nobody listens.
    drop(server);
    expect_down::<K>(&site, &daemon, &["connection refused"]);
    let _server = K::start(network, real);
    expect_up::<K>(&site, &daemon);

    // Its cable is pulled.
    let cable = |state| {
        network
            .switch
            .ip(&format!("link set {} {state}\n", real.name()))
    };
    cable("down").unwrap();
    expect_down::<K>(&site, &daemon, &["timed out", "no route to host"]);
    cable("up").unwrap();
    expect_up::<K>(&site, &daemon);
}

#[test]
fn web_dr() {
    breaks_and_comes_back::<Web>(Method::Dr);
}

#[test]
fn web_nat() {
    breaks_and_comes_back::<Web>(Method::Nat);
}

#[test]
fn secure_web() {
    breaks_and_comes_back::<SecureWeb>(Method::Nat);
}

#[test]
fn names_dr() {
    breaks_and_comes_back::<Names>(Method::Dr);
}

#[test]
fn names_nat() {
    breaks_and_comes_back::<Names>(Method::Nat);
}

#[test]
fn mail() {
    breaks_and_comes_back::<Mail>(Method::Nat);
}

#[test]
fn redis() {
    breaks_and_comes_back::<Redis>(Method::Nat);
}

#[test]
fn mysql() {
    breaks_and_comes_back::<MySql>(Method::Nat);
}

#[test]
fn ftp() {
    breaks_and_comes_back::<Ftp>(Method::Nat);
}

/// A failure is found within interval × fall + timeout, also where each answer takes its
/// whole time: as it would not be if an interval began with the answer to the last one.
#[test]
fn in_time() {
    const MARGIN: Duration = Duration::from_millis(1500);
    let Some(mut site) = Site::small(Method::Nat) else {
        return;
    };
    let timing = "health = { type = 'http', interval = '800ms', timeout = '800ms', fall = 4 }";
    let mut first = site.servers.remove(0);
    let daemon = site.start_services(&[site.web(Family::V4).set(timing)]);
    await_healths(&daemon, &["up", "up"]);
    let stopped = Instant::now();
    first.process().signal(Signal::SIGSTOP).unwrap();
    await_healths(&daemon, &["down", "up"]);
    let took = stopped.elapsed();
    let promised = Duration::from_millis(800 * 4 + 800);
    assert!(took < promised + MARGIN, "{took:?}");
    // Not at once either.
    assert!(took > Duration::from_millis(800 * 3), "{took:?}");
    site.expect(&[0, REQUESTS]);
}
