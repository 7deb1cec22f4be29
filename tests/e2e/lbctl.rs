//! lbctl against a running director: its commands and what they do to traffic.

use std::time::Duration;

use lb_tests::conversation::Conversation;
use lb_tests::daemon::{self, Daemon};
use lb_tests::process;
use lb_tests::topology::{Method, PORT};
use lb_tests::trickle::{self, Trickle};
use lb_tests::wait;
use serde_json::json;

use crate::site::{Site, json, real, refused};

/// Two walks of the connection table, and time to spare.
const SWEPT: Duration = Duration::from_secs(20);

/// What `lbctl list -n` prints after its version line.
fn table(daemon: &Daemon<'_>) -> String {
    let text = daemon.lbctl(&["list", "-n"]).unwrap();
    let (version, rest) = text.split_once('\n').unwrap();
    assert_eq!(
        version,
        concat!("lbd ", env!("CARGO_PKG_VERSION"), " (size=16384)")
    );
    rest.to_owned()
}

/// A service that is built by hand, from nothing, works as one of the file
/// does, and is listed as ipvsadm would. A command that does something else
/// than it says shows in the list or in the spread.
#[test]
fn builds_a_service() {
    let Some(site) = Site::small(Method::Dr) else {
        return;
    };
    let nothing = daemon::configuration(&site.network, "").unwrap();
    let daemon = site.start_with(&nothing);
    let run = |line: &str| daemon.lbctl(&line.split(' ').collect::<Vec<_>>()).unwrap();
    assert_eq!(site.ask(1).failures, 1);

    assert_eq!(
        run("service add tcp:192.0.2.10:80 --name web -s rr -f dr"),
        ""
    );
    assert_eq!(run("real add web 10.0.2.11"), "");
    run("real add tcp:192.0.2.10:80 10.0.2.12:80 -w 3");
    site.expect(&[2, 2]);
    run("service edit web -s wrr");
    site.expect(&[1, 3]);
    run("real edit web 10.0.2.11 -w 2");
    run("real edit web 10.0.2.12 -w 1");
    site.expect(&[4, 2]);
    run("service add udp:192.0.2.10:53 -s rr -f tun");
    run("real add udp:192.0.2.10:53 10.0.2.11 -w 0");

    let listed = table(&daemon);
    let inactive = [2 + 1 + 4, 2 + 3 + 2];
    let expected = format!(
        "Prot LocalAddress:Port Scheduler Flags\n  \
         -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n\
         TCP  192.0.2.10:80 wrr\n  \
         -> 10.0.2.11:80                 Route   2      0          {:<10}\n  \
         -> 10.0.2.12:80                 Route   1      0          {:<10}\n\
         UDP  192.0.2.10:53 rr\n  \
         -> 10.0.2.11:53                 Tunnel  0      0          0         \n",
        inactive[0], inactive[1]
    );
    assert_eq!(listed, expected);
    let services = json(&daemon, &["service", "list"]);
    assert_eq!(services, json(&daemon, &["list"]));
    assert_eq!(services[0]["owner"], "runtime");
    assert_eq!(services[0]["name"], "web");
    assert_eq!(json(&daemon, &["service", "show", "web"]), services[0]);
    let page = run("service show web");
    assert!(page.contains("10.0.2.12:80"), "{page}");
    let page = run("service list");
    assert!(page.contains("udp:192.0.2.10:53"), "{page}");

    run("real delete web 10.0.2.12:80");
    site.expect(&[3]);
    run("service delete web");
    assert_eq!(site.ask(1).failures, 1);
    run("service delete udp:192.0.2.10:53");
    assert_eq!(json(&daemon, &["list"]), json!([]));
}

/// A real that was deleted, so long ago that nothing refers to it any more, and is
/// made again, gets traffic again: its next hop, which did not change meanwhile, is
/// known from the start.
#[test]
fn made_again() {
    let Some(site) = Site::small(Method::Dr) else {
        return;
    };
    let daemon = site.start("rr", &[1, 1]);
    daemon
        .lbctl(&["real", "delete", "web", "10.0.2.12"])
        .unwrap();
    let reals = || {
        let status = json(&daemon, &["status"]);
        let tables = status["tables"].as_array().unwrap().clone();
        let reals = tables.into_iter().find(|table| table["name"] == "reals");
        reals.unwrap()["entries"].as_u64()
    };
    wait::until("the real's slot to be free", SWEPT, || reals() == Some(1)).unwrap();
    daemon.lbctl(&["real", "add", "web", "10.0.2.12"]).unwrap();
    site.expect(&[1, 1]);
}

/// What cannot be is refused with one line that names the object, and exit code
/// 1; what cannot be understood with 2. Nothing changes.
#[test]
fn refuses() {
    let Some(site) = Site::small(Method::Dr) else {
        return;
    };
    let mut daemon = site.start("rr", &[1, 1]);
    let before = json(&daemon, &["list"]);
    let cases = [
        (
            "service add tcp:192.0.2.10:80 -s rr",
            1,
            "service tcp:192.0.2.10:80 exists already",
        ),
        ("service add tcp:192.0.2.11:80 -s rr --name web", 1, "web"),
        ("service add tcp:192.0.2.11:80 -s rrr", 1, "rrr"),
        (
            "service delete tcp:192.0.2.10:81",
            1,
            "no service tcp:192.0.2.10:81; did you mean",
        ),
        ("service show wab", 1, "no service wab; did you mean web?"),
        (
            "real add web 10.0.2.11",
            1,
            "real 10.0.2.11:80 exists already",
        ),
        ("real add web 10.0.2.13:8080", 1, "10.0.2.13:8080"),
        ("real edit web 10.0.2.13 -w 1", 1, "no real 10.0.2.13:80"),
        ("real delete web 10.0.2.13", 1, "no real 10.0.2.13:80"),
        ("service frobnicate", 2, "frobnicate"),
        ("real add web 10.0.2.999", 2, "10.0.2.999"),
        ("real edit web 10.0.2.11 -w 70000", 2, "70000"),
        ("real edit web 10.0.2.11", 2, "nothing to change"),
    ];
    for (line, code, part) in cases {
        let arguments: Vec<_> = line.split(' ').collect();
        let (exit, said) = refused(&daemon, &arguments);
        assert_eq!(exit, code, "{line}: {said}");
        assert!(said.contains(part), "{line}: {said}");
        if code == 1 {
            assert!(
                said.starts_with("lbctl: ") && said.lines().count() == 1,
                "{line}: {said}"
            );
        }
    }
    assert_eq!(json(&daemon, &["list"]), before);
    site.expect(&[2, 2]);

    let socket = daemon.socket();
    daemon.kill();
    let (exit, said) = refused(&daemon, &["status"]);
    assert_eq!(exit, 1, "{said}");
    assert!(said.contains(&socket.display().to_string()), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// `status` and the API itself, by curl, as the documents promise.
#[test]
fn status_and_api() {
    let Some(site) = Site::small(Method::Dr) else {
        return;
    };
    let daemon = site.start("rr", &[1, 1]);
    let status = json(&daemon, &["status"]);
    let interfaces =
        json!([{"name": "eth0", "mode": "native"}, {"name": "eth1", "mode": "native"}]);
    assert_eq!(status["interfaces"], interfaces);
    // The far ends of the cables run a program: nothing to warn of.
    assert_eq!(status["warnings"], json!([]));
    assert_eq!(status["unresolved"], json!([]));
    assert_eq!(status["tables"][0]["capacity"], 16384);
    let page = daemon.lbctl(&["status"]).unwrap();
    assert!(page.contains("eth1  native"), "{page}");

    let mut curl = site.network.director.command("curl");
    curl.args(["--disable", "--silent", "--unix-socket"]);
    curl.arg(daemon.socket());
    curl.arg("http://lbd/v1/services/web");
    let answer: serde_json::Value =
        serde_json::from_str(&process::output(&mut curl).unwrap()).unwrap();
    assert_eq!(answer, json(&daemon, &["service", "show", "web"]));
}

/// Weight 0: no new connections, and those that are there go on.
fn quiesces(method: Method) {
    let Some(site) = Site::small(method) else {
        return;
    };
    let network = &site.network;
    let client = &network.clients[0];
    trickle::publish(network, &site.servers).unwrap();
    let daemon = site.start("rr", &[1, 1]);
    let download = Trickle::start(network, client).unwrap();
    let mut others = Conversation::open(client, network.vip(), PORT).unwrap();
    assert_eq!(others.ask().unwrap(), "real2");
    assert_eq!(real(&daemon, 1)["active"], 1);

    daemon
        .lbctl(&["real", "edit", "web", "10.0.2.11", "-w", "0"])
        .unwrap();
    site.expect(&[0, 10]);
    download.check().unwrap();
    assert_eq!(real(&daemon, 1)["active"], 1);
    daemon
        .lbctl(&["real", "edit", "web", "10.0.2.12", "-w", "0"])
        .unwrap();
    assert_eq!(site.ask(1).failures, 1);
    assert_eq!(others.ask().unwrap(), "real2");

    daemon
        .lbctl(&["real", "edit", "web", "10.0.2.11", "-w", "1"])
        .unwrap();
    site.expect(&[5, 0]);
    download.finish().unwrap();
}

#[test]
fn weight_zero_quiesces_dr() {
    quiesces(Method::Dr);
}

#[test]
fn weight_zero_quiesces_nat() {
    quiesces(Method::Nat);
}

/// A deleted real finishes what it has begun, also when it comes back meanwhile;
/// with `--now` its connections are cut: the next packet gets no answer of the
/// real's any more.
fn deletes(method: Method) {
    let Some(site) = Site::small(method) else {
        return;
    };
    let network = &site.network;
    let client = &network.clients[0];
    trickle::publish(network, &site.servers).unwrap();
    let daemon = site.start("rr", &[1, 1]);
    let download = Trickle::start(network, client).unwrap();
    let mut others = Conversation::open(client, network.vip(), PORT).unwrap();
    assert_eq!(others.ask().unwrap(), "real2");
    site.expect(&[2, 2]);

    daemon
        .lbctl(&["real", "delete", "web", "10.0.2.11"])
        .unwrap();
    site.expect(&[0, 4]);
    download.check().unwrap();
    daemon.lbctl(&["real", "add", "web", "10.0.2.11"]).unwrap();
    let listed = json(&daemon, &["list"])[0]["reals"][1].clone();
    assert_eq!(listed["active"], 1, "{listed}");
    assert_eq!(listed["stats"]["connections"], 3, "{listed}");
    daemon
        .lbctl(&["real", "delete", "web", "10.0.2.11"])
        .unwrap();
    download.finish().unwrap();

    let delete = ["real", "delete", "web", "10.0.2.12", "--now"];
    daemon.lbctl(&delete).unwrap();
    wait::until("the connection to be cut", wait::START_LIMIT, || {
        others.ask().is_err()
    })
    .unwrap();
    assert_eq!(site.ask(1).failures, 1);
}

#[test]
fn delete_and_cut_dr() {
    deletes(Method::Dr);
}

#[test]
fn delete_and_cut_nat() {
    deletes(Method::Nat);
}
