//! A real that has lost the VIP, and by tun its tunnel too, still answers at its own
//! address: only who asks by the service's address finds it out.

use lb_tests::daemon::Daemon;
use lb_tests::topology::{Family, Method};
use lb_tests::wait;

use super::{LIMIT, SOON, await_healths};
use crate::site::{Site, json};

/// The health of each check of the first real, in order.
fn of_first(daemon: &Daemon<'_>) -> Vec<String> {
    let checks = json(daemon, &["health", "web", "10.0.2.11"]);
    let checks = checks.as_array().unwrap();
    let health = checks.iter().map(|check| check["health"].as_str().unwrap());
    health.map(str::to_owned).collect()
}

fn loses_its_vip(method: Method) {
    let Some(site) = Site::small(method) else {
        return;
    };
    let network = &site.network;
    // The director has it as well.
    let vip = network.vip();
    let checks = format!(
        "health = [{{ type = 'http', {SOON} }}, {{ type = 'http', via = 'service', {SOON} }}, \
         {{ type = 'icmp', via = 'service', {SOON} }}]"
    );
    let web = site.web(Family::V4).set(&checks);
    let daemon = site.start_services(&[web]);
    await_healths(&daemon, &["up", "up"]);
    assert_eq!(of_first(&daemon), ["up", "up", "up"]);

    let real = &network.reals[0];
    let device = real.run("ip", &["-brief", "address", "show", "to", &vip.to_string()]);
    let device = device.unwrap();
    let device = device.split([' ', '@']).next().unwrap();
    let address = format!("{vip}/32 dev {device}\n");
    real.ip(&format!("address delete {address}")).unwrap();
    await_healths(&daemon, &["down", "up"]);
    assert_eq!(of_first(&daemon)[0], "up");
    site.expect(&[0, 4]);
    real.ip(&format!("address add {address}")).unwrap();
    await_healths(&daemon, &["up", "up"]);
    wait::until("all checks", LIMIT, || {
        of_first(&daemon) == ["up", "up", "up"]
    })
    .unwrap();
    site.expect(&[2, 2]);
}

#[test]
fn loses_its_vip_dr() {
    loses_its_vip(Method::Dr);
}

#[test]
fn loses_its_vip_tun() {
    loses_its_vip(Method::Tun);
}
