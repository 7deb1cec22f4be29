//! What the director's kernel has to forward itself: nothing by dr and tun, the
//! answers by nat.

use lb_tests::daemon::Daemon;
use lb_tests::topology::{Host, Method};

use crate::site::{Site, json};

const WARNING: &str = "net.ipv4.ip_forward is off";

fn is_on(director: &Host) -> bool {
    let value = director.run("cat", &["/proc/sys/net/ipv4/ip_forward"]);
    value.unwrap().trim() == "1"
}

/// A look-up that asks the kernel for a route shows as requests without an
/// answer (`BPF_FIB_LKUP_RET_FWD_DISABLED`).
fn works_without(method: Method) {
    let Some(site) = Site::small(method) else {
        return;
    };
    assert!(!is_on(&site.network.director));
    let daemon = site.start("rr", &[1, 1]);
    site.expect(&[5, 5]);
    assert!(!daemon.log().contains("ip_forward"), "{}", daemon.log());
    assert_eq!(warnings(&daemon), 0);
}

/// How often `lbctl status` warns of it.
fn warnings(daemon: &Daemon<'_>) -> usize {
    let status = json(daemon, &["status"]);
    let warnings = status["warnings"].as_array().unwrap().iter();
    warnings
        .filter(|warning| warning.as_str().unwrap().starts_with(WARNING))
        .count()
}

#[test]
fn dr_works_without() {
    works_without(Method::Dr);
}

#[test]
fn tun_works_without() {
    works_without(Method::Tun);
}

/// By nat its absence is said once, however often the configuration is read, and
/// as long as it lasts in `lbctl status`. A warning that is missing leaves the
/// operator with connections that hang; one that comes again and again hides others.
#[test]
fn nat_says_that_it_is_off() {
    let Some(site) = Site::small(Method::Nat) else {
        return;
    };
    let director = &site.network.director;
    director.sysctl("net/ipv4/ip_forward", "0").unwrap();
    let config = site.config("rr", &[1, 1]);
    let mut daemon = site.start_with(&config);
    daemon.reload(&config).unwrap();
    daemon
        .lbctl(&["real", "edit", "web", "10.0.2.11", "-w", "2"])
        .unwrap();
    let lines = |log: String| log.lines().filter(|line| line.contains(WARNING)).count();
    assert_eq!(lines(daemon.log()), 1, "{}", daemon.log());
    assert_eq!(warnings(&daemon), 1);
    let page = daemon.lbctl(&["status"]).unwrap();
    assert!(page.contains(WARNING), "{page}");

    director.sysctl("net/ipv4/ip_forward", "1").unwrap();
    daemon.reload(&config).unwrap();
    site.expect(&[5, 5]);
    assert_eq!(warnings(&daemon), 0);
    assert_eq!(lines(daemon.log()), 1, "{}", daemon.log());
}
