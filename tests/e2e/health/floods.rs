//! Reals that answer without end or never: their checks are cut off at their limits, and
//! the others' checks keep their time.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use lb_tests::daemon::Daemon;
use lb_tests::rogue::Rogue;
use lb_tests::service::Service;
use lb_tests::topology::{Host, Method, PORT};
use lb_tests::wait;

use super::{SOON, check, healths};
use crate::site::{Site, json};

/// What goes on is watched for so long.
const WATCH: Duration = Duration::from_secs(4);

/// How many checks of [`SOON`] there are in that time, at the least: a fifth of them may
/// be late where there is much else to do.
const CHECKS: usize = 16;

/// In kilobytes (proc_pid_status(5)).
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number.unwrap().parse().unwrap()
}

#[test]
fn answers_without_end() {
    let Some(site) = Site::small(Method::Nat) else {
        return;
    };
    let [real, healthy] = &site.network.reals[..] else {
        panic!("two reals");
    };
    const OK: &str = "HTTP/1.1 200 OK\r\n\r\n";
    const HEADER: &str = "HTTP/1.1 200 OK\r\nX: ";
    type Start = fn(&Host, u16, &'static str) -> anyhow::Result<Rogue>;
    let (endless, dribbling): (Start, Start) = (
        |real, port, head| Rogue::endless(real, port, head),
        |real, port, head| Rogue::dribbling(real, port, head),
    );
    let body = "type = 'http', body_regex = 'never'";
    let expect = "type = 'send_expect', expect_regex = 'never'";
    let rows = [
        (endless, OK, body, "answer is longer than 1048576 bytes"),
        (endless, HEADER, "type = 'http'", "header is too large"),
        (dribbling, HEADER, "type = 'http'", "timed out"),
        (dribbling, OK, body, "timed out"),
        (
            endless,
            "220 ",
            "type = 'smtp'",
            "answer is longer than 4096 bytes",
        ),
        (
            endless,
            "220-a\r\n220-",
            "type = 'smtp'",
            "answer is longer than 4096 bytes",
        ),
        (endless, "220 ", expect, "answer is longer than 65536 bytes"),
        (
            endless,
            "+",
            "type = 'redis'",
            "answer is longer than 1024 bytes",
        ),
        (
            endless,
            "up ",
            "type = 'agent'",
            "answer is longer than 4096 bytes",
        ),
        (endless, "xxx", "type = 'mysql'", "answer is not mysql"),
        (
            endless,
            "",
            "type = 'https', verify = false",
            "answer is not tls",
        ),
    ];
    let mut web = Service::new("web", "tcp", site.network.vip().into(), PORT, "nat")
        .real(healthy.address().into(), &check("type = 'http'"));
    let mut rogues = Vec::new();
    for (port, (start, head, keys, _)) in (8000..).zip(&rows) {
        rogues.push(start(real, port, head).unwrap());
        let mut lines = format!("port = {port}\n");
        // The longest needs more time on a busy machine.
        let soon = SOON.replace("timeout = '300ms'", "timeout = '900ms'");
        write!(lines, "health = {{ {soon}, {keys} }}").unwrap();
        web = web.real(real.address().into(), &lines);
    }
    let mut daemon = site.start_services(&[web]);
    let reasons = |daemon: &Daemon<'_>| -> Vec<String> {
        let checks = json(daemon, &["health"]);
        let checks = checks.as_array().unwrap().iter().skip(1);
        checks
            .map(|check| {
                check["last"]["reason"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect()
    };
    let expected: Vec<_> = rows.iter().map(|(.., reason)| *reason).collect();
    wait::until("all to be down", Duration::from_secs(10), || {
        healths(&daemon)[1..].iter().all(|health| health == "down")
    })
    .unwrap_or_else(|error| panic!("{error}: {:#?}", json(&daemon, &["health"])));
    assert_eq!(reasons(&daemon), expected);

    let (pid, asked) = (daemon.process().pid(), |site: &Site| {
        site.servers[1].requests().len()
    });
    let (before, began) = (asked(&site), resident(pid));
    let came: Vec<_> = rogues.iter().map(Rogue::came).collect();
    watch(|| assert_eq!(healths(&daemon)[0], "up"));
    assert!(asked(&site) - before >= CHECKS, "{before} {}", asked(&site));
    // They are asked on and on, and nothing is left of their answers.
    let more = rogues
        .iter()
        .zip(&came)
        .all(|(rogue, came)| rogue.came() > came + 2);
    assert!(more, "{came:?}");
    let grown = resident(pid).saturating_sub(began);
    assert!(grown < 4096, "{grown} kB");
    assert_eq!(reasons(&daemon), expected);
}

/// Programs that never end, or never stop talking, are ended with their checks.
#[test]
fn programs_without_end() {
    let Some(site) = Site::small(Method::Nat) else {
        return;
    };
    let [real, healthy] = &site.network.reals[..] else {
        panic!("two reals");
    };
    let hangs = check("type = 'exec', command = ['/bin/sh', '-c', 'sleep 600 & sleep 600']");
    let floods = check("type = 'exec', command = ['/usr/bin/yes'], expect = 'no'");
    let mut web = Service::new("web", "tcp", site.network.vip().into(), PORT, "nat")
        .real(healthy.address().into(), &check("type = 'http'"));
    for (port, health) in [(8000, &hangs), (8001, &floods)] {
        web = web.real(real.address().into(), &format!("port = {port}\n{health}"));
    }
    let mut daemon = site.start_services(&[web]);
    super::await_healths(&daemon, &["up", "down", "down"]);
    let (pid, asked) = (daemon.process().pid(), || site.servers[1].requests().len());
    let (before, began) = (asked(), resident(pid));
    let most = std::cell::Cell::new(0);
    watch(|| most.set(most.get().max(daemon.descendants())));
    assert!(asked() - before >= CHECKS, "{before} {}", asked());
    // A shell and its two, and one that talks: of these checks and of those before, which
    // are being reaped.
    assert!(most.get() <= 8, "{}", most.get());
    assert!(resident(pid) < began + 4096);
    let checks = json(&daemon, &["health"]);
    assert_eq!(checks[1]["last"]["reason"], "timed out");
    assert_eq!(
        checks[2]["last"]["reason"],
        "answer is longer than 65536 bytes"
    );
}

/// Looks again and again for as long as things are watched.
fn watch(look: impl Fn()) {
    let began = Instant::now();
    wait::until("the time to be over", WATCH * 2, || {
        look();
        began.elapsed() > WATCH
    })
    .unwrap();
}

/// Fifty reals, every other of which takes connections and never answers.
#[test]
fn silent_ones_do_not_delay_others() {
    const EACH: u8 = 25;
    let Some(site) = Site::small(Method::Nat) else {
        return;
    };
    let [real, silent] = &site.network.reals[..] else {
        panic!("two reals");
    };
    const SILENT: u16 = 8000;
    let _rogue = Rogue::silent(silent, SILENT).unwrap();
    let mut web = Service::new("web", "tcp", site.network.vip().into(), PORT, "nat");
    for number in 1..=EACH {
        for (host, network, port) in [(real, 100, PORT), (silent, 150, SILENT)] {
            let address = [10, 0, 2, network + number];
            let [a, b, c, d] = address;
            host.ip(&format!("address add {a}.{b}.{c}.{d}/24 dev eth0\n"))
                .unwrap();
            web = web.real(address.into(), &format!("port = {port}"));
        }
    }
    let daemon = site.start_services(&[web.set(&check("type = 'http'"))]);
    let expected = ["up", "down"].repeat(EACH.into());
    super::await_healths(&daemon, &expected);
    let asked = || site.servers[0].requests().len();
    let before = asked();
    watch(|| assert_eq!(healths(&daemon), expected));
    let count = asked() - before;
    assert!(count >= CHECKS * usize::from(EACH), "{count}");
}
