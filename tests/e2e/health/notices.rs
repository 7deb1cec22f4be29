//! Who is told of what has turned: the operator's programs, and by mail.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use lb_tests::mailsink::MailSink;
use lb_tests::topology::{Family, Method, PORT};
use lb_tests::wait;
use lb_tests::webserver::WebServer;

use super::{LIMIT, await_healths, check};
use crate::site::{Site, json, run, with_section};

/// What lbd waits for more to say in one mail, and a busy machine.
const MAIL_LIMIT: Duration = Duration::from_secs(20);

/// A program that notes all that it is told in [`noted`].
fn notifier(site: &Site) -> PathBuf {
    let directory = site.network.directory();
    let (program, file) = (directory.join("notify"), directory.join("noted"));
    let text = format!(
        "#!/bin/sh\necho \"$* $LBD_EVENT $LBD_OBJECT $LBD_SERVICE $LBD_REAL\" >> {}\n",
        file.display()
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    program
}

fn noted(site: &Site) -> Vec<String> {
    let text = fs::read_to_string(site.network.directory().join("noted"));
    let text = text.unwrap_or_default();
    text.lines()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

#[track_caller]
fn await_noted(site: &Site, lines: &[&str]) {
    let limit = LIMIT;
    wait::until("all to be told", limit, || noted(site).len() >= lines.len()).unwrap();
    assert_eq!(noted(site), lines);
}

fn start_again(site: &Site, number: usize) -> WebServer {
    let real = &site.network.reals[number - 1];
    WebServer::start(real, real.name(), PORT, site.network.directory()).unwrap()
}

#[test]
fn programs_are_run_in_order() {
    let Some(mut site) = Site::small(Method::Nat) else {
        return;
    };
    let program = notifier(&site).display().to_string();
    let of = |word: &str| {
        format!(
            "notify_up = ['{program}', '{word} %h'], notify_down = ['{program}', '{word}', 'x']"
        )
    };
    let lines = of("real").replace(", notify_down", "\nnotify_down");
    let web = site.web(Family::V4).set(&check("type = 'http'"));
    let web = web.set(&format!("quorum = {{ {} }}", of("all")));
    let config = site.configuration(&[web]);
    let config = config.replace("\nport = 80\n\n", "\nport = 80\n");
    let config = config.replace(
        "[[service.real]]\n",
        &format!("[[service.real]]\n{lines}\n"),
    );
    let mut servers = std::mem::take(&mut site.servers);
    let daemon = site.start_with(&config);
    await_healths(&daemon, &["up", "up"]);
    // Nothing has turned.
    assert_eq!(noted(&site), [""; 0]);

    servers.remove(0);
    await_healths(&daemon, &["down", "up"]);
    let mut lines = vec!["real x down real tcp:192.0.2.10:80 10.0.2.11:80"];
    await_noted(&site, &lines);
    servers.remove(0);
    await_healths(&daemon, &["down", "down"]);
    lines.push("real x down real tcp:192.0.2.10:80 10.0.2.12:80");
    lines.push("all x down quorum tcp:192.0.2.10:80");
    await_noted(&site, &lines);
    let _second = start_again(&site, 2);
    await_healths(&daemon, &["down", "up"]);
    // No placeholder is filled in.
    lines.push("real %h up real tcp:192.0.2.10:80 10.0.2.12:80");
    lines.push("all %h up quorum tcp:192.0.2.10:80");
    await_noted(&site, &lines);

    // A restart turns nothing.
    let mut daemon = daemon;
    daemon.restart().unwrap();
    await_healths(&daemon, &["down", "up"]);
    let _first = start_again(&site, 1);
    await_healths(&daemon, &["up", "up"]);
    lines.push("real %h up real tcp:192.0.2.10:80 10.0.2.11:80");
    await_noted(&site, &lines);
}

/// With omega a stop is told as a failure of all that is up, and the start after it takes
/// that back.
#[test]
fn a_stop_is_told_and_taken_back() {
    let Some(mut site) = Site::small(Method::Nat) else {
        return;
    };
    let program = notifier(&site).display().to_string();
    let of = |keys: &str| keys.replace("PROGRAM", &program);
    let reals = of("notify_up = ['PROGRAM', 'real']\nnotify_down = ['PROGRAM', 'real']\n");
    let quorum = of("{ notify_up = ['PROGRAM', 'all'], notify_down = ['PROGRAM', 'all'] }");
    let web = site.web(Family::V4);
    let web = web.set(&check("type = 'http', alpha = true, omega = true"));
    let web = web.set(&format!("quorum = {quorum}"));
    let config = site.configuration(&[web]);
    let config = config.replace("[[service.real]]\n", &format!("[[service.real]]\n{reals}"));
    site.servers.pop();
    let mut daemon = site.start_with(&config);
    await_healths(&daemon, &["up", "down"]);
    let real = |event| format!("real {event} real tcp:192.0.2.10:80 10.0.2.11:80");
    let all = |event| format!("all {event} quorum tcp:192.0.2.10:80");
    let mut lines = vec![real("up"), all("up")];
    let told = |lines: &[String]| {
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        await_noted(&site, &lines);
    };
    told(&lines);
    daemon.stop().unwrap();
    lines.extend([real("down"), all("down")]);
    told(&lines);
    daemon.restart().unwrap();
    lines.extend([real("up"), all("up")]);
    told(&lines);
    assert_eq!(json(&daemon, &["service", "list"])[0]["has_quorum"], true);
}

/// A program that hangs keeps nobody from being checked, nor the API from answering.
#[test]
fn programs_that_hang_hold_nothing_up() {
    let Some(mut site) = Site::small(Method::Nat) else {
        return;
    };
    let web = site.web(Family::V4).set(&check("type = 'http'"));
    let config = site.configuration(&[web]).replace(
        "[[service.real]]\n",
        "[[service.real]]\nnotify_down = ['/bin/sleep', '600']\n",
    );
    let mut servers = std::mem::take(&mut site.servers);
    let daemon = site.start_with(&config);
    await_healths(&daemon, &["up", "up"]);
    servers.remove(0);
    await_healths(&daemon, &["down", "up"]);
    servers.remove(0);
    await_healths(&daemon, &["down", "down"]);
    let _first = start_again(&site, 1);
    await_healths(&daemon, &["up", "down"]);
    site.expect(&[2, 0]);
}

/// One that is dead when lbd starts is told of like any other.
#[test]
fn dead_from_the_start() {
    let Some(mut site) = Site::small(Method::Nat) else {
        return;
    };
    let program = notifier(&site);
    let web = site.web(Family::V4).set(&check("type = 'http'"));
    let config = site.configuration(&[web]).replace(
        "[[service.real]]\n",
        &format!(
            "[[service.real]]\nnotify_down = ['{}', 'real']\n",
            program.display()
        ),
    );
    drop(site.servers.remove(0));
    let daemon = site.start_with(&config);
    await_healths(&daemon, &["down", "up"]);
    await_noted(&site, &["real down real tcp:192.0.2.10:80 10.0.2.11:80"]);
    let history = json(&daemon, &["health", "--history", "web", "10.0.2.11"]);
    assert_eq!(history[0]["health"], "down", "{history}");
    assert!(
        daemon.log().contains("real server down"),
        "{}",
        daemon.log()
    );
    site.expect(&[0, 2]);
}

#[test]
fn mail() {
    let Some(mut site) = Site::small(Method::Nat) else {
        return;
    };
    let address = SocketAddr::from(([127, 0, 0, 1], 2525));
    let sink = MailSink::start(&site.network.director, address).unwrap();
    let web = site.web(Family::V4).set(&check("type = 'http'"));
    let config = with_section(
        &site.configuration(&[web]),
        &format!(
            "[alerts]\nsmtp = '{address}'\nfrom = 'lbd@lbd.test'\nto = ['ops@lbd.test', 'boss@lbd.test']"
        ),
    );
    let first = site.servers.remove(0);
    let daemon = site.start_with(&config);
    await_healths(&daemon, &["up", "up"]);
    drop(first);
    await_healths(&daemon, &["down", "up"]);
    wait::until("a mail", MAIL_LIMIT, || !sink.mails().is_empty())
        .unwrap_or_else(|error| panic!("{error}: {}", daemon.log()));
    // RFC 2045 section 6.7: soft line breaks.
    let mail = &sink.mails()[0].replace("=\n", "");
    for part in [
        "MAIL FROM:<lbd@lbd.test>",
        "RCPT TO:<ops@lbd.test>",
        "RCPT TO:<boss@lbd.test>",
        "] Realserver 10.0.2.11:80 of tcp:192.0.2.10:80 - DOWN",
        "- DOWN: connection refused",
    ] {
        assert!(mail.contains(part), "no {part:?} in:\n{mail}");
    }
    // Nobody is at home any more: it is tried again, and holds nothing up.
    drop(sink);
    let _first = start_again(&site, 1);
    await_healths(&daemon, &["up", "up"]);
    run(&daemon, "status");
}
