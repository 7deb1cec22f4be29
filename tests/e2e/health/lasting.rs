//! What is known of reals lasts: over a reload, a restart and a kill.

use lb_tests::topology::{Family, Method, PORT};
use lb_tests::webserver::WebServer;

use super::{await_healths, check, healths};
use crate::site::{Site, run};

/// keepalived forgets what it knew at a reload: a real that is down would be up for a
/// while, and one whose check is unchanged would be asked anew.
#[test]
fn over_reloads_and_restarts() {
    let Some(mut site) = Site::small(Method::Nat) else {
        return;
    };
    let services = |weight: u32, extra: &str| {
        let web = site.web(Family::V4).scheduled("rr");
        let web = web.set(&check("type = 'http'")).set(extra);
        site.configuration(&[web]).replace(
            "address = \"10.0.2.12\"",
            &format!("weight = {weight}\naddress = \"10.0.2.12\""),
        )
    };
    let (config, heavier) = (services(1, ""), services(3, "slow_start = '1s'"));
    drop(site.servers.remove(0));
    let mut daemon = site.start_with(&config);
    await_healths(&daemon, &["down", "up"]);
    for config in [&config, &heavier] {
        daemon.reload(config).unwrap();
        assert_eq!(healths(&daemon), ["down", "up"]);
        site.expect(&[0, 4]);
    }
    daemon.restart().unwrap();
    assert_eq!(healths(&daemon), ["down", "up"]);
    site.expect(&[0, 4]);
    daemon.kill();
    daemon.restart().unwrap();
    assert_eq!(healths(&daemon), ["down", "up"]);
    site.expect(&[0, 4]);

    // It comes back though it was down before all that.
    let real = &site.network.reals[0];
    let directory = site.network.directory();
    let _server = WebServer::start(real, real.name(), PORT, directory).unwrap();
    await_healths(&daemon, &["up", "up"]);
    run(&daemon, "real state web 10.0.2.12 drain");
    site.expect(&[4, 0]);
}
