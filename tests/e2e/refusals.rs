//! Starts that must fail: one clear line, exit status 1, and everything is as
//! it was before.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use lb_tests::conversation::Conversation;
use lb_tests::daemon::Daemon;
use lb_tests::link;
use lb_tests::process::{self, Process};
use lb_tests::service::Service;
use lb_tests::topology::{Method, PORT};
use lb_tests::wait;
use lb_tests::xdp_pass::XdpPass;

use crate::site::{Site, json};

/// All that a start may leave behind: XDP programs, pins, files, mounts. The
/// failing configuration and its log are the harness's.
fn state_of(site: &Site) -> String {
    let directory = site.network.directory();
    let mut find = Command::new("find");
    find.arg(directory).args(["-not", "-name", "failing.*"]);
    let files = process::output(&mut find).unwrap();
    let mut files: Vec<_> = files
        .lines()
        // What the web servers and a running lbd write is not the start's doing.
        .filter(|path| !path.contains("-80/"))
        .collect();
    files.sort_unstable();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mounts: Vec<_> = mounts
        .lines()
        .filter(|line| line.contains(&directory.display().to_string()))
        .collect();
    format!(
        "{}{}\n{}",
        site.data_plane(),
        files.join("\n"),
        mounts.join("\n")
    )
}

/// lbd refuses to start with this configuration, says `parts` in one line, and
/// leaves no trace.
#[track_caller]
fn refused(site: &Site, config: &str, parts: &[&str]) {
    let before = state_of(site);
    let (status, said) = Daemon::fail_to_start(&site.network, &site.binaries, config).unwrap();
    check(status.code(), &said, parts);
    assert_eq!(state_of(site), before, "after: {said}");
}

#[track_caller]
fn check(code: Option<i32>, said: &str, parts: &[&str]) {
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("lbd: "), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
}

/// The configuration with other directories than the network's usual ones.
fn moved(site: &Site, config: &str, keys: &[&str]) -> String {
    let directory = site.network.directory().display().to_string();
    let pins = site.network.scratch().bpffs().unwrap();
    keys.iter()
        .fold(config.to_owned(), |config, key| match *key {
            "pin_dir" => config.replace(
                &format!("{}/lbd\"", pins.display()),
                &format!("{}/other\"", pins.display()),
            ),
            "state_dir" => config.replace("/state\"", "/other-state\""),
            "socket" => config.replace(
                &format!("{directory}/lbd.sock"),
                &format!("{directory}/other/lbd.sock"),
            ),
            key => panic!("{key}"),
        })
}

/// A file that is left half-made, a link that stays attached or a bpffs that
/// stays mounted shows as a difference of the director before and after.
#[test]
fn nothing_is_there_yet() {
    let Some(site) = Site::small(Method::Dr) else {
        return;
    };
    let config = site.config("rr", &[1, 1]);
    let missing = config.replace("\"eth1\"]", "\"eth7\"]");
    refused(&site, &missing, &["interface eth7 does not exist"]);

    let key = config.replace("xdp_mode", "xpd_mode");
    refused(
        &site,
        &key,
        &["failing.toml:3: ", "xpd_mode", "did you mean xdp_mode?"],
    );
    let twice = format!(
        "{config}\n{}",
        &config[config.find("[[service]]").unwrap()..]
    );
    refused(
        &site,
        &twice.replacen("name = \"web\"", "", 1),
        &["failing.toml:", "192.0.2.10"],
    );

    // Its own bpffs, on a directory that was not there, goes away again.
    let _other = XdpPass::attach(&site.network.director, "eth1").unwrap();
    let pins = site.network.scratch().bpffs().unwrap();
    let own = config.replace(
        &pins.display().to_string(),
        &format!("{}/own/fs", site.network.directory().display()),
    );
    for config in [&config, &own] {
        refused(
            &site,
            config,
            &["interface eth1: another XDP program is attached"],
        );
    }
    refused(
        &site,
        &config.replace("16384", "4000000000"),
        &["connections"],
    );

    // A file that cannot be read.
    let mut command = site.network.director.command(&site.binaries.lbd);
    let output = process::capture(command.args(["--config", "/nonexistent.toml"])).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    check(output.status.code(), &said, &["/nonexistent.toml"]);
}

/// Without root or without the right to use BPF: said before anything is made.
#[test]
fn without_privilege() {
    let Some(site) = Site::small(Method::Dr) else {
        return;
    };
    let directory = site.network.directory();
    // Everybody may read the configuration and run lbd; only the privilege is missing.
    fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
    let lbd = directory.join("failing.lbd");
    fs::copy(&site.binaries.lbd, &lbd).unwrap();
    let config = directory.join("failing.toml");
    fs::write(&config, site.config("rr", &[1, 1])).unwrap();
    let before = state_of(&site);

    let nobody = [
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ];
    let no_bpf = [
        "--bounding-set=-bpf,-sys_admin,-perfmon",
        "--inh-caps=-bpf,-sys_admin,-perfmon",
    ];
    for (drop, parts) in [
        (&nobody[..], &["lbd"][..]),
        (&no_bpf[..], &["CAP_BPF", "CAP_PERFMON"][..]),
    ] {
        let output = start_with_less(&site, drop, &lbd, &config);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        check(output.status.code(), &said, parts);
        assert!(said.contains("root") || said.contains("denied"), "{said}");
        assert_eq!(state_of(&site), before);
    }
}

fn start_with_less(site: &Site, drop: &[&str], lbd: &Path, config: &Path) -> std::process::Output {
    let mut command = site.network.director.command("setpriv");
    command.args(drop).arg(lbd).arg("--config").arg(config);
    process::capture(&mut command).unwrap()
}

/// A second lbd that shares a socket, pins or state with a running one ends,
/// and the first one has not noticed: an lbd that removes what it did not make
/// shows as an API or a data plane that is gone.
#[test]
fn another_lbd_is_there() {
    let Some(site) = Site::small(Method::Dr) else {
        return;
    };
    let config = site.config("rr", &[1, 1]);
    let daemon = site.start_with(&config);
    let cases: [(&[&str], &[&str]); 4] = [
        (&[], &["lbd.sock is in use by another lbd"]),
        (
            &["pin_dir", "state_dir"],
            &["lbd.sock is in use by another lbd"],
        ),
        (&["socket", "state_dir"], &["/lbd is in use by another lbd"]),
        (&["socket", "pin_dir"], &["/state is in use by another lbd"]),
    ];
    for (keys, parts) in cases {
        refused(&site, &moved(&site, &config, keys), parts);
        site.expect(&[1, 1]);
        assert_eq!(json(&daemon, &["list"])[0]["reals"][0]["weight"], 1);
    }
    // All apart, but the interfaces are taken.
    let apart = moved(&site, &config, &["pin_dir", "state_dir", "socket"]);
    refused(
        &site,
        &apart,
        &["interface eth0: another XDP program is attached"],
    );
    site.expect(&[1, 1]);
}

/// Two that share nothing, interfaces least of all, do not notice each other: what the
/// second one takes from the first, or counts of it, shows in the first one's data plane
/// and counters.
#[test]
fn two_that_share_nothing() {
    let Some(site) = Site::small(Method::Dr) else {
        return;
    };
    let (director, client) = (&site.network.director, &site.network.clients[0]);
    let config = site.config("rr", &[1, 1]);
    let daemon = site.start_with(&config);
    link::wire(director, "spare", client, "far").unwrap();
    director.ip("address add 10.9.0.1/24 dev spare\n").unwrap();
    client.ip("address add 10.9.0.2/24 dev far\n").unwrap();
    let before = site.data_plane();

    let apart = moved(&site, &config, &["pin_dir", "state_dir", "socket"]);
    let (sections, _) = apart.split_once("[[service]]").unwrap();
    let sections = sections
        .replace("\"eth0\", \"eth1\"", "\"spare\"")
        .replace("\"native\"", "\"generic\"");
    let local = Service::new("own", "tcp", [10, 9, 0, 1].into(), PORT, "local");
    let local = local.real([127, 0, 0, 1].into(), "");
    let directory = site.network.directory();
    let path = directory.join("second.toml");
    fs::write(&path, format!("{sections}{local}")).unwrap();
    let mut command = director.command(&site.binaries.lbd);
    command.arg("--config").arg(&path);
    let log = directory.join("second.log");
    let mut second = Process::spawn("the second lbd", &mut command, &log).unwrap();
    let list = || {
        let mut command = director.command(&site.binaries.lbctl);
        command.args(["--json", "--socket"]);
        command.arg(directory.join("other/lbd.sock")).arg("list");
        process::output(&mut command)
    };
    wait::try_until("the second lbd", wait::START_LIMIT, || {
        second.check_running()?;
        Ok(list().is_ok_and(|list| list.contains("10.9.0.1")))
    })
    .unwrap();

    site.expect(&[2, 2]);
    // Nobody listens there: the stack's answer shows that the packet has got to it.
    assert!(Conversation::open(client, [10, 9, 0, 1], PORT).is_err());
    let own: serde_json::Value = serde_json::from_str(&list().unwrap()).unwrap();
    assert_eq!(own[0]["stats"]["connections"], 1, "{own}");
    assert_eq!(own.as_array().unwrap().len(), 1, "{own}");

    second.stop().unwrap();
    let mut unload = director.command(&site.binaries.lbd);
    unload.args(["unload", "--config"]).arg(&path);
    process::output(&mut unload).unwrap();
    assert_eq!(site.data_plane(), before);
    site.expect(&[1, 1]);
    let first = json(&daemon, &["list"])[0].clone();
    assert_eq!(first["stats"]["connections"], 6, "{first}");
}

/// After a crash the data plane forwards by itself; a new lbd that cannot start
/// must leave it at that.
#[test]
fn adopted_data_plane_goes_on() {
    let Some(site) = Site::small(Method::Dr) else {
        return;
    };
    let network = &site.network;
    network
        .director
        .ip("link add spare type veth peer name other\nlink set spare up\nlink set other up\n")
        .unwrap();
    let _other = XdpPass::attach(&network.director, "spare").unwrap();
    let config = site.config("rr", &[1, 1]);
    let mut daemon = site.start_with(&config);
    let mut conversation = Conversation::open(&network.clients[0], network.vip(), PORT).unwrap();
    assert_eq!(conversation.ask().unwrap(), "real1");
    site.expect(&[0, 1]);
    daemon.kill();
    // The one thing of a dead daemon's that is of no use to anybody.
    fs::remove_file(daemon.socket()).unwrap();

    let with =
        |interface: &str| config.replace("\"eth1\"]", &format!("\"eth1\", \"{interface}\"]"));
    let cases: [(String, &[&str]); 5] = [
        (with("eth7"), &["interface eth7 does not exist"]),
        (
            with("spare"),
            &["interface spare: another XDP program is attached"],
        ),
        (
            config
                .replace("connections = 16384", "connections = 8192")
                .replace("\"native\"", "\"generic\""),
            &["interface eth0: [capacity] and xdp_mode cannot change in one start"],
        ),
        (
            config.replace("connections = 16384", "connections = 1"),
            &[
                "capacity.connections is too small",
                "room for 1;",
                "`lbd unload`",
            ],
        ),
        (
            config.replace("\"rr\"", "\"rrr\""),
            &["failing.toml:", "rrr"],
        ),
    ];
    for (config, parts) in &cases {
        refused(&site, config, parts);
        site.expect(&[1, 1]);
        assert_eq!(conversation.ask().unwrap(), "real1");
    }
    daemon.restart().unwrap();
    assert!(daemon.log().contains("adopted=true"), "{}", daemon.log());
    site.expect(&[1, 1]);
    assert_eq!(conversation.ask().unwrap(), "real1");
}

/// A real that nobody answers for is no reason to stop: said once, shown in
/// `status`, and the others serve. When it comes, it serves too.
#[test]
fn unreachable_real_is_no_reason_to_stop() {
    let Some(site) = Site::small(Method::Dr) else {
        return;
    };
    let extra = "\n[[service.real]]\naddress = \"10.0.2.99\"\n";
    let config = format!("{}{extra}", site.config("rr", &[1, 1]));
    let mut daemon = site.start_with(&config);
    site.expect(&[1, 1]);
    let lines = |log: &str| {
        let about = |line: &&str| line.contains("WARN") && line.contains("10.0.2.99");
        log.lines().filter(about).count()
    };
    wait::until("a warning", wait::START_LIMIT, || lines(&daemon.log()) > 0).unwrap();
    let status = json(&daemon, &["status"]);
    let unresolved = status["unresolved"].as_array().unwrap();
    assert_eq!(unresolved.len(), 1, "{status}");
    assert!(
        unresolved[0].as_str().unwrap().contains("10.0.2.99:80"),
        "{status}"
    );
    assert_eq!(
        json(&daemon, &["list"])[0]["reals"][0]["next_hop"],
        "resolved"
    );

    daemon
        .lbctl(&["real", "edit", "web", "10.0.2.99", "-w", "0"])
        .unwrap();
    site.expect(&[5, 5]);
    daemon.reload(&config).unwrap();
    daemon
        .lbctl(&["real", "edit", "web", "10.0.2.99", "-w", "0"])
        .unwrap();
    site.expect(&[5, 5]);
    assert_eq!(lines(&daemon.log()), 1, "{}", daemon.log());

    // It comes up.
    site.network.reals[1]
        .ip("address add 10.0.2.99/24 dev eth0\n")
        .unwrap();
    wait::until("the real to be found", wait::START_LIMIT, || {
        json(&daemon, &["status"])["unresolved"]
            .as_array()
            .unwrap()
            .is_empty()
    })
    .unwrap();
    daemon.reload(&config).unwrap();
    site.expect(&[2, 4]);
    assert_eq!(lines(&daemon.log()), 1, "{}", daemon.log());
}
