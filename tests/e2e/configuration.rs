//! The whole of what runs: saved, brought back, replaced for a while; who did it
//! is in the log.

use std::fs;
use std::time::Duration;

use lb_tests::daemon::Daemon;
use lb_tests::topology::Method;
use lb_tests::trickle::{self, Trickle};
use lb_tests::wait;

use crate::site::{Site, json, refused};

fn run(daemon: &Daemon<'_>, line: &str) -> String {
    daemon.lbctl(&line.split(' ').collect::<Vec<_>>()).unwrap()
}

/// `diff`'s exit code and what it prints.
fn diff(daemon: &Daemon<'_>) -> (i32, String) {
    let output = daemon.lbctl_command().arg("diff").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), text)
}

/// A download goes on through all of it.
#[test]
fn saved_and_brought_back() {
    let Some(site) = Site::small(Method::Nat) else {
        return;
    };
    let network = &site.network;
    trickle::publish(network, &site.servers).unwrap();
    let mut daemon = site.start("rr", &[1, 1]);
    let download = Trickle::start(network, &network.clients[0]).unwrap();
    assert_eq!(diff(&daemon), (0, String::new()));

    run(&daemon, "real edit web 10.0.2.11 -w 3");
    run(&daemon, "service edit web -s wrr");
    run(&daemon, "service add tcp:192.0.2.10:8080 -s rr -f nat");
    run(&daemon, "real add tcp:192.0.2.10:8080 10.0.2.11");
    let (code, lines) = diff(&daemon);
    assert_eq!(code, 1, "{lines}");
    assert!(lines.contains("scheduler wrr -> rr"), "{lines}");
    assert!(lines.contains("weight 3 -> 1"), "{lines}");
    // Tests of this kind are run by root.
    let who = "uid 0, pid ";
    let log = daemon.log();
    for what in ["scheduler rr -> wrr", "weight 1 -> 3", "8080: added"] {
        let mut told = log.lines().filter(|line| line.contains(what));
        assert!(told.any(|line| line.contains(who)), "{what}: {log}");
    }

    let saved = network.directory().join("saved.toml");
    fs::write(&saved, run(&daemon, "save")).unwrap();
    let before = json(&daemon, &["service", "list"]);
    let saved = saved.to_str().unwrap();
    run(&daemon, &format!("check {saved}"));

    run(&daemon, "flush --yes");
    assert_eq!(json(&daemon, &["service", "list"]), serde_json::json!([]));
    download.check().unwrap();
    run(&daemon, &format!("restore {saved}"));
    let brought_back = json(&daemon, &["service", "list"]);
    assert_eq!(configured(&brought_back), configured(&before));
    site.expect(&[3, 1]);
    // It holds over a crash.
    daemon.kill();
    daemon.restart().unwrap();
    let after_crash = json(&daemon, &["service", "list"]);
    assert_eq!(configured(&after_crash), configured(&before));
    run(&daemon, "reload");
    site.expect(&[2, 2]);
    download.check().unwrap();
}

/// Nobody confirms: back it goes, though the daemon was killed meanwhile.
#[test]
fn applied_until_confirmed() {
    let Some(site) = Site::small(Method::Dr) else {
        return;
    };
    let mut daemon = site.start("rr", &[1, 1]);
    let candidate = site.network.directory().join("candidate.toml");
    let write = |weights: &[u32]| {
        let text = site.config("wrr", weights);
        fs::write(&candidate, text).unwrap();
    };
    let apply = format!("apply {} --confirm-within", candidate.display());
    write(&[1, 0]);
    let report = run(&daemon, &format!("{apply} 3s"));
    assert!(report.contains("weight 1 -> 0"), "{report}");
    site.expect(&[3, 0]);
    let waits = "waits to be confirmed";
    // What is changed meanwhile would go back with it, but for what the operator has reals
    // do.
    let path = candidate.to_str().unwrap();
    let vip = site.network.vip();
    let service = format!("tcp:{vip}:80");
    let real = site.network.reals[0].address().to_string();
    for arguments in [
        &["reload"][..],
        &["restore", path],
        &["service", "edit", &service, "-s", "sh"],
        &["service", "delete", &service],
        &["real", "edit", &service, &real, "-w", "9"],
        &["mark", "add", "7", "tcp", "192.0.2.99", "80"],
        &["timeouts", "set", "--udp", "7"],
    ] {
        let (code, refusal) = refused(&daemon, arguments);
        assert!(
            code == 1 && refusal.contains(waits),
            "{arguments:?}: {refusal}"
        );
    }
    run(&daemon, &format!("real state {service} {real} maint"));
    run(&daemon, &format!("real state {service} {real} ready"));
    daemon.kill();
    daemon.restart().unwrap();
    let is_back = || site.ask(2).by_real(2) == [1, 1];
    wait::until(
        "the configuration is back",
        Duration::from_secs(10),
        is_back,
    )
    .unwrap();
    assert_eq!(diff(&daemon).0, 0);

    run(&daemon, &format!("{apply} 60s"));
    assert!(run(&daemon, "status").contains("lbctl confirm"));
    run(&daemon, &format!("real state {service} {real} maint"));
    run(&daemon, "undo");
    site.expect(&[0, 4]);
    run(&daemon, &format!("real state {service} {real} ready"));
    site.expect(&[2, 2]);
    run(&daemon, &format!("{apply} 1s"));
    run(&daemon, "confirm");
    assert!(refused(&daemon, &["undo"]).1.contains(waits));
    std::thread::sleep(Duration::from_millis(1500));
    site.expect(&[3, 0]);

    // What is the file's alone is not replaced.
    let other = site
        .config("rr", &[1])
        .replace("[options]", "[options]\nsloppy_tcp = true");
    fs::write(&candidate, other).unwrap();
    let (code, refusal) = refused(&daemon, &["restore", candidate.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(refusal.contains("options changed"), "{refusal}");
}

/// All but the counters.
fn configured(services: &serde_json::Value) -> Vec<String> {
    let one = |service: &serde_json::Value| {
        let reals = service["reals"].as_array().unwrap().iter();
        let reals: Vec<_> = reals
            .map(|real| format!("{} {} {}", real["real"], real["weight"], real["forward"]))
            .collect();
        let (id, scheduler, owner) = (
            &service["service"],
            &service["scheduler"],
            &service["owner"],
        );
        format!("{id} {scheduler} {owner} {}", reals.join(", "))
    };
    services.as_array().unwrap().iter().map(one).collect()
}
