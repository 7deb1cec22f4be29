//! Reloading: what the file says becomes so, what did not change is not
//! touched, and an error changes nothing.

use lb_tests::conversation::Conversation;
use lb_tests::daemon::{self, Daemon};
use lb_tests::topology::Method;
use lb_tests::trickle::{self, Trickle};
use lb_tests::webserver::WebServer;

use crate::site::{Site, json, refused};

/// Services and reals come, change and go by SIGHUP and by `lbctl reload`,
/// while a download goes on. A rebuild in place of a difference shows as a
/// download that breaks or as counters that begin anew.
fn changes(method: Method) {
    let Some(site) = Site::small(method) else {
        return;
    };
    let network = &site.network;
    let client = &network.clients[0];
    trickle::publish(network, &site.servers).unwrap();
    let _second = WebServer::start(&network.reals[1], "real2", 8080, network.directory()).unwrap();
    let mut daemon = site.start("rr", &[1]);
    let download = Trickle::start(network, client).unwrap();
    site.expect(&[2]);

    // A real is added, then the scheduler and a weight change, then the first real goes.
    let report = reload(&daemon, &site.config("rr", &[1, 1]));
    assert_eq!(
        report,
        "service tcp:192.0.2.10:80: real 10.0.2.12:80 added\n"
    );
    site.expect(&[3, 3]);
    daemon.reload(&site.config("wrr", &[3, 1])).unwrap();
    site.expect(&[6, 2]);
    download.check().unwrap();
    let service = json(&daemon, &["list"])[0].clone();
    assert_eq!(service["stats"]["connections"], 1 + 2 + 6 + 8, "{service}");
    assert_eq!(service["reals"][0]["active"], 1, "{service}");

    let web = daemon::service(network, "wrr", &[3, 1]);
    let (head, reals) = web.split_once("\n[[service.real]]").unwrap();
    let (_, last) = reals.split_once("\n[[service.real]]").unwrap();
    let only_second = format!("{head}\n[[service.real]]{last}");
    daemon.reload(&configuration(&site, &only_second)).unwrap();
    site.expect(&[0, 4]);
    download.check().unwrap();

    // A second service, on another port, comes and goes.
    let more = daemon::service_at(network, "more", "tcp", 8080, "rr", &[0, 1]);
    let report = reload(
        &daemon,
        &configuration(&site, &format!("{only_second}{more}")),
    );
    assert_eq!(report, "service tcp:192.0.2.10:8080: added\n");
    let mut other = Conversation::open(client, network.vip(), 8080).unwrap();
    assert_eq!(other.ask().unwrap(), "real2");
    let report = reload(&daemon, &configuration(&site, &only_second));
    assert_eq!(report, "service tcp:192.0.2.10:8080: removed\n");
    assert_eq!(other.ask().unwrap(), "real2");
    assert!(Conversation::open(client, network.vip(), 8080).is_err());
    assert_eq!(
        reload(&daemon, &configuration(&site, &only_second)),
        "nothing changed\n"
    );

    // All of it goes, and the download has not noticed.
    daemon.reload(&configuration(&site, "")).unwrap();
    assert_eq!(json(&daemon, &["list"]), serde_json::json!([]));
    assert_eq!(site.ask(1).failures, 1);
    download.check().unwrap();
    daemon.reload(&site.config("rr", &[1, 1])).unwrap();
    site.expect(&[2, 2]);
    download.finish().unwrap();
}

fn configuration(site: &Site, services: &str) -> String {
    daemon::configuration(&site.network, services).unwrap()
}

/// `lbctl reload` with a new file.
#[track_caller]
fn reload(daemon: &Daemon<'_>, config: &str) -> String {
    daemon.write_config(config).unwrap();
    daemon.lbctl(&["reload"]).unwrap()
}

#[test]
fn changes_dr() {
    changes(Method::Dr);
}

#[test]
fn changes_nat() {
    changes(Method::Nat);
}

#[test]
fn changes_tun() {
    changes(Method::Tun);
}

/// A file with a mistake, or with a change that takes a restart, is refused as a
/// whole: half of it in force shows in the list.
#[test]
fn errors_change_nothing() {
    let Some(site) = Site::small(Method::Dr) else {
        return;
    };
    let config = site.config("rr", &[1, 1]);
    let mut daemon = site.start_with(&config);
    let before = json(&daemon, &["list"]);
    // Each has a right change, too.
    let changed = site.config("wrr", &[5, 1]);
    let mistake = format!("{changed}wieght = 3\n");
    let line = mistake.lines().count();
    let located = format!("lbd.toml:{line}: service.real.wieght");
    let address = format!("{changed}\n[[service.real]]\naddress = \"10.0.2\"\n");
    let cases: [(String, &[&str]); 6] = [
        (mistake, &[&located, "did you mean weight?"]),
        (address, &["lbd.toml:", "service.real.address", "10.0.2"]),
        (
            changed.replace("connections = 16384", "connections = 16385"),
            &["capacity.connections"],
        ),
        (
            changed.replace("/state\"", "/other\""),
            &["director.state_dir"],
        ),
        (
            changed.replace("\"native\"", "\"auto\""),
            &["director.xdp_mode"],
        ),
        (
            changed.replace("\"eth1\"]", "\"eth1\", \"eth7\"]"),
            &["eth7"],
        ),
    ];
    for (config, parts) in &cases {
        daemon.write_config(config).unwrap();
        let (code, said) = refused(&daemon, &["reload"]);
        assert_eq!(code, 1, "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        for part in *parts {
            assert!(said.contains(part), "{part:?} is not in {said}");
        }
        daemon.reload(config).unwrap();
        let refusal = daemon.log().lines().last().unwrap().to_owned();
        assert!(
            refusal.contains("reload refused") && refusal.contains(parts[0]),
            "{refusal}"
        );
        assert_eq!(json(&daemon, &["list"]), before);
    }
    site.expect(&[3, 3]);
    daemon.reload(&changed).unwrap();
    site.expect(&[5, 1]);
}

/// What the operator changes by hand holds over a crash, and a reload puts the
/// file's values back and says so; what only the runtime has stays.
#[test]
fn runtime_changes() {
    let Some(site) = Site::small(Method::Dr) else {
        return;
    };
    let config = site.config("rr", &[1, 1]);
    let mut daemon = site.start_with(&config);
    let run = |daemon: &Daemon<'_>, line: &str| {
        daemon.lbctl(&line.split(' ').collect::<Vec<_>>()).unwrap()
    };
    run(&daemon, "real edit web 10.0.2.11 -w 3");
    run(&daemon, "service edit web -s wrr");
    run(&daemon, "service add tcp:192.0.2.10:8080 -s rr -f dr");
    run(&daemon, "real add tcp:192.0.2.10:8080 10.0.2.11");
    let edited = json(&daemon, &["service", "list"]);
    site.expect(&[3, 1]);

    daemon.restart().unwrap();
    let configured = |services: &serde_json::Value| {
        services
            .as_array()
            .unwrap()
            .iter()
            .map(|service| {
                let real = &service["reals"][0];
                format!(
                    "{} {} {} {}",
                    service["service"], service["scheduler"], service["owner"], real["weight"]
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(
        configured(&json(&daemon, &["service", "list"])),
        configured(&edited)
    );
    site.expect(&[3, 1]);

    let report = run(&daemon, "reload");
    assert!(report.contains("scheduler wrr -> rr"), "{report}");
    assert!(
        report.contains("real 10.0.2.11:80 weight 3 -> 1"),
        "{report}"
    );
    assert!(
        report.contains("edited at run time, back to the file's values"),
        "{report}"
    );
    site.expect(&[2, 2]);
    let services = json(&daemon, &["service", "list"]);
    assert_eq!(services[1]["service"], "tcp:192.0.2.10:8080");
    assert_eq!(services[1]["owner"], "runtime");

    // A deletion holds over a restart, too, and ends with a reload.
    run(&daemon, "real delete web 10.0.2.12");
    daemon.kill();
    daemon.restart().unwrap();
    site.expect(&[4, 0]);
    run(&daemon, "reload");
    site.expect(&[2, 2]);
}

/// One table with `listen` makes two services, which their name means both.
#[test]
fn a_group() {
    let Some(site) = Site::small(Method::Dr) else {
        return;
    };
    let config = site.config("rr", &[1, 1]);
    let daemon = site.start_with(&config);
    let own = "address = \"192.0.2.10\"\nport = 80\n";
    assert!(config.contains(own), "{config}");
    let grouped = config.replace(own, "listen = [\"192.0.2.10:80\", \"192.0.2.10:81\"]\n");
    let report = reload(&daemon, &grouped);
    assert!(
        report.contains("service tcp:192.0.2.10:81: added"),
        "{report}"
    );

    let shown = |daemon: &Daemon<'_>| -> Vec<_> {
        let services = json(daemon, &["service", "list"]);
        let services = services.as_array().unwrap().iter();
        let word =
            |of: &serde_json::Value| format!("{} {}", of["service"], of["reals"][0]["state"]);
        services.map(|of| word(of).replace('"', "")).collect()
    };
    daemon
        .lbctl(&["real", "state", "web", "10.0.2.11", "drain"])
        .unwrap();
    let drained = ["tcp:192.0.2.10:80 drain", "tcp:192.0.2.10:81 drain"];
    assert_eq!(shown(&daemon), drained);
    site.expect(&[0, 4]);
    daemon.lbctl(&["service", "delete", "web"]).unwrap();
    assert_eq!(shown(&daemon), [""; 0]);
}
