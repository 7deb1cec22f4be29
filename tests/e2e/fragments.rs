//! Datagrams that take several fragments, in both directions.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use lb_tests::capture::Capture;
use lb_tests::echo::Echo;
use lb_tests::socket_options;
use lb_tests::topology::{Family, Method, Spec};

use crate::site::{Site, json};

const PORT: u16 = 7000;
/// Three fragments on an Ethernet.
const BYTES: usize = 4000;
/// Datagrams of each family, each from a port of its own: as many connections.
const DATAGRAMS: usize = 20;
const LIMIT: Duration = Duration::from_secs(5);

/// Later fragments have no ports: one that goes its own way shows as a datagram that
/// never becomes whole, one that is not rewritten likewise, and a checksum that only fits
/// the first fragment too.
fn both_ways(method: Method, native: bool) {
    let Some(site) = Site::create(&Spec {
        method,
        native,
        reals: 2,
        ..Spec::default()
    }) else {
        return;
    };
    let network = &site.network;
    let client = &network.clients[0];
    let services =
        Family::BOTH.map(|family| site.service(&format!("{family:?}"), "udp", family, PORT));
    let daemon = site.start_services(&services);
    let mut capture = Capture::start(client, "eth0", "", network.directory()).unwrap();
    for family in Family::BOTH {
        let vip = network.vip_in(family);
        if method == Method::Tun {
            // Each fragment has to fit the tunnel.
            let director = network.director.address_in(family);
            let route = format!("route replace {vip} via {director} mtu 1400\n");
            client.ip(&route).unwrap();
        }
        let echoes: Vec<_> = network
            .reals
            .iter()
            .map(|real| {
                let address = match method {
                    Method::Nat => real.address_in(family),
                    Method::Dr | Method::Tun => vip,
                };
                Echo::udp(real, (address, PORT).into()).unwrap()
            })
            .collect();
        for number in 0..DATAGRAMS {
            let socket = client.enter(|| UdpSocket::bind((family.unspecified(), 0)));
            let socket = socket.unwrap().unwrap();
            socket_options::fragment(&socket, family).unwrap();
            exchange(&socket, (vip, PORT).into(), number);
        }
        for echo in &echoes {
            assert_eq!(echo.heard(), DATAGRAMS / 2, "{family:?}");
        }
    }
    let drops = json(&daemon, &["status"])["drops"].clone();
    assert!(
        drops.as_object().unwrap().values().all(|count| count == 0),
        "{drops}"
    );

    // tshark, too, puts them together: each datagram there and back.
    let whole = format!("udp.port == {PORT} && udp.checksum.status == 1");
    let fragmented = format!("{whole} && (ip.fragment.count >= 3 || ipv6.fragment.count >= 3)");
    capture.wait_for(&fragmented, 4 * DATAGRAMS).unwrap();
    capture.stop().unwrap();
    let wrong = capture.wrong().unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[track_caller]
fn exchange(socket: &UdpSocket, server: SocketAddr, number: usize) {
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let datagram: Vec<u8> = (0..BYTES).map(|n| (n * 7 + number) as u8).collect();
    socket.send(&datagram).unwrap();
    let mut back = vec![0; 1 << 16];
    let length = socket
        .recv(&mut back)
        .unwrap_or_else(|error| panic!("datagram {number} to {server}: {error}"));
    assert!(
        back[..length] == datagram,
        "datagram {number} came back as another"
    );
}

#[test]
fn dr_native() {
    both_ways(Method::Dr, true);
}

#[test]
fn nat_native() {
    both_ways(Method::Nat, true);
}

#[test]
fn nat_generic() {
    both_ways(Method::Nat, false);
}

#[test]
fn tun_native() {
    both_ways(Method::Tun, true);
}
