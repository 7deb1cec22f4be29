//! A service of port 0: every port of the VIP, and a client's ports together.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use lb_tests::conversation::Conversation;
use lb_tests::echo::Echo;
use lb_tests::service::Service;
use lb_tests::topology::{Family, Host, Method, PORT, Spec};
use lb_tests::webserver::WebServer;

use crate::site::{Site, await_reals, json};

/// The web servers' ports: the site's own, and more.
const WEB_PORTS: [u16; 3] = [PORT, 8080, 8443];
const UDP_PORTS: [u16; 2] = [7000, 7001];
const LIMIT: Duration = Duration::from_secs(5);

/// A port that is changed on the way shows as another server's answer, or as none; a
/// port that is scheduled by itself as a client with two reals.
fn together(method: Method) {
    let Some(site) = Site::create(&Spec {
        method,
        native: true,
        clients: 3,
        reals: 2,
        ..Spec::default()
    }) else {
        return;
    };
    let network = &site.network;
    let _servers: Vec<_> = network
        .reals
        .iter()
        .flat_map(|real| WEB_PORTS[1..].iter().map(move |port| (real, *port)))
        .map(|(real, port)| {
            let name = format!("{}:{port}", real.name());
            WebServer::start(real, &name, port, network.directory()).unwrap()
        })
        .collect();
    let services: Vec<_> = Family::BOTH
        .into_iter()
        .flat_map(|family| ["tcp", "udp"].map(|protocol| (family, protocol)))
        .map(|(family, protocol)| {
            let name = format!("{protocol}-{family:?}");
            Service::new(&name, protocol, network.vip_in(family), 0, method.name())
                .with("persistence = { timeout = \"5m\" }")
                .reals(&network.reals, family, method)
        })
        .collect();
    let daemon = site.start_services(&services);
    await_reals(&daemon);
    for family in Family::BOTH {
        for (number, client) in network.clients.iter().enumerate() {
            let real = ["real1", "real2", "real1"][number];
            for port in WEB_PORTS {
                let vip = network.vip_in(family);
                let mut conversation = Conversation::open(client, vip, port).unwrap();
                let expected = match port {
                    PORT => real.to_owned(),
                    _ => format!("{real}:{port}"),
                };
                assert_eq!(conversation.ask().unwrap(), expected, "{family:?}");
            }
        }
        datagrams(&site, family);
    }
    let services = json(&daemon, &["list"]);
    let of = |service: usize| {
        let reals = services[service]["reals"].clone();
        [0, 1].map(|real| reals[real]["stats"]["connections"].clone())
    };
    let connections = [of(0), of(1), of(2), of(3)];
    assert_eq!(connections, [[6, 3], [8, 4], [6, 3], [8, 4]], "{services}");
}

/// Two datagrams from each client to each port, each over a connection of its own.
#[track_caller]
fn datagrams(site: &Site, family: Family) {
    let network = &site.network;
    let vip = network.vip_in(family);
    // Where a real's answers come from, which is where it hears.
    let address = |real: &Host| match network.spec().method {
        Method::Nat => real.address_in(family),
        Method::Dr | Method::Tun => vip,
    };
    let echoes = UDP_PORTS.map(|port| {
        [0, 1].map(|number| {
            let real = &network.reals[number];
            Echo::udp(real, SocketAddr::from((address(real), port))).unwrap()
        })
    });
    let heard = |port: usize| echoes[port].each_ref().map(Echo::heard);
    let mut expected = [0, 0];
    for (number, client) in network.clients.iter().enumerate() {
        expected[number % 2] += 2;
        for (place, port) in UDP_PORTS.into_iter().enumerate() {
            for turn in [b"one", b"two"] {
                let bind = || UdpSocket::bind((family.unspecified(), 0));
                let socket = client.enter(bind).unwrap().unwrap();
                socket.set_read_timeout(Some(LIMIT)).unwrap();
                // Then it hears from nobody else.
                socket.connect((vip, port)).unwrap();
                socket.send(turn).unwrap();
                let mut answer = [0; 8];
                assert_eq!(socket.recv(&mut answer).unwrap(), 3);
            }
            assert_eq!(heard(place), expected, "{family:?} {}", client.name());
        }
    }
}

#[test]
fn dr() {
    together(Method::Dr);
}

#[test]
fn nat() {
    together(Method::Nat);
}
