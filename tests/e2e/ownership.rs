//! Whose a service, a real or a mark is, row by row of the table in
//! docs/architecture.md, where it takes a running daemon to see it.
//!
//! Beside these: edits and deletions of the file's service and reals over restart and
//! reload are in `reload::runtime_changes`, states of reals in `drain::downloads_*`,
//! `restore` in `configuration::saved_and_brought_back`. Without a daemon, in
//! lb-daemon: `state/desired_tests.rs` (`an_edit_holds_over_a_restart_and_ends_with_a_reload`,
//! `a_deleted_service_of_the_file_comes_back_with_a_reload`,
//! `what_is_made_again_holds_over_a_restart_and_ends_with_a_reload`,
//! `a_reals_state_stays_over_reloads_and_what_else_was_edited_does_not`,
//! `the_file_takes_over_what_the_runtime_made`,
//! `a_runtime_real_stays_and_goes_with_its_service`), `state/marks.rs`
//! (`a_deleted_rule_of_the_file_comes_back_with_a_reload`,
//! `a_runtime_rule_stays_until_the_file_has_it`), `state/transaction.rs`
//! (`what_was_saved_comes_back`) and `state/store.rs` (what is on the disk).

use std::fs;

use lb_tests::conversation::Conversation;
use lb_tests::daemon::{self, Daemon};
use lb_tests::service;
use lb_tests::topology::{Method, PORT};
use lb_tests::webserver::WebServer;
use serde_json::Value;

use crate::site::{Site, json, real, run};

const MORE_PORT: u16 = 8080;
const MORE: &str = "tcp:192.0.2.10:8080";

/// A site whose second service is answered by the first real.
fn site() -> Option<(Site, WebServer)> {
    let site = Site::small(Method::Dr)?;
    let network = &site.network;
    let directory = network.directory();
    let more = WebServer::start(&network.reals[0], "real1", MORE_PORT, directory).unwrap();
    Some((site, more))
}

/// The service at [`MORE_PORT`], with its first real, as the file has it.
fn more(site: &Site) -> String {
    daemon::service_at(&site.network, "more", "tcp", MORE_PORT, "rr", &[1])
}

/// A configuration with the web service and other tables.
fn config(site: &Site, tables: &str) -> String {
    let web = daemon::service(&site.network, "rr", &[1, 1]);
    daemon::configuration(&site.network, &format!("{web}{tables}")).unwrap()
}

/// The mark 7 on a port of an address that nobody has.
fn mark(port: &str) -> String {
    service::firewall_mark(7, [192, 0, 2, 77].into(), port)
}

fn reload(daemon: &Daemon<'_>, config: &str) -> String {
    daemon.write_config(config).unwrap();
    run(daemon, "reload")
}

/// What the status warns of.
fn warnings(daemon: &Daemon<'_>) -> String {
    json(daemon, &["status"])["warnings"].to_string()
}

/// A service of the list; null where there is none.
fn listed(daemon: &Daemon<'_>, id: &str) -> Value {
    let services = json(daemon, &["service", "list"]);
    let mut services = services.as_array().unwrap().iter();
    services
        .find(|of| of["service"] == id)
        .cloned()
        .unwrap_or_default()
}

/// The ports of the marks, and whose they are.
fn marks(daemon: &Daemon<'_>) -> Vec<String> {
    let marks = json(daemon, &["mark", "list"]);
    let marks = marks.as_array().unwrap().iter();
    marks
        .map(|mark| format!("{} {}", mark["ports"][0], mark["owner"]).replace('"', ""))
        .collect()
}

/// A service and a mark of the file are deleted and stay so over a crash; the reload
/// brings them back and says so. A state holds even then. A daemon that takes the file
/// for the whole truth shows them after the crash.
#[test]
fn the_files_objects_are_deleted_until_the_reload() {
    let Some((site, _more)) = site() else {
        return;
    };
    let config = config(&site, &format!("{}{}", mark("80"), more(&site)));
    let mut daemon = site.start_with(&config);
    let mut other =
        Conversation::open(&site.network.clients[0], site.network.vip(), MORE_PORT).unwrap();
    assert_eq!(other.ask().unwrap(), "real1");
    run(&daemon, "real state web 10.0.2.11 maint");
    run(&daemon, &format!("service delete {MORE}"));
    run(&daemon, "mark delete 7 tcp 192.0.2.77 80");
    run(&daemon, "mark add 7 tcp 192.0.2.77 81");

    daemon.kill();
    daemon.restart().unwrap();
    assert_eq!(listed(&daemon, MORE), Value::Null);
    assert_eq!(marks(&daemon), ["81 runtime"]);
    assert_eq!(real(&daemon, 1)["state"], "maint");
    site.expect(&[0, 2]);
    assert_eq!(other.ask().unwrap(), "real1");

    let report = run(&daemon, "reload");
    for said in [
        "service tcp:192.0.2.10:8080: back, as the file has it",
        "firewall mark 7: tcp 192.0.2.77/32 80: back, as the file has it",
    ] {
        assert!(report.contains(said), "{said} is not in {report}");
    }
    assert_eq!(listed(&daemon, MORE)["owner"], "file");
    assert_eq!(marks(&daemon), ["80 file", "81 runtime"]);
    assert_eq!(real(&daemon, 1)["state"], "maint");
    site.expect(&[0, 2]);
    assert_eq!(other.ask().unwrap(), "real1");
}

/// The file takes over a service and a mark that the runtime has made, its values win,
/// and counters and connections stay; one that is made anew in place of that counts
/// from 0. A runtime real of it stays over reloads, and goes with it when the file
/// drops it, which is told.
#[test]
fn the_file_takes_over_and_drops() {
    let Some((site, _more)) = site() else {
        return;
    };
    let mut daemon = site.start_with(&config(&site, ""));
    run(&daemon, &format!("service add {MORE} -s wlc -f dr"));
    run(&daemon, &format!("real add {MORE} 10.0.2.11 -w 5"));
    run(&daemon, "mark add 7 tcp 192.0.2.77 80");
    let client = &site.network.clients[0];
    let mut other = Conversation::open(client, site.network.vip(), MORE_PORT).unwrap();
    assert_eq!(other.ask().unwrap(), "real1");

    let tables = format!("{}{}", mark("80"), more(&site));
    reload(&daemon, &config(&site, &tables));
    let told = warnings(&daemon);
    for object in [
        "service tcp:192.0.2.10:8080",
        "service tcp:192.0.2.10:8080: real 10.0.2.11:8080",
        "firewall mark 7: tcp 192.0.2.77/32 80",
    ] {
        let warning = format!("{object}: made at run time, the file owns it from now on");
        assert!(told.contains(&warning), "{warning} is not in {told}");
    }
    let service = listed(&daemon, MORE);
    assert_eq!(
        (&service["owner"], &service["scheduler"]),
        (&"file".into(), &"rr".into())
    );
    let first = &service["reals"][0];
    assert_eq!(
        (&first["owner"], &first["weight"]),
        (&"file".into(), &1.into())
    );
    assert_eq!(
        (&service["stats"]["connections"], &first["active"]),
        (&1.into(), &1.into())
    );
    assert_eq!(marks(&daemon), ["80 file"]);
    assert_eq!(other.ask().unwrap(), "real1");

    run(&daemon, &format!("real add {MORE} 10.0.2.12 -w 0"));
    assert_eq!(
        reload(&daemon, &config(&site, &tables)),
        "nothing changed\n"
    );
    daemon.restart().unwrap();
    let service = listed(&daemon, MORE);
    assert_eq!(service["reals"][1]["owner"], "runtime", "{service}");

    reload(&daemon, &config(&site, ""));
    let told = warnings(&daemon);
    let warning = "service tcp:192.0.2.10:8080: no longer in the file; its reals made at run time \
                   go with it: 10.0.2.12:8080";
    assert!(told.contains(warning), "{told}");
    assert_eq!(listed(&daemon, MORE), Value::Null);
    assert_eq!(marks(&daemon), [""; 0]);
    assert_eq!(other.ask().unwrap(), "real1");
    assert!(Conversation::open(client, site.network.vip(), MORE_PORT).is_err());
}

/// What a torn state no longer tells and the file never did is removed at the start:
/// a service, a real, each with a warning, and their connections finish.
#[test]
fn what_nobody_knows_is_removed_at_the_start() {
    let Some((site, _more)) = site() else {
        return;
    };
    let network = &site.network;
    let client = &network.clients[0];
    let file = daemon::configuration(network, &daemon::service(network, "rr", &[1])).unwrap();
    let mut daemon = site.start_with(&file);
    run(&daemon, &format!("service add {MORE} -s rr -f dr"));
    run(&daemon, &format!("real add {MORE} 10.0.2.11"));
    run(&daemon, "real edit web 10.0.2.11 -w 0");
    run(&daemon, "real add web 10.0.2.12");
    let mut by_service = Conversation::open(client, network.vip(), MORE_PORT).unwrap();
    let mut by_real = Conversation::open(client, network.vip(), PORT).unwrap();
    assert_eq!(by_service.ask().unwrap(), "real1");
    assert_eq!(by_real.ask().unwrap(), "real2");

    daemon.kill();
    let state = network.directory().join("state/state.json");
    let text = fs::read_to_string(&state).unwrap();
    let torn = &text[..text.len() / 2];
    fs::write(&state, torn).unwrap();
    daemon.restart().unwrap();
    let told = warnings(&daemon);
    for warning in [
        "set aside as ",
        "service tcp:192.0.2.10:8080: found in the data plane, in neither the file nor the state; \
         removed, its connections finish",
        "service tcp:192.0.2.10:80: reals found in the data plane, in neither the file nor the \
         state; removed, their connections finish: 10.0.2.12:80",
    ] {
        assert!(told.contains(warning), "{warning} is not in {told}");
        assert!(
            daemon.log().contains(warning),
            "{warning} is not in the log"
        );
    }
    assert_eq!(
        fs::read_to_string(state.with_extension("json.bad")).unwrap(),
        torn
    );
    assert_eq!(listed(&daemon, MORE), Value::Null);
    assert_eq!(by_service.ask().unwrap(), "real1");
    assert_eq!(by_real.ask().unwrap(), "real2");
    assert!(Conversation::open(client, network.vip(), MORE_PORT).is_err());
    site.expect(&[3, 0]);

    // The next one finds all as it should be.
    daemon.restart().unwrap();
    assert_eq!(warnings(&daemon), "[]");
    assert_eq!(by_real.ask().unwrap(), "real2");
}
