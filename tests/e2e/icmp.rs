//! ICMP errors go to where the packet that they are about came from, in both
//! directions, and lbd's own come from the address that was asked.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use lb_tests::capture::Capture;
use lb_tests::service::Service;
use lb_tests::socket_options;
use lb_tests::topology::{Family, Host, Method, Spec, Wiring};

use crate::site::{Site, drops};

/// A port with a server, and one that the reals have closed.
const OPEN: u16 = 7000;
const CLOSED: u16 = 7001;
const LIMIT: Duration = Duration::from_secs(5);

fn bind(host: &Host, address: impl Into<SocketAddr>) -> UdpSocket {
    let address = address.into();
    let socket = host.enter(|| UdpSocket::bind(address)).unwrap().unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

/// A client's socket that is connected to the VIP.
fn connected(site: &Site, family: Family, port: u16) -> UdpSocket {
    let socket = bind(&site.network.clients[0], (family.unspecified(), 0));
    socket.connect((site.network.vip_in(family), port)).unwrap();
    socket
}

fn site(method: Method) -> Option<Site> {
    Site::create(&Spec {
        method,
        native: true,
        reals: 1,
        ..Spec::default()
    })
}

/// UDP services of both families at this port.
fn services(site: &Site, port: u16) -> [Service; 2] {
    Family::BOTH.map(|family| site.service(&format!("{family:?}-{port}"), "udp", family, port))
}

/// A client asks and closes its socket before the answer comes: its host tells the
/// VIP, that is, whoever has that port there. An error that ends at the director shows
/// as a server that waits in vain.
fn from_the_client(site: &Site, family: Family) {
    let network = &site.network;
    let address = match network.spec().method {
        Method::Nat => network.reals[0].address_in(family),
        Method::Dr | Method::Tun => network.vip_in(family),
    };
    let server = bind(&network.reals[0], (address, OPEN));
    let client = connected(site, family, OPEN);
    client.send(b"anybody?").unwrap();
    let (_, from) = server.recv_from(&mut [0; 16]).unwrap();
    drop(client);
    server.connect(from).unwrap();
    server.send(b"here").unwrap();
    let heard = server.recv(&mut [0; 16]).unwrap_err();
    assert_eq!(heard.kind(), ErrorKind::ConnectionRefused, "{family:?}");
}

/// What a traceroute sends: at the first hop the time is over, says the address that
/// it was sent to.
fn hops(site: &Site, family: Family, gone: u64, daemon: &lb_tests::daemon::Daemon<'_>) {
    let client = connected(site, family, OPEN);
    socket_options::hear_errors(&client, family).unwrap();
    socket_options::limit_hops(&client, family, 1).unwrap();
    client.send(b"who is there?").unwrap();
    let heard = client.recv(&mut [0; 16]).unwrap_err();
    assert_eq!(heard.raw_os_error(), Some(libc::EHOSTUNREACH), "{family:?}");
    assert_eq!(drops(daemon, "ttl_exceeded"), gone);
}

/// Echo is the kernel's, as if there were no service.
fn echo(site: &Site, family: Family) {
    let vip = site.network.vip_in(family).to_string();
    let arguments = ["-n", "-c", "3", "-i", "0.05", "-W", "2", &vip];
    site.network.clients[0].run("ping", &arguments).unwrap();
}

fn all(method: Method) {
    let Some(site) = site(method) else { return };
    let network = &site.network;
    let daemon = site.start_services(&services(&site, OPEN));
    let filter = "icmp or icmp6";
    let mut captures = ["client1", "real1"]
        .map(|port| Capture::start(&network.switch, port, filter, network.directory()).unwrap());
    for (family, gone) in [(Family::V4, 1), (Family::V6, 2)] {
        echo(&site, family);
        from_the_client(&site, family);
        hops(&site, family, gone, &daemon);
    }
    let [client, real] = &mut captures;
    let (vip, vip6) = (network.vip(), network.vip_in(Family::V6));
    for (time_exceeded, source) in [
        (
            "icmp.type == 11 && icmp.code == 0",
            format!("ip.src == {vip}"),
        ),
        (
            "icmpv6.type == 3 && icmpv6.code == 0",
            format!("ipv6.src == {vip6}"),
        ),
    ] {
        client.wait_for(time_exceeded, 1).unwrap();
        let from_vip = format!("{time_exceeded} && {source}");
        assert_eq!(client.packets(&from_vip).unwrap().len(), 1);
    }
    for capture in [client, real] {
        capture.stop().unwrap();
        let wrong = capture.wrong().unwrap();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

#[test]
fn dr() {
    all(Method::Dr);
}

#[test]
fn nat() {
    all(Method::Nat);
}

#[test]
fn tun() {
    all(Method::Tun);
}

/// A real without a server at the port says so, from its own address and about its
/// own, neither of which the client knows: unchanged, the client's kernel would not
/// find the socket that it is about.
fn closed_port(site: &Site, services: &[Service]) {
    let network = &site.network;
    let daemon = site.start_services(services);
    let mut capture = Capture::start(
        &network.clients[0],
        "eth0",
        "icmp or icmp6",
        network.directory(),
    )
    .unwrap();
    for family in Family::BOTH {
        let client = connected(site, family, CLOSED);
        client.send(b"anybody?").unwrap();
        let heard = client.recv(&mut [0; 16]).unwrap_err();
        let log = daemon.log();
        assert_eq!(
            heard.kind(),
            ErrorKind::ConnectionRefused,
            "{family:?}\n{log}"
        );
    }
    let (vip, vip6) = (network.vip(), network.vip_in(Family::V6));
    for filter in [
        format!("icmp.type == 3 && icmp.code == 3 && ip.src == {vip} && udp.dstport == {CLOSED}"),
        format!("icmpv6.type == 1 && ipv6.src == {vip6} && udp.dstport == {CLOSED}"),
    ] {
        capture.wait_for(&filter, 1).unwrap();
    }
    capture.stop().unwrap();
    assert!(capture.wrong().unwrap().is_empty());
}

#[test]
fn closed_port_of_a_nat_real() {
    let Some(site) = site(Method::Nat) else {
        return;
    };
    closed_port(&site, &services(&site, CLOSED));
}

/// With masquerade the real's error is about the pool's address and port.
#[test]
fn closed_port_behind_masquerade() {
    let Some(site) = Site::create(&Spec {
        method: Method::Nat,
        wiring: Wiring::OneArmed,
        native: true,
        reals: 1,
        ..Spec::default()
    }) else {
        return;
    };
    let network = &site.network;
    network
        .director
        .ip("address add 10.0.1.250/32 dev eth0\naddress add 2001:db8:1::250/128 dev eth0 nodad\n")
        .unwrap();
    let services = [
        ("v4", Family::V4, "10.0.1.250"),
        ("v6", Family::V6, "2001:db8:1::250"),
    ]
    .map(|(name, family, pool)| {
        Service::new(name, "udp", network.vip_in(family), CLOSED, "nat")
            .with(&format!("masquerade = [\"{pool}\"]"))
            .reals(&network.reals, family, Method::Nat)
    });
    closed_port(&site, &services);
}
