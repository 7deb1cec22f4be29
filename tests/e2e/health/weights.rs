//! Checks that set weights: by a program's exit code, an agent's words, a file.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use lb_tests::daemon::Daemon;
use lb_tests::rogue::Rogue;
use lb_tests::service::Service;
use lb_tests::topology::{Method, PORT};
use lb_tests::wait;
use serde_json::json;

use super::{LIMIT, SOON};
use crate::site::{Site, json, real};

/// What the first real is said to be, the weight that it has then in the place of its
/// own, 4, and the reason why it is down.
type Row = (&'static str, u32, Option<&'static str>);

/// The first real is watched by a check of these keys, and weighs 4; the second by none.
fn start<'site>(site: &'site Site, keys: &str) -> Daemon<'site> {
    let reals = &site.network.reals;
    let health = format!("weight = 4\nhealth = {{ {SOON}, {keys} }}");
    let web = Service::new("web", "tcp", site.network.vip().into(), PORT, "nat")
        .scheduled("wrr")
        .real(reals[0].address().into(), &health)
        .real(reals[1].address().into(), "weight = 2");
    site.start_services(&[web])
}

#[track_caller]
fn follow(site: &Site, daemon: &Daemon<'_>, rows: &[Row], say: impl Fn(&str)) {
    for (word, weight, reason) in rows {
        say(word);
        let health = if reason.is_some() { "down" } else { "up" };
        wait::until(&format!("{word:?} to be followed"), LIMIT, || {
            let shown = real(daemon, 1);
            (&shown["effective_weight"], &shown["health"]) == (&json!(weight), &json!(health))
        })
        .unwrap_or_else(|error| panic!("{error}: {}\n{}", real(daemon, 1), daemon.log()));
        assert_eq!(real(daemon, 1)["weight"], 4);
        if let Some(reason) = reason {
            let checks = json(daemon, &["health"]);
            assert_eq!(checks[0]["last"]["reason"], *reason, "{word:?}");
        }
        // All that wrr gives out in a round, and again.
        let (first, second) = (*weight as usize, 2);
        site.expect(&[first * 2, second * 2]);
    }
}

#[test]
fn programs() {
    let Some(site) = Site::small(Method::Nat) else {
        return;
    };
    let directory = site.network.directory();
    let (program, code) = (directory.join("weigh"), directory.join("code"));
    fs::write(&program, "#!/bin/sh\nexit $(cat \"$1\")\n").unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let say = |word: &str| {
        // As a whole: the program may be reading.
        let new = code.with_extension("new");
        fs::write(&new, word).unwrap();
        fs::rename(&new, &code).unwrap();
    };
    say("0");
    let daemon = start(
        &site,
        &format!(
            "type = 'exec', command = ['{}', '{}'], dynamic = true",
            program.display(),
            code.display()
        ),
    );
    let rows = [
        ("0", 4, None),
        ("3", 1, None),
        ("8", 6, None),
        ("2", 0, None),
        ("1", 0, Some("exit code 1")),
        ("4", 2, None),
    ];
    follow(&site, &daemon, &rows, say);
}

#[test]
fn agents() {
    const AGENT: u16 = 7777;
    let Some(site) = Site::small(Method::Nat) else {
        return;
    };
    let agent = Rogue::saying(&site.network.reals[0], AGENT, "100%").unwrap();
    let daemon = start(&site, &format!("type = 'agent', port = {AGENT}"));
    let rows = [
        ("100%", 4, None),
        ("50%", 2, None),
        ("drain", 0, None),
        ("ready", 4, None),
        (
            "down # disk full",
            0,
            Some("the agent says down: disk full"),
        ),
        ("up 25%", 1, None),
    ];
    follow(&site, &daemon, &rows, |word| agent.say(word));
}

#[test]
fn files() {
    let Some(site) = Site::small(Method::Nat) else {
        return;
    };
    let file = site.network.directory().join("weight");
    let say = |word: &str| {
        let new = file.with_extension("new");
        fs::write(&new, word).unwrap();
        fs::rename(&new, &file).unwrap();
    };
    say("3");
    let daemon = start(
        &site,
        &format!("type = 'file', path = '{}'", file.display()),
    );
    let rows = [
        ("3\n", 3, None),
        ("75%", 3, None),
        ("1", 1, None),
        ("drain", 0, None),
        ("ready", 4, None),
        ("down", 0, Some("the file says down")),
        ("5", 5, None),
    ];
    follow(&site, &daemon, &rows, say);
}
