//! `lbctl timeouts`: what is set works at once, holds over a crash, and ends
//! with a reload.

use std::time::Duration;

use lb_tests::{daemon::Daemon, topology::Method, wait};

use crate::site::{Site, json};

/// The timeout, a walk of the table and some room.
const SWEPT: Duration = Duration::from_secs(1 + 5 + 2);

#[track_caller]
fn run(daemon: &Daemon<'_>, line: &str) -> String {
    daemon.lbctl(&line.split(' ').collect::<Vec<_>>()).unwrap()
}

#[test]
fn set_hold_and_end() {
    let Some(site) = Site::small(Method::Dr) else {
        return;
    };
    let mut daemon = site.start("rr", &[1]);
    let inactive = |daemon: &Daemon<'_>| json(daemon, &["list"])[0]["reals"][0]["inactive"].clone();
    let page = |three: &str| format!("Timeout (tcp tcpfin udp): {three}\n");
    assert_eq!(run(&daemon, "timeouts"), page("900 120 300"));
    site.expect(&[2]);
    assert_eq!(inactive(&daemon), 2);

    // Connections that are there already have it, too.
    assert_eq!(run(&daemon, "timeouts set --tcp-fin 1 --udp 0"), "");
    assert_eq!(run(&daemon, "timeouts"), page("900 1 300"));
    wait::until("closed connections to expire", SWEPT, || {
        inactive(&daemon) == 0
    })
    .unwrap();

    daemon.kill();
    daemon.restart().unwrap();
    assert_eq!(run(&daemon, "timeouts"), page("900 1 300"));
    site.expect(&[2]);
    wait::until("closed connections to expire again", SWEPT, || {
        inactive(&daemon) == 0
    })
    .unwrap();

    assert_eq!(
        run(&daemon, "reload"),
        "timeouts.tcp_fin_wait: back, as the file has it\n"
    );
    assert_eq!(run(&daemon, "timeouts"), page("900 120 300"));
    assert_eq!(run(&daemon, "reload"), "nothing changed\n");
    daemon.restart().unwrap();
    assert_eq!(run(&daemon, "timeouts"), page("900 120 300"));
    let all = json(&daemon, &["timeouts"]);
    assert_eq!(all["sctp_init_s"], 61, "{all}");
}
