//! The next-hop resolver against a real kernel: a director and a real server
//! in namespaces of their own, a veth pair between them.

mod network;

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    net::IpAddr,
    process::Command,
    time::Duration,
};

use lb_common::real::Egress;
use lb_daemon::net::{
    NetError,
    hops::{Change, Hop, Hops, Reason, Resolution},
    link::{self, LinkWarning},
    ownership,
};
use tokio::{sync::mpsc, time::timeout};

use network::{Network, in_network, ip, ip_batch, sysctl};

/// Neighbours take three seconds to fail; a busy machine may double that.
const PATIENCE: Duration = Duration::from_secs(15);
/// Long enough for a wrong change to show.
const QUIET: Duration = Duration::from_millis(500);

const DIRECTOR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xd];
const REAL_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const NEW_REAL_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// The resolver, and what it has told.
struct Watched {
    hops: Hops,
    changes: mpsc::Receiver<Vec<Change>>,
    told: HashMap<IpAddr, Resolution>,
}

impl Watched {
    async fn start(addresses: &[&str]) -> Self {
        let (hops, changes) = Hops::start().unwrap();
        hops.watch(set(addresses)).await;
        Self {
            hops,
            changes,
            told: HashMap::new(),
        }
    }

    /// Reads changes until the last about `address` is `wanted`.
    async fn until(&mut self, address: &str, wanted: Resolution) {
        let address = address.parse::<IpAddr>().unwrap();
        let mut seen = Vec::new();
        let find = async {
            while self.told.get(&address) != Some(&wanted) {
                let news = self.changes.recv().await.expect("the resolver has ended");
                let told = news.iter().map(|c| (c.address, c.resolution.clone()));
                self.told.extend(told);
                seen.extend(news);
            }
        };
        let found = timeout(PATIENCE, find).await;
        assert!(
            found.is_ok(),
            "wanted {wanted:?} for {address}, saw {seen:?}"
        );
    }

    async fn expect_quiet(&mut self) {
        if let Ok(changes) = timeout(QUIET, self.changes.recv()).await {
            panic!("unexpected: {changes:?}");
        }
    }
}

fn set(addresses: &[&str]) -> HashSet<IpAddr> {
    addresses.iter().map(|a| a.parse().unwrap()).collect()
}

fn hop_to(destination_mac: [u8; 6], local_address: &str) -> Resolution {
    let ifindex = ip("-o link show dev lan");
    let ifindex = ifindex.split(':').next().unwrap().parse().unwrap();
    Resolution::Resolved(Hop {
        destination_mac,
        source_mac: DIRECTOR_MAC,
        // No VLAN interface on it: tags are left alone.
        egress: Egress {
            ifindex,
            ..Egress::default()
        },
        mtu: 1500,
        local_address: local_address.parse().unwrap(),
    })
}

fn unresolved(reason: Reason) -> Resolution {
    Resolution::Unresolved(reason)
}

/// Waits until `ip neigh` shows what is wanted of a neighbour.
async fn until_neighbour(address: &str, wanted: impl Fn(&str) -> bool) {
    let command = format!("neigh show {address} dev lan nud all");
    let find = async {
        while !wanted(&ip(&command)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let found = timeout(PATIENCE, find).await;
    assert!(found.is_ok(), "neighbour {address} is {:?}", ip(&command));
}

fn assert_is<T: Debug + PartialEq>(found: Option<&T>, wanted: &T) {
    assert_eq!(found, Some(wanted));
}

#[test]
fn resolves_at_the_start_and_says_why_it_cannot() {
    in_network(|| async {
        let _network = Network::new();
        ip("route add 198.51.100.0/24 via 192.0.2.2 mtu 1400");
        ip("route add 203.0.113.9/32 dev lo");
        let (hops, _changes) = Hops::start().unwrap();
        let addresses = [
            "192.0.2.2",
            "2001:db8::2",
            "198.51.100.7",
            "192.0.2.1",
            "192.0.2.99",
            "203.0.113.8",
            "203.0.113.9",
        ];
        let found = hops.resolve_now(set(&addresses), PATIENCE).await;
        let of = |address: &str| found.get(&address.parse::<IpAddr>().unwrap());
        assert_is(of("192.0.2.2"), &hop_to(REAL_MAC, "192.0.2.1"));
        assert_is(of("2001:db8::2"), &hop_to(REAL_MAC, "2001:db8::1"));
        let gateway = of("198.51.100.7").and_then(Resolution::hop).unwrap();
        assert_eq!(gateway.destination_mac, REAL_MAC);
        assert_eq!(gateway.mtu, 1400);
        assert_is(of("192.0.2.1"), &unresolved(Reason::Local));
        assert_is(of("192.0.2.99"), &unresolved(Reason::NeighbourFailed));
        assert_is(of("203.0.113.8"), &unresolved(Reason::NoRoute));
        let name = "lo".into();
        assert_is(of("203.0.113.9"), &unresolved(Reason::NoLinkLayer { name }));
    });
}

#[test]
fn ipv6_says_why_it_cannot_too() {
    in_network(|| async {
        let network = Network::new();
        let gateway = network.link_local();
        ip(&format!(
            "route add 2001:db8:1::/64 via {gateway} dev lan mtu 1400"
        ));
        ip("route add 2001:db8:2::/64 via 2001:db8::2");
        ip("route add unreachable 2001:db8:3::/64");
        let (hops, _changes) = Hops::start().unwrap();
        let addresses = [
            "2001:db8:1::7",
            "2001:db8:2::7",
            "2001:db8:3::7",
            "2001:db8:4::7",
            "2001:db8::1",
            "2001:db8::99",
            "ff02::1",
        ];
        let found = hops.resolve_now(set(&addresses), PATIENCE).await;
        let of = |address: &str| found.get(&address.parse::<IpAddr>().unwrap());
        let by_link_local = of("2001:db8:1::7").and_then(Resolution::hop).unwrap();
        assert_eq!(by_link_local.destination_mac, REAL_MAC);
        assert_eq!(by_link_local.mtu, 1400);
        assert_is(of("2001:db8:2::7"), &hop_to(REAL_MAC, "2001:db8::1"));
        assert_is(of("2001:db8:3::7"), &unresolved(Reason::NoRoute));
        assert_is(of("2001:db8:4::7"), &unresolved(Reason::NoRoute));
        assert_is(of("2001:db8::1"), &unresolved(Reason::Local));
        assert_is(of("2001:db8::99"), &unresolved(Reason::NeighbourFailed));
        assert_is(of("ff02::1"), &unresolved(Reason::NotUnicast));
    });
}

#[test]
fn an_ipv6_gateway_leads_to_ipv4_reals() {
    in_network(|| async {
        let network = Network::new();
        let gateway = network.link_local();
        ip(&format!(
            "route add 198.51.100.0/24 via inet6 {gateway} dev lan"
        ));
        let mut watched = Watched::start(&["198.51.100.7"]).await;
        watched
            .until("198.51.100.7", hop_to(REAL_MAC, "192.0.2.1"))
            .await;
    });
}

#[test]
fn ipv6_has_an_mtu_of_its_own() {
    in_network(|| async {
        let _network = Network::new();
        sysctl("net/ipv6/conf/lan/mtu", "1300");
        // What makes the kernel tell of the interface again.
        ip("link set lan txqueuelen 500");
        let (hops, _changes) = Hops::start().unwrap();
        let addresses = ["192.0.2.2", "2001:db8::2"];
        let found = hops.resolve_now(set(&addresses), PATIENCE).await;
        let mtu = |address: &str| {
            let resolution = found.get(&address.parse::<IpAddr>().unwrap());
            resolution.and_then(Resolution::hop).unwrap().mtu
        };
        assert_eq!((mtu("192.0.2.2"), mtu("2001:db8::2")), (1500, 1300));
    });
}

#[test]
fn a_flushed_neighbour_stays_resolved_and_heals() {
    in_network(|| async {
        let _network = Network::new();
        let mut watched = Watched::start(&["192.0.2.2"]).await;
        watched
            .until("192.0.2.2", hop_to(REAL_MAC, "192.0.2.1"))
            .await;
        for _ in 0..5 {
            ip("neigh flush dev lan");
            until_neighbour("192.0.2.2", |shown| shown.contains("REACHABLE")).await;
        }
        watched.expect_quiet().await;
    });
}

#[test]
fn a_real_that_vanishes_behind_a_flush_fails_and_comes_back() {
    in_network(|| async {
        let network = Network::new();
        let mut watched = Watched::start(&["192.0.2.2"]).await;
        watched
            .until("192.0.2.2", hop_to(REAL_MAC, "192.0.2.1"))
            .await;
        ip(&network.on_real("addr del 192.0.2.2/24 dev lan"));
        ip("neigh flush dev lan");
        let failed = unresolved(Reason::NeighbourFailed);
        watched.until("192.0.2.2", failed).await;
        ip(&network.on_real("addr add 192.0.2.2/24 dev lan"));
        watched.hops.probe("192.0.2.2".parse().unwrap());
        watched
            .until("192.0.2.2", hop_to(REAL_MAC, "192.0.2.1"))
            .await;
    });
}

#[test]
fn an_ipv6_real_that_vanishes_fails_and_comes_back() {
    in_network(|| async {
        let network = Network::new();
        let mut watched = Watched::start(&["2001:db8::2"]).await;
        let resolved = hop_to(REAL_MAC, "2001:db8::1");
        watched.until("2001:db8::2", resolved.clone()).await;
        for _ in 0..3 {
            ip("-6 neigh flush dev lan");
            until_neighbour("2001:db8::2", |shown| shown.contains("REACHABLE")).await;
        }
        watched.expect_quiet().await;
        ip(&network.on_real("addr del 2001:db8::2/64 dev lan"));
        ip("-6 neigh flush dev lan");
        let failed = unresolved(Reason::NeighbourFailed);
        watched.until("2001:db8::2", failed).await;
        ip(&network.on_real("addr add 2001:db8::2/64 dev lan nodad"));
        // What a packet that finds no next hop brings about.
        watched.hops.probe("2001:db8::2".parse().unwrap());
        watched.until("2001:db8::2", resolved).await;
    });
}

#[test]
fn a_new_mac_of_the_real_is_told() {
    in_network(|| async {
        let network = Network::new();
        let mut watched = Watched::start(&["192.0.2.2", "2001:db8::2"]).await;
        watched
            .until("192.0.2.2", hop_to(REAL_MAC, "192.0.2.1"))
            .await;
        watched
            .until("2001:db8::2", hop_to(REAL_MAC, "2001:db8::1"))
            .await;
        // Announces its new address by gratuitous ARP and unsolicited neighbour
        // advertisements, as a failover does.
        for setting in ["ipv4/conf/lan/arp_notify", "ipv6/conf/lan/ndisc_notify"] {
            let notify = format!("echo 1 > /proc/sys/net/{setting}");
            let status = Command::new("ip")
                .args(["netns", "exec", &network.real, "sh", "-c", &notify])
                .status();
            assert!(status.unwrap().success());
        }
        ip(&network.on_real("link set lan address 02:00:00:00:00:02"));
        watched
            .until("192.0.2.2", hop_to(NEW_REAL_MAC, "192.0.2.1"))
            .await;
        watched
            .until("2001:db8::2", hop_to(NEW_REAL_MAC, "2001:db8::1"))
            .await;
    });
}

#[test]
fn an_interface_that_is_deleted_and_made_again_is_told_and_heals() {
    in_network(|| async {
        let network = Network::new();
        let mut watched = Watched::start(&["192.0.2.2", "2001:db8::2"]).await;
        let mut links = watched.hops.links();
        for (real, director) in [("192.0.2.2", "192.0.2.1"), ("2001:db8::2", "2001:db8::1")] {
            watched.until(real, hop_to(REAL_MAC, director)).await;
        }
        let former = links.borrow_and_update().named("lan").unwrap().index;
        ip("link del lan");
        for real in ["192.0.2.2", "2001:db8::2"] {
            watched.until(real, unresolved(Reason::NoRoute)).await;
        }
        let gone = links.wait_for(|links| links.named("lan").is_none());
        assert!(timeout(PATIENCE, gone).await.is_ok());
        network.connect();
        for (real, director) in [("192.0.2.2", "192.0.2.1"), ("2001:db8::2", "2001:db8::1")] {
            watched.hops.probe(real.parse().unwrap());
            watched.until(real, hop_to(REAL_MAC, director)).await;
        }
        let back =
            links.wait_for(|links| links.named("lan").is_some_and(|lan| lan.index != former));
        assert!(timeout(PATIENCE, back).await.is_ok());
    });
}

#[test]
fn a_link_down_at_either_end_is_told_and_heals() {
    in_network(|| async {
        let network = Network::new();
        let mut watched = Watched::start(&["192.0.2.2"]).await;
        let resolved = hop_to(REAL_MAC, "192.0.2.1");
        let name = String::from("lan");
        let down = unresolved(Reason::InterfaceDown { name });
        watched.until("192.0.2.2", resolved.clone()).await;
        for side in [String::new(), network.on_real("")] {
            ip(&format!("{side} link set lan down"));
            watched.until("192.0.2.2", down.clone()).await;
            ip(&format!("{side} link set lan up"));
            watched.until("192.0.2.2", resolved.clone()).await;
        }
    });
}

#[test]
fn a_route_that_appears_and_goes_is_followed() {
    in_network(|| async {
        let _network = Network::new();
        let mut watched = Watched::start(&["198.51.100.7"]).await;
        let no_route = unresolved(Reason::NoRoute);
        watched.until("198.51.100.7", no_route.clone()).await;
        ip("route add 198.51.100.0/24 via 192.0.2.2");
        watched
            .until("198.51.100.7", hop_to(REAL_MAC, "192.0.2.1"))
            .await;
        ip("addr add 192.0.2.3/24 dev lan");
        ip("route replace 198.51.100.0/24 via 192.0.2.2 src 192.0.2.3");
        watched
            .until("198.51.100.7", hop_to(REAL_MAC, "192.0.2.3"))
            .await;
        // Takes the route along without a route event.
        ip("addr del 192.0.2.3/24 dev lan");
        watched.until("198.51.100.7", no_route).await;
    });
}

#[test]
fn events_that_do_not_fit_the_socket_are_made_up_for() {
    in_network(|| async {
        let _network = Network::new();
        ip("addr add 192.0.2.3/24 dev lan");
        ip("route add 198.51.100.0/24 via 192.0.2.2");
        let mut watched = Watched::start(&["198.51.100.7"]).await;
        watched
            .until("198.51.100.7", hop_to(REAL_MAC, "192.0.2.1"))
            .await;
        // Nobody reads the events meanwhile: this thread runs the resolver,
        // and waits here. The socket holds some hundreds.
        let routes = (0..5000).map(|n| {
            let (high, low) = (n / 250, n % 250);
            format!("route add 203.{high}.113.{low}/32 via 192.0.2.2\n")
        });
        let last = "route replace 198.51.100.0/24 via 192.0.2.2 src 192.0.2.3\n";
        let batch: String = routes.chain([last.into()]).collect();
        ip_batch(&batch);
        watched
            .until("198.51.100.7", hop_to(REAL_MAC, "192.0.2.3"))
            .await;
    });
}

#[test]
fn an_entry_set_by_the_operator_is_left_alone() {
    in_network(|| async {
        let _network = Network::new();
        let entries = [
            ("192.0.2.50", "192.0.2.1", "permanent", "PERMANENT"),
            ("192.0.2.51", "192.0.2.1", "noarp", "NOARP"),
            ("2001:db8::50", "2001:db8::1", "permanent", "PERMANENT"),
            ("2001:db8::51", "2001:db8::1", "noarp", "NOARP"),
        ];
        for (address, _, state, _) in entries {
            ip(&format!(
                "neigh add {address} lladdr 02:00:00:00:00:02 dev lan nud {state}"
            ));
        }
        let mut watched = Watched::start(&entries.map(|(address, ..)| address)).await;
        let index = link::find("lan").await.unwrap().index;
        for (address, local, ..) in entries {
            watched.until(address, hop_to(NEW_REAL_MAC, local)).await;
            let address = address.parse().unwrap();
            watched.hops.probe(address);
            watched.hops.probe_neighbour(index, address);
        }
        watched.expect_quiet().await;
        for (address, _, _, shown) in entries {
            until_neighbour(address, |found| found.contains(shown)).await;
        }
    });
}

#[test]
fn a_clients_neighbour_is_probed_on_request() {
    in_network(|| async {
        let _network = Network::new();
        let watched = Watched::start(&[]).await;
        let index = link::find("lan").await.unwrap().index;
        for client in ["192.0.2.2", "2001:db8::2"] {
            watched.hops.probe_neighbour(index, client.parse().unwrap());
            until_neighbour(client, |shown| shown.contains("REACHABLE")).await;
        }
    });
}

#[test]
fn the_resolver_ends_with_its_receiver() {
    in_network(|| async {
        let _network = Network::new();
        let (hops, changes) = Hops::start().unwrap();
        drop(changes);
        let patience = Duration::from_secs(3600);
        let ended = hops.resolve_now(set(&["192.0.2.99"]), patience);
        let found = timeout(PATIENCE, ended)
            .await
            .expect("the resolver goes on");
        assert!(found.is_empty());
    });
}

#[test]
fn addresses_that_are_not_this_hosts_are_told_from_its_own() {
    in_network(|| async {
        let _network = Network::new();
        ip("addr add 203.0.113.1/32 dev lo");
        ip("route add local 203.0.114.0/24 dev lo");
        let own = ["192.0.2.1", "2001:db8::1", "203.0.113.1", "203.0.114.7"];
        let foreign = ["192.0.2.2", "203.0.113.2", "2001:db8::2", "2001:db8:9::1"];
        let all = own.iter().chain(&foreign).map(|a| a.parse().unwrap());
        let found = ownership::foreign(all.collect()).await.unwrap();
        let foreign: Vec<IpAddr> = foreign.iter().map(|a| a.parse().unwrap()).collect();
        assert_eq!(found, foreign);
        assert!(ownership::foreign(Vec::new()).await.unwrap().is_empty());
    });
}

#[test]
fn interfaces_are_found_by_name() {
    in_network(|| async {
        let network = Network::new();
        let lan = link::find("lan").await.unwrap();
        assert_eq!(lan.mac, Some(DIRECTOR_MAC));
        assert_eq!(lan.mtu, 1500);
        assert_eq!(lan.kind.as_deref(), Some("veth"));
        assert_eq!(link::find("lo").await.unwrap().mac, None);
        for name in ["eth9", "", "an-impossibly-long-name"] {
            let error = link::find(name).await.unwrap_err();
            assert!(matches!(error, NetError::NoInterface { .. }), "{error}");
            assert_eq!(
                error.to_string(),
                format!("interface {name} does not exist")
            );
        }
        ip(&network.on_real("link set lan down"));
        let name = String::from("lan");
        let no_carrier = Some(LinkWarning::NoCarrier { name });
        let told = async {
            while link::find("lan").await.unwrap().warning() != no_carrier {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(timeout(PATIENCE, told).await.is_ok());
    });
}
