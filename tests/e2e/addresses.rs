//! `manage_addresses`: the VIPs come and go with their services, and the neighbours
//! hear of them.

use std::net::IpAddr;
use std::time::Duration;

use lb_tests::capture::Capture;
use lb_tests::conversation::Conversation;
use lb_tests::daemon::{self, Binaries, Daemon};
use lb_tests::service::Service;
use lb_tests::topology::{Family, Host, Method, PORT, Spec, Topology};
use lb_tests::{link, privilege, process, wait};

use crate::site::{json, run};

/// How long the daemon may take after a change of the network.
const LIMIT: Duration = Duration::from_secs(5);

/// Within which time there has been a whole walk of the connection table.
const WALKS: Duration = Duration::from_secs(10);

const V4: &str = "192.0.2.20";
const V6: &str = "2001:db8:99::20";
const LATER: &str = "192.0.2.30";

fn has(host: &Host, device: &str, address: &str) -> bool {
    let listed = host
        .run("ip", &["-brief", "address", "show", device])
        .unwrap();
    let whole = if address.contains(':') { 128 } else { 32 };
    let entry = format!("{address}/{whole}");
    listed.split_whitespace().any(|word| word == entry)
}

fn managed(network: &Topology, vip_interface: &str, addresses: &[IpAddr]) -> String {
    let services: String = addresses
        .iter()
        .enumerate()
        .map(|(number, address)| {
            let family = match address {
                IpAddr::V4(_) => Family::V4,
                IpAddr::V6(_) => Family::V6,
            };
            Service::new(&format!("s{number}"), "tcp", *address, 80, "dr")
                .reals(&network.reals, family, Method::Dr)
                .to_string()
        })
        .collect();
    let keys = format!("manage_addresses = true\nvip_interface = \"{vip_interface}\"\n");
    daemon::configuration(network, &services)
        .unwrap()
        .replace("[capacity]", &format!("{keys}\n[capacity]"))
}

fn network() -> Option<Topology> {
    privilege::network().then(|| {
        Topology::create(&Spec {
            reals: 1,
            ..Spec::default()
        })
        .unwrap()
    })
}

/// An address that was there before and goes with its service, one of lbd's that stays
/// when it should go, after a crash too, or one that goes with the daemon shows in the
/// interface's list; an announcement that is not sent, or not from the director's own
/// station, in the client's capture. An interface that is not there is a warning, and no
/// reason not to forward; when it comes, it has the addresses.
#[test]
fn addresses_come_and_go_with_their_services() {
    let Some(network) = network() else { return };
    let (director, client) = (&network.director, &network.clients[0]);
    let binaries = Binaries::locate().unwrap();
    let before = network.vip().to_string();
    let addresses = [
        network.vip().into(),
        V4.parse().unwrap(),
        V6.parse().unwrap(),
    ];
    let config = managed(&network, "lo", &addresses);
    let capture = Capture::start(client, "eth0", "arp or icmp6", network.directory()).unwrap();
    assert!(has(director, "lo", &before) && !has(director, "lo", V4));

    let mut daemon = Daemon::start(&network, &binaries, &config).unwrap();
    let all_there = || has(director, "lo", V4) && has(director, "lo", V6);
    assert!(all_there(), "{}", daemon.log());
    let station = link::station(director, "eth0").unwrap();
    let station = station.map(|octet| format!("{octet:02x}")).join(":");
    let arp = |address: &str| {
        format!(
            "arp.opcode == 1 && arp.src.proto_ipv4 == {address} && arp.dst.proto_ipv4 == {address} \
             && arp.src.hw_mac == {station} && eth.src == {station} && eth.dst == ff:ff:ff:ff:ff:ff"
        )
    };
    let advertised = format!(
        "icmpv6.type == 136 && icmpv6.nd.na.target_address == {V6} && icmpv6.nd.na.flag.o == 1 \
         && icmpv6.nd.na.flag.s == 0 && icmpv6.opt.linkaddr == {station} && ipv6.dst == ff02::1 \
         && ipv6.hlim == 255 && icmpv6.checksum.status == 1"
    );
    capture.wait_for(&arp(V4), 1).unwrap();
    capture.wait_for(&advertised, 1).unwrap();

    run(&daemon, &format!("service delete tcp:{V4}:80"));
    run(&daemon, &format!("service delete tcp:{before}:80"));
    assert!(!has(director, "lo", V4) && has(director, "lo", &before));
    run(&daemon, &format!("service add tcp:{LATER}:80"));
    assert!(has(director, "lo", LATER));
    capture.wait_for(&arp(LATER), 1).unwrap();
    // It has five in all, until the link is up again.
    director
        .ip("link set eth0 down\nlink set eth0 up\n")
        .unwrap();
    capture.wait_for(&arp(LATER), 6).unwrap();

    // Not there yet; and the file has its services back.
    daemon
        .reload(&managed(&network, "vips", &addresses))
        .unwrap();
    let warnings = || json(&daemon, &["status"])["warnings"].to_string();
    let said = warnings();
    assert!(said.contains("interface vips does not exist"), "{said}");
    assert!(has(director, "lo", LATER) && has(director, "lo", V6));
    director
        .ip("link add vips type bridge\nlink set vips up\n")
        .unwrap();
    let all_there = || [V4, V6, LATER].iter().all(|a| has(director, "vips", a));
    wait::until("the addresses", LIMIT, all_there).unwrap();
    wait::until("no warning", LIMIT, || !warnings().contains("vips")).unwrap();
    assert!(!has(director, "lo", LATER) && !has(director, "lo", V6));
    assert!(has(director, "lo", &before));

    daemon.kill();
    assert!(all_there());
    daemon.restart().unwrap();
    assert!(all_there());
    run(&daemon, &format!("service delete tcp:{LATER}:80"));
    assert!(!has(director, "vips", LATER), "{}", daemon.log());

    daemon.stop().unwrap();
    assert!(has(director, "vips", V4) && has(director, "vips", V6));
    let mut unload = director.command(&binaries.lbd);
    unload
        .args(["unload", "--config"])
        .arg(daemon.config_path());
    let said = process::output(&mut unload).unwrap();
    assert!(said.contains("3 virtual addresses removed"), "{said}");
    assert!(!has(director, "vips", V4) && !has(director, "vips", V6));
    assert!(has(director, "lo", &before));
}

/// Taken away with its service, the address leaves whoever is still served without an
/// answer to ARP; kept for ever, it shows as well.
#[test]
fn an_address_stays_until_the_last_connection_ends() {
    let Some(network) = network() else { return };
    let (director, client) = (&network.director, &network.clients[0]);
    let vip = network.vip().to_string();
    director
        .ip(&format!("address delete {vip}/32 dev lo\n"))
        .unwrap();
    let _servers = network.start_web_servers().unwrap();
    let config = managed(&network, "lo", &[network.vip().into()]);
    let daemon = Daemon::start(&network, &Binaries::locate().unwrap(), &config).unwrap();
    assert!(has(director, "lo", &vip), "{}", daemon.log());
    let mut held = Conversation::open(client, network.vip(), PORT).unwrap();
    held.ask().unwrap();
    run(&daemon, &format!("service delete tcp:{vip}:80"));
    assert!(has(director, "lo", &vip));
    held.ask().unwrap();
    run(&daemon, "timeouts set --tcp-fin 1");
    drop(held);
    let is_gone = || !has(director, "lo", &vip);
    wait::until("the address to go", 2 * WALKS, is_gone).unwrap();
}
