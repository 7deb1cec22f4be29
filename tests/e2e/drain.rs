//! Taking a real out and back by `lbctl real state`: what goes on, who still comes.

use std::net::IpAddr;

use lb_tests::daemon::Daemon;
use lb_tests::http;
use lb_tests::service::Service;
use lb_tests::topology::{Family, Host, Method, PORT, Spec};
use lb_tests::trickle::{self, Trickle};

use crate::site::{Site, json, real, run, with_option};

/// Downloads at once, half of them from the real that is taken out.
const DOWNLOADS: usize = 20;

/// A cut or a moved connection shows as a download that fails or whose bytes are
/// wrong, a real that is picked in spite of its state as an answer of real1.
fn downloads(method: Method) {
    let Some(site) = Site::small(method) else {
        return;
    };
    let network = &site.network;
    trickle::publish_small(network, &site.servers).unwrap();
    let config = site.config("rr", &[1, 1]);
    let mut daemon = site.start_with(&config);
    let start = |_| Trickle::start(network, &network.clients[0]).unwrap();
    let downloads: Vec<_> = (0..DOWNLOADS).map(start).collect();

    run(&daemon, "real state web 10.0.2.11 drain");
    site.expect(&[0, 3]);
    daemon.restart().unwrap();
    assert_eq!(real(&daemon, 1)["state"], "drain");
    site.expect(&[0, 3]);
    daemon.reload(&config).unwrap();
    assert_eq!(real(&daemon, 1)["state"], "drain");
    site.expect(&[0, 3]);
    run(&daemon, "real state web 10.0.2.11 maint");
    site.expect(&[0, 3]);
    daemon.reload(&config).unwrap();
    assert_eq!(real(&daemon, 1)["state"], "maint");
    site.expect(&[0, 3]);
    let taken = real(&daemon, 1);
    assert_eq!(
        (&taken["active"], &taken["weight"]),
        (&10.into(), &1.into())
    );

    for download in &downloads {
        download.check().unwrap();
    }
    for download in downloads {
        download.finish().unwrap();
    }
    run(&daemon, "real state web 10.0.2.11 ready");
    site.expect(&[3, 3]);
}

#[test]
fn downloads_dr() {
    downloads(Method::Dr);
}

#[test]
fn downloads_nat() {
    downloads(Method::Nat);
}

#[test]
fn downloads_tun() {
    downloads(Method::Tun);
}

fn name_of(family: Family) -> &'static str {
    match family {
        Family::V4 => "web",
        Family::V6 => "web6",
    }
}

/// Services of both families, whose clients are persistent.
fn persistent(site: &Site) -> String {
    let services = Family::BOTH.map(|family| {
        let (name, network) = (name_of(family), &site.network);
        let method = network.spec().method;
        let vip = network.vip_in(family);
        Service::new(name, "tcp", vip, PORT, method.name())
            .with("persistence = { timeout = \"5m\" }")
            .reals(&network.reals, family, method)
    });
    site.configuration(&services)
}

/// Where each of the clients gets to.
#[track_caller]
fn reals_of(site: &Site, family: Family, clients: &[Host]) -> Vec<String> {
    let ask = |client: &Host| http::get(client, &site.network.url_in(family, "")).unwrap();
    clients.iter().map(ask).collect()
}

/// Of the first real, in both services.
#[track_caller]
fn set_state(daemon: &Daemon<'_>, site: &Site, state: &str) {
    for family in Family::BOTH {
        let service = name_of(family);
        let real = match site.network.reals[0].address_in(family) {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        run(daemon, &format!("real state {service} {real} {state}"));
    }
}

/// A client that drain sends away, or maint does not, shows as the other real's
/// answer; a template that outlives maint as a client that goes back to the real.
#[test]
fn persistent_clients() {
    let Some(site) = Site::create(&Spec {
        method: Method::Nat,
        native: true,
        clients: 5,
        reals: 2,
        ..Spec::default()
    }) else {
        return;
    };
    let clients = &site.network.clients;
    let config = persistent(&site);
    let mut daemon = site.start_with(&config);
    for family in Family::BOTH {
        assert_eq!(
            reals_of(&site, family, &clients[..3]),
            ["real1", "real2", "real1"]
        );
    }
    set_state(&daemon, &site, "drain");
    for family in Family::BOTH {
        let reals = reals_of(&site, family, &clients[..4]);
        assert_eq!(reals, ["real1", "real2", "real1", "real2"], "{family:?}");
    }

    // Those who may go, go: the first client asks while it has to, the third later.
    daemon
        .reload(&with_option(&config, "expire_quiescent = true"))
        .unwrap();
    for family in Family::BOTH {
        assert_eq!(reals_of(&site, family, &clients[..2]), ["real2", "real2"]);
    }
    daemon.reload(&config).unwrap();
    for family in Family::BOTH {
        assert_eq!(
            reals_of(&site, family, &clients[..3]),
            ["real2", "real2", "real1"]
        );
    }
    set_state(&daemon, &site, "maint");
    for family in Family::BOTH {
        assert_eq!(reals_of(&site, family, clients), ["real2"; 5], "{family:?}");
    }
    assert_eq!(json(&daemon, &["list"])[0]["reals"][0]["state"], "maint");
    set_state(&daemon, &site, "ready");
    for family in Family::BOTH {
        assert_eq!(reals_of(&site, family, clients), ["real2"; 5], "{family:?}");
    }
}

/// Back to ready, new clients come again, persistent or not.
#[test]
fn back_again() {
    let Some(site) = Site::create(&Spec {
        method: Method::Tun,
        native: true,
        clients: 4,
        reals: 2,
        ..Spec::default()
    }) else {
        return;
    };
    let clients = &site.network.clients;
    let daemon = site.start_with(&persistent(&site));
    set_state(&daemon, &site, "maint");
    for family in Family::BOTH {
        assert_eq!(reals_of(&site, family, &clients[..2]), ["real2", "real2"]);
    }
    set_state(&daemon, &site, "ready");
    for family in Family::BOTH {
        let mut reals = reals_of(&site, family, &clients[2..]);
        reals.sort_unstable();
        assert_eq!(reals, ["real1", "real2"], "{family:?}");
    }
}
