//! The next-hop resolver against a real kernel: a director and a real server
//! in namespaces of their own, a veth pair between them.

use std::{
    collections::HashSet,
    fmt::Debug,
    io::Write,
    net::IpAddr,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use lb_daemon::net::{
    NetError,
    hops::{Change, Hop, Hops, Reason, Resolution},
    link::{self, LinkWarning},
};
use nix::sched::{CloneFlags, unshare};
use tokio::{sync::mpsc, time::timeout};

/// Neighbours take three seconds to fail; a busy machine may double that.
const PATIENCE: Duration = Duration::from_secs(15);
/// Long enough for a wrong change to show.
const QUIET: Duration = Duration::from_millis(500);

const DIRECTOR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xd];
const REAL_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const NEW_REAL_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// The calling thread is the director; the real server's namespace goes away
/// with this value.
struct Network {
    real: String,
}

impl Network {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        unshare(CloneFlags::CLONE_NEWNET).expect("cannot make a network namespace");
        let network = Self {
            real: format!("lbd-hops-{}-{number}", std::process::id()),
        };
        ip(&format!("netns add {}", network.real));
        ip(&format!(
            "link add lan address 02:00:00:00:00:0d type veth peer name lan address 02:00:00:00:00:01 netns {}",
            network.real
        ));
        for side in [network.on_real(""), String::new()] {
            ip(&format!("{side} link set lo up"));
            ip(&format!("{side} link set lan up"));
        }
        ip("addr add 192.0.2.1/24 dev lan");
        ip("addr add 2001:db8::1/64 dev lan nodad");
        ip(&network.on_real("addr add 192.0.2.2/24 dev lan"));
        ip(&network.on_real("addr add 2001:db8::2/64 dev lan nodad"));
        network
    }

    /// Arguments for `ip`, to act in the real server's namespace.
    fn on_real(&self, arguments: &str) -> String {
        format!("-n {} {arguments}", self.real)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The test is over whether or not this works.
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.real])
            .status();
    }
}

/// The resolver, and the changes as they come.
struct Watched {
    hops: Hops,
    changes: mpsc::Receiver<Vec<Change>>,
    pending: Vec<Change>,
}

impl Watched {
    async fn start(addresses: &[&str]) -> Self {
        let (hops, changes) = Hops::start().unwrap();
        hops.watch(set(addresses)).await;
        Self {
            hops,
            changes,
            pending: Vec::new(),
        }
    }

    /// Reads changes until there is one for `address` that is `wanted`.
    async fn until(&mut self, address: &str, wanted: Resolution) {
        let address = address.parse::<IpAddr>().unwrap();
        let mut seen = Vec::new();
        let find = async {
            loop {
                for change in self.pending.drain(..) {
                    let found = change.address == address && change.resolution == wanted;
                    seen.push(change);
                    if found {
                        return;
                    }
                }
                self.pending = self.changes.recv().await.expect("the resolver has ended");
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

fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .expect("cannot run ip (package iproute2)");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn ip_batch(lines: &str) {
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("cannot run ip (package iproute2)");
    let mut input = ip.stdin.take().unwrap();
    input.write_all(lines.as_bytes()).unwrap();
    drop(input);
    assert!(ip.wait().unwrap().success());
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
        ifindex,
        mtu: 1500,
        local_address: local_address.parse().unwrap(),
    })
}

fn unresolved(reason: Reason) -> Resolution {
    Resolution::Unresolved(reason)
}

/// Waits until `ip neigh` shows what is wanted of a neighbour.
async fn until_neighbour(address: &str, wanted: impl Fn(&str) -> bool) {
    let command = format!("neigh show {address} dev lan");
    let find = async {
        while !wanted(&ip(&command)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let found = timeout(PATIENCE, find).await;
    assert!(found.is_ok(), "neighbour {address} is {:?}", ip(&command));
}

/// Runs a test as the director, on a thread whose namespace is its own.
fn in_network<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "network namespaces need root"
        );
        eprintln!("skipped: network namespaces need root");
        return;
    }
    let director = thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test());
    });
    if let Err(panic) = director.join() {
        std::panic::resume_unwind(panic);
    }
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
fn a_new_mac_of_the_real_is_told() {
    in_network(|| async {
        let network = Network::new();
        let mut watched = Watched::start(&["192.0.2.2"]).await;
        watched
            .until("192.0.2.2", hop_to(REAL_MAC, "192.0.2.1"))
            .await;
        // Announces its new address by gratuitous ARP, as a failover does.
        let notify = "echo 1 > /proc/sys/net/ipv4/conf/lan/arp_notify";
        let status = Command::new("ip")
            .args(["netns", "exec", &network.real, "sh", "-c", notify])
            .status();
        assert!(status.unwrap().success());
        ip(&network.on_real("link set lan address 02:00:00:00:00:02"));
        watched
            .until("192.0.2.2", hop_to(NEW_REAL_MAC, "192.0.2.1"))
            .await;
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
        ip("neigh add 192.0.2.50 lladdr 02:00:00:00:00:02 dev lan");
        let mut watched = Watched::start(&["192.0.2.50"]).await;
        watched
            .until("192.0.2.50", hop_to(NEW_REAL_MAC, "192.0.2.1"))
            .await;
        let index = link::find("lan").await.unwrap().index;
        let address = "192.0.2.50".parse().unwrap();
        watched.hops.probe(address);
        watched.hops.probe_neighbour(index, address);
        watched.expect_quiet().await;
        until_neighbour("192.0.2.50", |shown| shown.contains("PERMANENT")).await;
    });
}

#[test]
fn a_clients_neighbour_is_probed_on_request() {
    in_network(|| async {
        let _network = Network::new();
        let watched = Watched::start(&[]).await;
        let index = link::find("lan").await.unwrap().index;
        let client = "192.0.2.2".parse().unwrap();
        watched.hops.probe_neighbour(index, client);
        until_neighbour("192.0.2.2", |shown| shown.contains("REACHABLE")).await;
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
