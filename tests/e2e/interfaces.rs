//! The director's interfaces come and go, and are not always lbd's alone.

use std::time::Duration;

use lb_tests::conversation::Conversation;
use lb_tests::daemon::Daemon;
use lb_tests::topology::{Method, PORT, Spec};
use lb_tests::wait;
use lb_tests::xdp_pass::XdpPass;

use crate::site::{Site, json};

/// The daemon watches, and retries at times.
const HEALED: Duration = Duration::from_secs(20);

fn site(method: Method) -> Option<Site> {
    // Generic: the far ends of re-made interfaces would need programs of their own.
    Site::create(&Spec {
        method,
        reals: 2,
        ..Spec::default()
    })
}

/// The warnings of `lbctl status` that name this interface.
fn warnings(daemon: &Daemon<'_>, interface: &str) -> Vec<String> {
    let status = json(daemon, &["status"]);
    let warnings = status["warnings"].as_array().unwrap().iter();
    warnings
        .map(|warning| warning.as_str().unwrap().to_owned())
        .filter(|warning| warning.contains(interface))
        .collect()
}

/// An interface that is deleted is named as missing; made again, it gets its program
/// back, and the reals behind it are found by its new number. A daemon that does not look
/// shows as requests without an answer for ever.
fn made_again(method: Method) {
    let Some(site) = site(method) else { return };
    let network = &site.network;
    let daemon = site.start("rr", &[1, 1]);
    let mut held = Conversation::open(&network.clients[0], network.vip(), PORT).unwrap();
    let name = held.ask().unwrap();
    for (arm, interface) in network.interfaces().iter().enumerate() {
        network
            .director
            .ip(&format!("link delete {interface}\n"))
            .unwrap();
        wait::until("a warning", HEALED, || {
            !warnings(&daemon, interface).is_empty()
        })
        .unwrap();
        network.connect_director(arm).unwrap();
        // The new one has another MAC address, and nothing tells its neighbours so.
        for host in network.clients.iter().chain(&network.reals) {
            host.ip("neighbour flush all\n").unwrap();
        }
        wait::until("requests to be answered", HEALED, || {
            site.ask(2).failures == 0
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", daemon.log()));
        assert_eq!(held.ask().unwrap(), name);
        wait::until("no warning", HEALED, || {
            warnings(&daemon, interface).is_empty()
        })
        .unwrap();
        let links = network
            .director
            .run("ip", &["link", "show", interface])
            .unwrap();
        assert!(links.contains("xdp"), "{links}");
        let log = daemon.log();
        let about = |line: &&str| line.contains("WARN") && line.contains(interface);
        assert!(log.lines().any(|line| about(&line)), "{log}");
    }
    let tally = site.ask(10);
    assert_eq!(tally.by_real(2), [5, 5], "{tally}");
}

#[test]
fn made_again_dr() {
    made_again(Method::Dr);
}

#[test]
fn made_again_nat() {
    made_again(Method::Nat);
}

/// An interface that comes back with another program on it is not taken over: said in the
/// log and in `status`, until the other one goes.
#[test]
fn made_again_with_another_program() {
    let Some(site) = site(Method::Dr) else { return };
    let network = &site.network;
    let director = &network.director;
    let daemon = site.start("rr", &[1, 1]);
    director.ip("link delete eth0\n").unwrap();
    // Under another name first, so that the other program is there before lbd looks.
    director
        .ip("link add spare type veth peer name far\nlink set far up\nlink set spare up\n")
        .unwrap();
    let other = XdpPass::attach(director, "spare").unwrap();
    director
        .ip("link set spare down\nlink set spare name eth0\nlink set eth0 up\n")
        .unwrap();
    let refused = "another XDP program is attached";
    wait::until("a refusal", HEALED, || {
        warnings(&daemon, "eth0")
            .iter()
            .any(|warning| warning.contains(refused))
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", daemon.log()));
    assert!(daemon.log().contains(refused), "{}", daemon.log());
    drop(other);
    wait::until("lbd to attach", HEALED, || {
        warnings(&daemon, "eth0").is_empty()
    })
    .unwrap();
    let links = director.run("ip", &["link", "show", "eth0"]).unwrap();
    assert!(links.contains("xdp"), "{links}");
}

/// A start in native mode on a data plane in generic mode that fails, at an interface
/// that somebody else has: forwarding goes on, and the next start takes over. Interfaces
/// that were left without a program show as requests without an answer.
#[test]
fn a_start_in_another_mode_that_fails() {
    let Some(site) = site(Method::Dr) else { return };
    let director = &site.network.director;
    director
        .ip("link add spare type veth peer name other\nlink set spare up\nlink set other up\n")
        .unwrap();
    let _other = XdpPass::attach(director, "spare").unwrap();
    let config = site.config("rr", &[1, 1]);
    let mut daemon = site.start_with(&config);
    site.expect(&[2, 2]);
    daemon.kill();
    std::fs::remove_file(daemon.socket()).unwrap();
    let failing = config
        .replace("xdp_mode = \"generic\"", "xdp_mode = \"native\"")
        .replace("\"eth1\"]", "\"eth1\", \"spare\"]");
    let (status, said) = Daemon::fail_to_start(&site.network, &site.binaries, &failing).unwrap();
    let refusal = "lbd: interface spare: another XDP program is attached";
    assert!(said.starts_with(refusal), "{said}");
    assert_eq!(
        (status.code(), said.lines().count()),
        (Some(1), 1),
        "{said}"
    );
    for interface in ["eth0", "eth1"] {
        let link = director.run("ip", &["link", "show", interface]).unwrap();
        assert!(link.contains("xdpgeneric"), "{link}");
    }
    site.expect(&[2, 2]);
    daemon.restart().unwrap();
    assert!(daemon.log().contains("adopted=true"), "{}", daemon.log());
    site.expect(&[2, 2]);
}

/// Reals behind an interface that is not lbd's: said in the log and in `status`, since
/// many drivers send nothing for others' programs, and answers by nat pass untranslated.
#[test]
fn egress_that_is_not_listed() {
    let Some(site) = site(Method::Dr) else { return };
    let config = site.config("rr", &[1, 1]);
    let less = config.replace(r#"["eth0", "eth1"]"#, r#"["eth0"]"#);
    assert_ne!(less, config);
    let mut daemon = site.start_with(&less);
    site.expect(&[5, 5]);
    wait::until("a warning", HEALED, || warnings(&daemon, "eth1").len() == 1).unwrap();
    let about = |line: &&str| line.contains("WARN") && line.contains("eth1");
    assert_eq!(
        daemon.log().lines().filter(about).count(),
        1,
        "{}",
        daemon.log()
    );
    let page = daemon.lbctl(&["status"]).unwrap();
    assert!(page.contains("eth1"), "{page}");

    daemon.reload(&config).unwrap();
    wait::until("no warning", HEALED, || {
        warnings(&daemon, "eth1").is_empty()
    })
    .unwrap();
    site.expect(&[5, 5]);
}
