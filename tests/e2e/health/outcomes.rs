//! What becomes of a failed real, its connections and its persistent clients.

use lb_tests::conversation::Conversation;
use lb_tests::daemon::Daemon;
use lb_tests::topology::{Family, Method, PORT};

use super::{await_healths, check};
use crate::site::{Site, real, run};

/// The page that the check asks for: a server without it has failed, and still serves.
const PAGE: &str = "alive";

/// A service of these lines on two web servers, watched by a check of these keys.
fn config(site: &Site, lines: &str, keys: &str) -> String {
    let check = check(&format!("type = 'http', path = '/files/{PAGE}'{keys}"));
    let web = site.web(Family::V4).scheduled("rr");
    site.configuration(&[web.set(&check).set(lines)])
}

fn create(method: Method) -> Option<Site> {
    let site = Site::small(method)?;
    let file = site.network.directory().join(PAGE);
    std::fs::write(&file, "").unwrap();
    for server in &site.servers {
        server.publish(PAGE, &file).unwrap();
    }
    Some(site)
}

fn fail_first(site: &Site, daemon: &Daemon<'_>) {
    site.servers[0].withdraw(PAGE).unwrap();
    await_healths(daemon, &["down", "up"]);
}

fn mend_first(site: &Site, daemon: &Daemon<'_>) {
    let file = site.network.directory().join(PAGE);
    site.servers[0].publish(PAGE, &file).unwrap();
    await_healths(daemon, &["up", "up"]);
}

/// A connection to each real, in order.
fn converse(site: &Site) -> Vec<Conversation> {
    let (client, vip) = (&site.network.clients[0], site.network.vip());
    let mut kept: Vec<_> = (0..2)
        .map(|_| {
            let mut kept = Conversation::open(client, vip, PORT).unwrap();
            (kept.ask().unwrap(), kept)
        })
        .collect();
    kept.sort_by(|(one, _), (other, _)| one.cmp(other));
    let names: Vec<_> = kept.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["real1", "real2"]);
    kept.into_iter().map(|(_, kept)| kept).collect()
}

/// What `lbctl list -n` shows of the first real: its line's end.
fn listed(daemon: &Daemon<'_>) -> Option<String> {
    let list = run(daemon, "list -n");
    let line = list.lines().find(|line| line.contains("10.0.2.11:80"))?;
    let cells: Vec<_> = line.split_whitespace().skip(3).take(1).collect();
    Some(cells.concat())
}

#[test]
fn removed_or_quiesced() {
    let Some(site) = create(Method::Nat) else {
        return;
    };
    let mut daemon = site.start_with(&config(&site, "", ""));
    await_healths(&daemon, &["up", "up"]);
    for (keys, weight) in [
        ("", None),
        (", on_failure = 'quiesce'", Some("0")),
        (", on_failure = 'remove'", None),
    ] {
        daemon.reload(&config(&site, "", keys)).unwrap();
        assert_eq!(listed(&daemon).as_deref(), Some("1"));
        let mut kept = converse(&site);
        fail_first(&site, &daemon);
        assert_eq!(listed(&daemon).as_deref(), weight, "{keys}");
        let shown = real(&daemon, 1);
        assert_eq!(
            (
                &shown["weight"],
                &shown["effective_weight"],
                &shown["state"]
            ),
            (&1.into(), &0.into(), &"ready".into()),
            "{keys}"
        );
        site.expect(&[0, 4]);
        assert_eq!(kept[0].ask().unwrap(), "real1", "{keys}");
        mend_first(&site, &daemon);
        assert_eq!(listed(&daemon).as_deref(), Some("1"));
        site.expect(&[2, 2]);
    }
}

/// The connections of a failed real go on, unless they are to be cut; those of the
/// others go on in any case.
fn connections(method: Method) {
    let Some(site) = create(method) else {
        return;
    };
    let mut daemon = site.start_with(&config(&site, "", ""));
    await_healths(&daemon, &["up", "up"]);
    for (lines, are_cut) in [("on_down = 'keep'", false), ("on_down = 'reset'", true)] {
        daemon.reload(&config(&site, lines, "")).unwrap();
        let mut kept = converse(&site);
        fail_first(&site, &daemon);
        let first = kept[0].ask();
        assert_eq!(first.is_err(), are_cut, "{lines}: {first:?}");
        assert_eq!(kept[1].ask().unwrap(), "real2", "{lines}");
        site.expect(&[0, 4]);
        mend_first(&site, &daemon);
    }
}

#[test]
fn connections_dr() {
    connections(Method::Dr);
}

#[test]
fn connections_nat() {
    connections(Method::Nat);
}

/// The persistence of a failed real is void at once, by either way of failing, and its
/// clients stay where they went.
#[test]
fn persistence() {
    let Some(site) = create(Method::Nat) else {
        return;
    };
    let persistent = "persistence = { timeout = '6m' }";
    let mut daemon = site.start_with(&config(&site, persistent, ""));
    await_healths(&daemon, &["up", "up"]);
    for keys in ["", ", on_failure = 'quiesce'"] {
        daemon.reload(&config(&site, persistent, keys)).unwrap();
        // Whoever comes is sent to the first, and stays there.
        run(&daemon, "real state web 10.0.2.12 maint");
        site.expect(&[1, 0]);
        run(&daemon, "real state web 10.0.2.12 ready");
        await_healths(&daemon, &["up", "up"]);
        site.expect(&[3, 0]);
        fail_first(&site, &daemon);
        site.expect(&[0, 3]);
        mend_first(&site, &daemon);
        site.expect(&[0, 3]);
    }
}
