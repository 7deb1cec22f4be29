//! Full NAT: the reals see the pool's address for a client's, so that their answers
//! come back to the director whatever their routes are.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use lb_tests::conversation::Conversation;
use lb_tests::dns::{self, NameServer};
use lb_tests::http;
use lb_tests::service::Service;
use lb_tests::topology::{Family, Method, PORT, Spec, Wiring};
use lb_tests::wait;

use serde_json::json;

use crate::site::{Site, json};

/// The pool, in the network of the director's interface `device`.
struct Pool {
    device: &'static str,
    addresses: [&'static str; 2],
}

/// How long nginx may take to write its log.
const LOGGED: Duration = Duration::from_secs(5);

const LAN: Pool = Pool {
    device: "eth0",
    addresses: ["10.0.1.250", "2001:db8:1::250"],
};
const BACK: Pool = Pool {
    device: "eth1",
    addresses: ["10.0.2.250", "2001:db8:2::250"],
};

impl Pool {
    fn address(&self, family: Family) -> &'static str {
        match family {
            Family::V4 => self.addresses[0],
            Family::V6 => self.addresses[1],
        }
    }

    /// The director gets the addresses, and answers ARP for them.
    fn assign(&self, site: &Site) {
        for family in Family::BOTH {
            let (address, bits) = (self.address(family), family.bits());
            let nodad = if family == Family::V6 { "nodad" } else { "" };
            let device = self.device;
            site.network
                .director
                .ip(&format!(
                    "address add {address}/{bits} dev {device} {nodad}\n"
                ))
                .unwrap();
        }
    }

    fn service(
        &self,
        site: &Site,
        name: &str,
        protocol: &str,
        family: Family,
        port: u16,
    ) -> Service {
        let network = &site.network;
        Service::new(name, protocol, network.vip_in(family), port, "nat")
            .with(&format!("masquerade = [\"{}\"]", self.address(family)))
            .reals(&network.reals, family, Method::Nat)
    }

    /// Web services of both families.
    fn web(&self, site: &Site) -> [Service; 2] {
        [("web", Family::V4), ("web6", Family::V6)]
            .map(|(name, family)| self.service(site, name, "tcp", family, PORT))
    }
}

/// Who asked, as the reals saw it: address and port of each connection of `family`.
fn askers(site: &Site, family: Family) -> Vec<(String, String, String)> {
    let mut askers = Vec::new();
    for server in &site.servers {
        for request in server.requests() {
            let mut words = request.split_whitespace().map(str::to_owned);
            let (address, port) = (words.next().unwrap(), words.next().unwrap());
            if address.contains(':') == (family == Family::V6) {
                askers.push((server.name().to_owned(), address, port));
            }
        }
    }
    askers
}

/// On one wire the reals are the clients' neighbours, and answer a client's address
/// directly: without masquerade no client gets an answer from the VIP. A client that is
/// a real itself may even get itself.
#[test]
fn one_armed_and_hairpin() {
    let Some(site) = Site::create(&Spec {
        method: Method::Nat,
        wiring: Wiring::OneArmed,
        native: true,
        ..Spec::default()
    }) else {
        return;
    };
    let network = &site.network;
    LAN.assign(&site);
    let daemon = site.start_services(&LAN.web(&site));
    for family in Family::BOTH {
        site.expect_in(family, &[5, 5, 5]);
        let url = network.url_in(family, "");
        for real in &network.reals {
            let tally = http::get_many(real, &url, 6).unwrap();
            assert_eq!(tally.by_real(3), [2, 2, 2], "{}: {tally}", real.name());
        }
        let askers = askers(&site, family);
        assert_eq!(askers.len(), 15 + 3 * 6);
        for (_, address, port) in &askers {
            assert_eq!(address, LAN.address(family));
            assert!(port.parse::<u16>().unwrap() >= 1024, "{port}");
        }
    }
    let sent: u64 = (0..2)
        .map(|service| {
            json(&daemon, &["list"])[service]["stats"]["out_packets"]
                .as_u64()
                .unwrap()
        })
        .sum();
    assert!(sent > 0);
    let file = site.payload(4 << 20);
    for family in Family::BOTH {
        site.transfer(family, &file);
    }
}

/// With two arms, the reals' default route leads past the director. Many connections at
/// once: each (address, port) that a real sees is one connection; a port that is given
/// twice shows as an answer that is mixed up or missing.
#[test]
fn many_at_once() {
    const CONNECTIONS: usize = 150;
    let Some(site) = Site::create(&Spec {
        method: Method::Nat,
        native: true,
        clients: 2,
        reals: 2,
        ..Spec::default()
    }) else {
        return;
    };
    let network = &site.network;
    BACK.assign(&site);
    for real in &network.reals {
        real.ip("route replace default via 10.0.2.254\nroute replace ::/0 via 2001:db8:2::254\n")
            .unwrap();
    }
    let daemon = site.start_services(&BACK.web(&site));
    // lbd does not wait for neighbours that are slow to answer.
    wait::until("next hops", wait::START_LIMIT, || {
        json(&daemon, &["status"])["unresolved"] == json!([])
    })
    .unwrap();
    thread::scope(|scope| {
        for family in Family::BOTH {
            for client in &network.clients {
                scope.spawn(move || {
                    let vip = network.vip_in(family);
                    let open = |_| Conversation::open(client, vip, PORT).unwrap();
                    let mut held: Vec<_> = (0..CONNECTIONS).map(open).collect();
                    let ask = |one: &mut Conversation| one.ask().unwrap();
                    let first: Vec<_> = held.iter_mut().map(ask).collect();
                    let again: Vec<_> = held.iter_mut().map(ask).collect();
                    assert_eq!(first, again);
                });
            }
        }
    });
    for family in Family::BOTH {
        // nginx writes a line when its answer is gone.
        let expected = 2 * 2 * CONNECTIONS;
        wait::until("every line of the logs", LOGGED, || {
            askers(&site, family).len() >= expected
        })
        .unwrap();
        let askers = askers(&site, family);
        assert_eq!(askers.len(), expected);
        let distinct: BTreeSet<_> = askers.iter().collect();
        assert_eq!(distinct.len(), 2 * CONNECTIONS);
        assert!(
            askers
                .iter()
                .all(|(_, address, _)| address == BACK.address(family))
        );
    }
    let drops = json(&daemon, &["status"])["drops"].clone();
    assert!(
        drops.as_object().unwrap().values().all(|count| count == 0),
        "{drops}"
    );
}

/// UDP, with name servers.
#[test]
fn datagrams() {
    let Some(site) = Site::create(&Spec {
        method: Method::Nat,
        wiring: Wiring::OneArmed,
        reals: 2,
        ..Spec::default()
    }) else {
        return;
    };
    let network = &site.network;
    LAN.assign(&site);
    let servers: Vec<_> = network
        .reals
        .iter()
        .map(|real| NameServer::start(real, real.name(), network.directory()).unwrap())
        .collect();
    let services = [("dns", Family::V4), ("dns6", Family::V6)]
        .map(|(name, family)| LAN.service(&site, name, "udp", family, dns::PORT));
    let _daemon = site.start_services(&services);
    for family in Family::BOTH {
        for asker in [&network.clients[0], &network.reals[0]] {
            let tally = dns::ask_many(asker, network.vip_in(family), 10).unwrap();
            assert_eq!(
                tally.by_real(2),
                [5, 5],
                "{family:?} {}: {tally}",
                asker.name()
            );
        }
    }
    assert_eq!(servers.len(), 2);
}
