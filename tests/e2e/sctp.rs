//! SCTP: associations through the director, with both ends' checksums intact.

use std::time::Duration;

use lb_tests::capture::Capture;
use lb_tests::daemon::Daemon;
use lb_tests::sctp::{COOKIE_ACK, COOKIE_ECHO, INIT, INIT_ACK, Packet, SctpSocket};
use lb_tests::topology::{Family, Method};

use crate::site::{Site, json};

/// S1-MME's, of mobile networks.
const PORT: u16 = 36412;
const CLIENT_PORT: u16 = 5000;
const SHORT: Duration = Duration::from_millis(300);

/// The four-way handshake, with both reals in turn. A program that takes SCTP's CRC32c for
/// a checksum over addresses shows as a packet that is wrong; one that schedules later
/// packets anew as one at the wrong real.
fn handshakes(method: Method) {
    let Some(site) = Site::small(method) else {
        return;
    };
    let network = &site.network;
    let services =
        Family::BOTH.map(|family| site.service(&format!("{family:?}"), "sctp", family, PORT));
    let daemon = site.start_services(&services);
    let filter = "ip proto 132 or ip6 proto 132";
    let mut capture =
        Capture::start(&network.clients[0], "eth0", filter, network.directory()).unwrap();
    for family in Family::BOTH {
        if method != Method::Nat {
            answer_from_the_vip(&site, family);
        }
        for real in 0..2 {
            handshake(&site, family, real);
        }
        not_begun(&site, family);
    }
    for service in json(&daemon, &["list"]).as_array().unwrap() {
        for real in service["reals"].as_array().unwrap() {
            let counts = (&real["active"], &real["stats"]["connections"]);
            assert_eq!(counts, (&1.into(), &1.into()), "{service}");
            assert_eq!(real["stats"]["in_packets"], 2, "{service}");
        }
    }
    // Two associations of four packets, and one that was not begun.
    let good = "sctp.checksum.status == 1";
    capture.wait_for(good, 2 * (2 * 4 + 1)).unwrap();
    capture.stop().unwrap();
    assert!(capture.wrong().unwrap().is_empty());
}

/// A raw socket's packets have the address that the route names.
fn answer_from_the_vip(site: &Site, family: Family) {
    let network = &site.network;
    let (client, vip) = (
        network.clients[0].address_in(family),
        network.vip_in(family),
    );
    let router = match family {
        Family::V4 => "10.0.2.254",
        Family::V6 => "2001:db8:2::254",
    };
    for real in &network.reals {
        real.ip(&format!("route add {client} via {router} src {vip}\n"))
            .unwrap();
    }
}

fn handshake(site: &Site, family: Family, real: usize) {
    let network = &site.network;
    let vip = network.vip_in(family);
    let port = CLIENT_PORT + u16::try_from(real).unwrap();
    let server = SctpSocket::open(&network.reals[real], family, PORT).unwrap();
    let client = SctpSocket::open(&network.clients[0], family, port).unwrap();
    for (question, answer) in [(INIT, INIT_ACK), (COOKIE_ECHO, COOKIE_ACK)] {
        client.send(vip, PORT, question).unwrap();
        let asked = server.receive().unwrap();
        let from = network.clients[0].address_in(family);
        let expected = packet(from, port, PORT, question);
        assert_eq!(asked, expected, "at the real");
        server.send(from, port, answer).unwrap();
        let answered = client.receive().unwrap();
        assert_eq!(answered, packet(vip, PORT, port, answer), "at the client");
    }
}

fn packet(from: std::net::IpAddr, source_port: u16, destination_port: u16, chunk: u8) -> Packet {
    Packet {
        from,
        source_port,
        destination_port,
        chunk,
    }
}

/// Only an INIT begins an association.
fn not_begun(site: &Site, family: Family) {
    let network = &site.network;
    let servers: Vec<_> = network
        .reals
        .iter()
        .map(|real| SctpSocket::open(real, family, PORT).unwrap())
        .collect();
    let client = SctpSocket::open(&network.clients[0], family, 6000).unwrap();
    client
        .send(network.vip_in(family), PORT, COOKIE_ECHO)
        .unwrap();
    for server in servers {
        server.set_limit(SHORT).unwrap();
        assert!(server.receive().is_err());
    }
}

#[test]
fn dr() {
    handshakes(Method::Dr);
}

#[test]
fn nat() {
    handshakes(Method::Nat);
}

#[test]
fn tun() {
    handshakes(Method::Tun);
}

/// Another port at the real would take a CRC over the whole packet: the configuration
/// says so, at the line.
#[test]
fn nat_to_another_port_is_refused() {
    let Some(site) = Site::small(Method::Nat) else {
        return;
    };
    let service = site.service("s1", "sctp", Family::V4, PORT);
    let config = site.configuration(&[service]).replacen(
        &format!("\nport = {PORT}\n\n[[service.real]]"),
        "\nport = 36413\n\n[[service.real]]",
        2,
    );
    let (status, said) = Daemon::fail_to_start(&site.network, &site.binaries, &config).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("port") && said.to_lowercase().contains("crc"),
        "{said}"
    );
}
