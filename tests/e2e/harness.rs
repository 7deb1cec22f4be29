//! The networks themselves, before any lbd: what fails here is no fault of the
//! load balancer.

use std::path::Path;

use lb_tests::dns::{self, NameServer};
use lb_tests::http;
use lb_tests::privilege;
use lb_tests::topology::{Method, Spec, Topology, Wiring};

/// A client reaches each real's own address, and the real's page names it.
#[test]
fn clients_reach_reals_directly() {
    if !privilege::network() {
        return;
    }
    for method in Method::ALL {
        let network = Topology::create(&Spec {
            method,
            native: true,
            ..Spec::default()
        })
        .unwrap();
        let servers = network.start_web_servers().unwrap();
        for (real, server) in network.reals.iter().zip(&servers) {
            let url = format!("http://{}/", real.address());
            let tally = http::get_many(&network.clients[0], &url, 5).unwrap();
            assert_eq!(tally.of(real.name()), 5, "{method:?}: {tally}");
            assert_eq!(server.requests().len(), 5);
        }
    }
}

/// On one wire only the director answers ARP for the VIP, whoever has it.
#[test]
fn only_the_director_answers_for_the_vip() {
    if !privilege::network() {
        return;
    }
    let network = Topology::create(&Spec {
        wiring: Wiring::OneArmed,
        ..Spec::default()
    })
    .unwrap();
    let client = &network.clients[0];
    let vip = network.vip().to_string();
    client.run("ping", &["-c", "1", "-W", "2", &vip]).unwrap();
    let neighbour = client.run("ip", &["neighbour", "show", &vip]).unwrap();
    let director = network
        .director
        .run("ip", &["-brief", "link", "show", "eth0"])
        .unwrap();
    let mac = neighbour.split_whitespace().nth(4).unwrap_or_default();
    assert!(director.contains(mac), "{neighbour} is not {director}");
}

/// A file goes up and down intact.
#[test]
fn files_arrive_intact() {
    if !privilege::network() {
        return;
    }
    let network = Topology::create(&Spec {
        reals: 1,
        ..Spec::default()
    })
    .unwrap();
    let servers = network.start_web_servers().unwrap();
    let file = http::random_file(network.directory(), "payload", 3 << 20).unwrap();
    servers[0].publish("payload", &file).unwrap();
    let client = &network.clients[0];
    let base = format!("http://{}", network.reals[0].address());
    let received = network.directory().join("received");

    let url = format!("{base}/files/payload");
    let mut download = http::download(client, &url, &received, None).unwrap();
    download.wait_success(http::TRANSFER_LIMIT).unwrap();
    let url = format!("{base}/upload/payload");
    let mut upload = http::upload(client, &file, &url, None).unwrap();
    upload.wait_success(http::TRANSFER_LIMIT).unwrap();

    let sent = http::sha256(&file).unwrap();
    assert_eq!(http::sha256(&received).unwrap(), sent);
    assert_eq!(http::sha256(&servers[0].uploaded("payload")).unwrap(), sent);
}

/// A name server answers on every address of its real, and says who it is.
#[test]
fn name_servers_say_who_they_are() {
    if !privilege::network() {
        return;
    }
    let network = Topology::create(&Spec {
        reals: 1,
        ..Spec::default()
    })
    .unwrap();
    let real = &network.reals[0];
    let _server = NameServer::start(real, real.name(), network.directory()).unwrap();
    let tally = dns::ask_many(&network.clients[0], real.address().into(), 5).unwrap();
    assert_eq!(tally.of("real1"), 5, "{tally}");
}

/// A dropped network leaves neither namespaces nor files.
#[test]
fn nothing_is_left_behind() {
    if !privilege::network() {
        return;
    }
    let network = Topology::create(&Spec::default()).unwrap();
    network.scratch().bpffs().unwrap();
    let namespace = network.director.path();
    let directory = network.directory().to_owned();
    assert!(namespace.exists() && directory.exists());
    drop(network);
    assert!(!namespace.exists() && !Path::new(&directory).exists());
}
