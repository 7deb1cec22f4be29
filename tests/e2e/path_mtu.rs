//! Path MTU discovery through tunnels: packets with DF that fit arrive, those that
//! do not are answered, and who is answered sends smaller ones.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use lb_tests::capture::Capture;
use lb_tests::daemon::Daemon;
use lb_tests::echo::Echo;
use lb_tests::service::Service;
use lb_tests::socket_options;
use lb_tests::topology::{FAR_MTU, Family, Method, PORT, Spec, Wiring};

use crate::site::{Site, drops};
use crate::tunnels::KINDS;

/// The port of the echo service.
const ECHO: u16 = 7;
const LIMIT: Duration = Duration::from_secs(5);
/// For what is not expected to come.
const SHORT: Duration = Duration::from_millis(300);

/// A tunnel that carries packets of its own family.
#[derive(Clone, Copy)]
struct Tunnel {
    family: Family,
    kind: usize,
}

impl Tunnel {
    /// What fits into it where the link carries `link` bytes.
    fn mtu(self, link: usize) -> usize {
        link - self.family.header_bytes() - KINDS[self.kind].1
    }

    fn service(self, site: &Site, protocol: &str, port: u16) -> Service {
        let vip = site.network.vip_in(self.family);
        let real = site.network.reals[0].address_in(self.family);
        Service::new(protocol, protocol, vip, port, "tun").real(real, KINDS[self.kind].0)
    }

    fn site(self, wiring: Wiring) -> Option<Site> {
        Site::create(&Spec {
            method: Method::Tun,
            wiring,
            native: true,
            reals: 1,
            ..Spec::default()
        })
    }
}

/// Sizes from 21 below to 1 above the tunnel's MTU, with DF. A limit that is off by
/// one or ignores a part of the headers shows as a packet that is answered although
/// it fits, or as one that does not arrive although it was not.
fn around_the_mtu(tunnel: Tunnel) {
    let Some(site) = tunnel.site(Wiring::TwoArmed) else {
        return;
    };
    let vip = SocketAddr::from((site.network.vip_in(tunnel.family), ECHO));
    let services = ["udp", "tcp"].map(|protocol| tunnel.service(&site, protocol, ECHO));
    let daemon = site.start_services(&services);
    let mtu = tunnel.mtu(1500);
    segments(&site, &daemon, tunnel.family, vip, mtu);
    site.network.clients[0].forget_path_mtus().unwrap();
    datagrams(&site, &daemon, tunnel.family, vip, mtu);
}

/// TCP: the MTU of the client's route makes full segments of just that size.
fn segments(site: &Site, daemon: &Daemon<'_>, family: Family, vip: SocketAddr, mtu: usize) {
    let network = &site.network;
    let client = &network.clients[0];
    let _echo = Echo::tcp(&network.reals[0], vip).unwrap();
    let mut capture = Capture::start(client, "eth0", "tcp", network.directory()).unwrap();
    let ip = vip.ip();
    let (before, director) = (
        drops(daemon, "fragmentation_needed"),
        network.director.address_in(family),
    );
    for size in mtu - 21..=mtu + 1 {
        client
            .ip(&format!("route replace {ip} via {director} mtu {size}\n"))
            .unwrap();
        let stream = client.enter(|| TcpStream::connect_timeout(&vip, LIMIT));
        let stream = stream.unwrap().unwrap();
        echo(stream, &vec![size.to_le_bytes()[0]; 3 * size]);
        let answered = drops(daemon, "fragmentation_needed") - before;
        assert_eq!(answered > 0, size > mtu, "{size}: {answered}");
    }
    let route = client
        .run("ip", &["route", "get", &ip.to_string()])
        .unwrap();
    assert!(route.contains(&format!("mtu {mtu}")), "{route}");
    client
        .ip(&format!("route replace {ip} via {director}\n"))
        .unwrap();

    let (field, header) = match family {
        Family::V4 => ("ip.len", 0),
        Family::V6 => ("ipv6.plen", 40),
    };
    let last = format!("{field} == {}", mtu + 1 - header);
    capture.wait_for(&last, 1).unwrap();
    capture.stop().unwrap();
    let sent = capture.field(field, &format!("tcp.dstport == {ECHO}"));
    let sent: Vec<usize> = sent.unwrap().iter().map(|n| n.parse().unwrap()).collect();
    for size in mtu - 21..=mtu + 1 {
        assert!(sent.contains(&(size - header)), "none of {size} bytes");
    }
    if family == Family::V4 {
        let without = format!("tcp.dstport == {ECHO} && ip.flags.df == 0");
        assert!(capture.packets(&without).unwrap().is_empty());
    }
}

/// Sends and gets the same back.
#[track_caller]
fn echo(mut stream: TcpStream, data: &[u8]) {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(data).unwrap();
    let mut back = vec![0; data.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, data);
}

fn datagrams(site: &Site, daemon: &Daemon<'_>, family: Family, vip: SocketAddr, mtu: usize) {
    let network = &site.network;
    let _echo = Echo::udp(&network.reals[0], vip).unwrap();
    let socket = connected(site, family, vip);
    let headers = family.header_bytes() + 8;
    let before = drops(daemon, "fragmentation_needed");
    for size in mtu - 21..=mtu {
        let datagram = vec![size.to_le_bytes()[0]; size - headers];
        assert_eq!(exchange(&socket, &datagram), Ok(()), "{size}");
    }
    assert_eq!(drops(daemon, "fragmentation_needed"), before);
    assert_eq!(socket_options::path_mtu(&socket, family).unwrap(), 1500);

    // One above: answered, and from then on the kernel itself knows.
    let above = vec![1; mtu + 1 - headers];
    assert_eq!(exchange(&socket, &above), Err(libc::EMSGSIZE));
    assert_eq!(socket_options::path_mtu(&socket, family).unwrap(), mtu);
    assert_eq!(drops(daemon, "fragmentation_needed"), before + 1);
    let refused = socket.send(&above).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EMSGSIZE));
    assert_eq!(exchange(&socket, &above[1..]), Ok(()));
}

fn connected(site: &Site, family: Family, server: SocketAddr) -> UdpSocket {
    let bind = || UdpSocket::bind((family.unspecified(), 0));
    let socket = site.network.clients[0].enter(bind).unwrap().unwrap();
    socket_options::never_fragment(&socket, family).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

/// Sends a datagram and gets it back, or the number of the error.
fn exchange(socket: &UdpSocket, datagram: &[u8]) -> Result<(), i32> {
    let mut back = vec![0; 1 << 16];
    let number = |error: std::io::Error| error.raw_os_error().unwrap_or_default();
    socket.send(datagram).map_err(number)?;
    let length = socket.recv(&mut back).map_err(number)?;
    assert_eq!(&back[..length], datagram);
    Ok(())
}

/// A router between director and real with a smaller MTU than either's link: it tells
/// the director about the tunnel, and the director the client, at its next packet. A
/// director that keeps this to itself shows as an upload that hangs.
fn narrow_router(tunnel: Tunnel) {
    let Some(site) = tunnel.site(Wiring::Routed) else {
        return;
    };
    let network = &site.network;
    let vip = SocketAddr::from((network.vip_in(tunnel.family), ECHO));
    let daemon = site.start_services(&[
        tunnel.service(&site, "udp", ECHO),
        tunnel.service(&site, "tcp", PORT),
    ]);
    let _echo = Echo::udp(&network.reals[0], vip).unwrap();
    let socket = connected(&site, tunnel.family, vip);
    let mtu = tunnel.mtu(FAR_MTU);
    let headers = tunnel.family.header_bytes() + 8;
    let fits = vec![1; mtu - headers];
    let above = vec![1; mtu + 1 - headers];
    assert_eq!(exchange(&socket, &fits), Ok(()));

    // The first is the router's, which tells the director; the next the director's.
    socket.set_read_timeout(Some(SHORT)).unwrap();
    let heard = (0..4).map_while(|_| exchange(&socket, &above).err());
    let heard: Vec<i32> = heard.take_while(|&error| error != libc::EMSGSIZE).collect();
    assert_eq!(heard, [libc::EAGAIN], "{}", daemon.log());
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let known = socket_options::path_mtu(&socket, tunnel.family).unwrap();
    assert_eq!(known, mtu);
    assert_eq!(exchange(&socket, &fits), Ok(()));
    assert_eq!(drops(&daemon, "fragmentation_needed"), 1);

    // The way there is known now to all; another service's real is the same next hop.
    site.transfer(tunnel.family, &site.payload(2 << 20));
}

/// The same with the upload as the first that does not fit.
fn upload_by_a_narrow_router(tunnel: Tunnel) {
    let Some(site) = tunnel.site(Wiring::Routed) else {
        return;
    };
    let daemon = site.start_services(&[tunnel.service(&site, "tcp", PORT)]);
    site.transfer(tunnel.family, &site.payload(2 << 20));
    assert!(drops(&daemon, "fragmentation_needed") > 0);
    let vip = site.network.vip_in(tunnel.family).to_string();
    let route = site.network.clients[0].run("ip", &["route", "get", &vip]);
    let mtu = format!("mtu {}", tunnel.mtu(FAR_MTU));
    assert!(route.as_ref().unwrap().contains(&mtu), "{route:?}");
}

const IPIP: Tunnel = tunnel(Family::V4, 0);
const IP6IP6: Tunnel = tunnel(Family::V6, 0);
const GUE: Tunnel = tunnel(Family::V4, 1);
const GUE6: Tunnel = tunnel(Family::V6, 2);
const GRE: Tunnel = tunnel(Family::V4, 3);
const GRE6: Tunnel = tunnel(Family::V6, 4);

const fn tunnel(family: Family, kind: usize) -> Tunnel {
    Tunnel { family, kind }
}

#[test]
fn ipip() {
    around_the_mtu(IPIP);
}

#[test]
fn ip6ip6() {
    around_the_mtu(IP6IP6);
}

#[test]
fn gue() {
    around_the_mtu(GUE);
}

#[test]
fn gue6() {
    around_the_mtu(GUE6);
}

#[test]
fn gre() {
    around_the_mtu(GRE);
}

#[test]
fn gre6() {
    around_the_mtu(GRE6);
}

#[test]
fn narrow_router_ipip() {
    narrow_router(IPIP);
}

#[test]
fn narrow_router_ip6ip6() {
    narrow_router(IP6IP6);
}

#[test]
fn narrow_router_gue() {
    upload_by_a_narrow_router(GUE);
}

#[test]
fn narrow_router_gre6() {
    upload_by_a_narrow_router(GRE6);
}
