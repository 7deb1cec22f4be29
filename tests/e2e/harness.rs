//! The networks themselves, before any lbd: what fails here is no fault of the
//! load balancer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;

use lb_tests::dns::{self, NameServer};
use lb_tests::echo::Echo;
use lb_tests::http;
use lb_tests::privilege;
use lb_tests::sctp::{self, SctpSocket};
use lb_tests::socket_options;
use lb_tests::topology::{FAR_MTU, Family, Method, PORT, Spec, Topology, Wiring};
use lb_tests::wait;

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
            for family in Family::BOTH {
                let address = SocketAddr::from((real.address_in(family), PORT));
                let url = format!("http://{address}/");
                let tally = http::get_many(&network.clients[0], &url, 5).unwrap();
                assert_eq!(tally.of(real.name()), 5, "{method:?} {family:?}: {tally}");
            }
            assert_eq!(server.requests().len(), 10);
        }
    }
}

/// Behind the router only packets of its smaller MTU arrive, and it says so.
#[test]
fn the_router_is_narrow() {
    if !privilege::network() {
        return;
    }
    let network = Topology::create(&Spec {
        method: Method::Tun,
        wiring: Wiring::Routed,
        reals: 1,
        ..Spec::default()
    })
    .unwrap();
    let client = &network.clients[0];
    for family in Family::BOTH {
        let real = SocketAddr::from((network.reals[0].address_in(family), 7));
        let _echo = Echo::udp(&network.reals[0], real).unwrap();
        let socket = client.enter(|| UdpSocket::bind((family.unspecified(), 0)));
        let socket = socket.unwrap().unwrap();
        socket_options::never_fragment(&socket, family).unwrap();
        socket.connect(real).unwrap();
        socket.set_read_timeout(Some(wait::START_LIMIT)).unwrap();
        let fits = vec![1; FAR_MTU - family.header_bytes() - 8];
        socket.send(&fits).unwrap();
        assert_eq!(socket.recv(&mut [0; 2000]).unwrap(), fits.len());
        socket.send(&[&fits[..], &[1]].concat()).unwrap();
        let heard = socket.recv(&mut [0; 2000]).unwrap_err();
        assert_eq!(heard.raw_os_error(), Some(libc::EMSGSIZE));
        let known = socket_options::path_mtu(&socket, family).unwrap();
        assert_eq!(known, FAR_MTU);
    }
}

/// Streams and raw SCTP come back as they were sent.
#[test]
fn echoes_and_raw_sockets() {
    if !privilege::network() {
        return;
    }
    let network = Topology::create(&Spec {
        reals: 1,
        ..Spec::default()
    })
    .unwrap();
    let (client, real) = (&network.clients[0], &network.reals[0]);
    for family in Family::BOTH {
        let address = SocketAddr::from((real.address_in(family), 7));
        let _echo = Echo::tcp(real, address).unwrap();
        let stream = client.enter(|| TcpStream::connect(address));
        let mut stream = stream.unwrap().unwrap();
        stream.write_all(b"hello").unwrap();
        let mut back = [0; 5];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"hello");

        let one = SctpSocket::open(client, family, 5000).unwrap();
        let other = SctpSocket::open(real, family, 36412).unwrap();
        one.send(real.address_in(family), 36412, sctp::INIT)
            .unwrap();
        let heard = other.receive().unwrap();
        assert_eq!(heard.from, client.address_in(family));
        assert_eq!((heard.source_port, heard.chunk), (5000, sctp::INIT));
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
    let director = network
        .director
        .run("ip", &["-brief", "link", "show", "eth0"])
        .unwrap();
    for family in Family::BOTH {
        let vip = network.vip_in(family).to_string();
        client.run("ping", &["-c", "1", "-W", "2", &vip]).unwrap();
        let neighbour = client.run("ip", &["neighbour", "show", &vip]).unwrap();
        let mac = neighbour.split_whitespace().nth(4).unwrap();
        assert!(director.contains(mac), "{neighbour} is not {director}");
    }
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
