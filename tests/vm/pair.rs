//! A network with one real by dr and one by nat behind the same services, so that
//! one data plane shows both ways of packets: there by the next hop's entry, and
//! back by a look-up of the kernel's routes.

use lb_tests::daemon::{self, Binaries, Daemon};
use lb_tests::http;
use lb_tests::service::Service;
use lb_tests::topology::{Family, PORT, Spec, Topology};
use lb_tests::webserver::WebServer;
use serde_json::Value;

/// The network. Fields are dropped in order, servers first.
pub struct Pair {
    _servers: Vec<WebServer>,
    pub network: Topology,
    binaries: Binaries,
}

impl Pair {
    /// Makes it: real1 is for dr, real2 for nat.
    pub fn create() -> Self {
        let network = Topology::create(&Spec {
            reals: 2,
            ..Spec::default()
        })
        .unwrap();
        let [_, translated] = network.reals.as_slice() else {
            unreachable!("two reals were asked for");
        };
        let (v4, v6) = (network.vip_in(Family::V4), network.vip_in(Family::V6));
        translated
            .ip(&format!(
                "address delete {v4}/32 dev lo\naddress delete {v6}/128 dev lo\n\
                 route replace default via 10.0.2.1\nroute replace ::/0 via 2001:db8:2::1\n"
            ))
            .unwrap();
        let on = [
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
        ];
        network.director.sysctls(&on).unwrap();
        Self {
            _servers: network.start_web_servers().unwrap(),
            binaries: Binaries::locate().unwrap(),
            network,
        }
    }

    /// lbd on these interfaces of the director, with a web service of each family.
    pub fn start(&self, interfaces: &[&str], mode: &str) -> Daemon<'_> {
        let services: String = Family::BOTH
            .iter()
            .map(|&family| self.service(family).to_string())
            .collect();
        let standard = daemon::configuration(&self.network, &services).unwrap();
        let config = standard
            .replace(
                &format!("interfaces = {:?}", self.network.interfaces()),
                &format!("interfaces = {interfaces:?}"),
            )
            .replace("xdp_mode = \"generic\"", &format!("xdp_mode = {mode:?}"));
        Daemon::start(&self.network, &self.binaries, &config).unwrap()
    }

    fn service(&self, family: Family) -> Service {
        let vip = self.network.vip_in(family);
        let [direct, translated] = [0, 1].map(|n| self.network.reals[n].address_in(family));
        Service::new(&format!("web{family:?}"), "tcp", vip, PORT, "dr")
            .real(direct, "")
            .real(translated, &format!("forward = \"nat\"\nport = {PORT}"))
    }

    /// Both reals answer, by both families, in their turns.
    #[track_caller]
    pub fn expect_both(&self, daemon: &Daemon<'_>) {
        for family in Family::BOTH {
            let url = self.network.url_in(family, "");
            let tally = http::get_many(&self.network.clients[0], &url, 6).unwrap();
            let drops = status(daemon)["drops"].to_string();
            assert_eq!(
                tally.by_real(2),
                [3, 3],
                "{family:?}: {tally}\ndrops: {drops}\n{}",
                daemon.log()
            );
        }
    }
}

/// `lbctl status --json`.
#[track_caller]
pub fn status(daemon: &Daemon<'_>) -> Value {
    let text = daemon.lbctl(&["status", "--json"]).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The mode of an interface, as `status` has it.
#[track_caller]
pub fn mode(daemon: &Daemon<'_>, interface: &str) -> String {
    let status = status(daemon);
    let interfaces = status["interfaces"].as_array().unwrap();
    let found = interfaces.iter().find(|entry| entry["name"] == interface);
    let found = found.unwrap_or_else(|| panic!("no {interface} in {status}"));
    found["mode"].as_str().unwrap().to_owned()
}

/// lbd has warned that this interface runs in generic mode, and why.
#[track_caller]
pub fn expect_generic(daemon: &Daemon<'_>, interface: &str) {
    assert_eq!(mode(daemon, interface), "generic");
    let log = daemon.log();
    let warned =
        |line: &str| line.contains("WARN") && line.contains(interface) && line.contains("generic");
    assert!(log.lines().any(warned), "{log}");
}
