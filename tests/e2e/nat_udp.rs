//! UDP by nat: what keeps a connection alive, and whose answers are whose.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use lb_tests::echo::Echo;
use lb_tests::service::Service;
use lb_tests::topology::{Family, Host, Method, Spec};
use lb_tests::wait;

use crate::site::{Site, drops, json};

const PORT: u16 = 7000;
const LIMIT: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(300);

/// The shortened timeout of UDP connections.
const TIMEOUT: Duration = Duration::from_secs(2);
/// A sweep comes by every 5 seconds at most.
const SWEEP: Duration = Duration::from_secs(5 + 2);

fn site() -> Option<Site> {
    Site::create(&Spec {
        method: Method::Nat,
        native: true,
        reals: 1,
        ..Spec::default()
    })
}

fn bind(host: &Host, address: impl Into<SocketAddr>) -> UdpSocket {
    let address = address.into();
    let socket = host.enter(|| UdpSocket::bind(address)).unwrap().unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

/// A client asks once, and the real goes on sending for five times the timeout. An
/// entry that only the client's packets refresh shows as a stream that ends, one that
/// never expires as a table that does not empty.
fn only_the_real_sends(family: Family) {
    let Some(site) = site() else { return };
    let network = &site.network;
    let service = site.service("stream", "udp", family, PORT);
    let config = site
        .configuration(&[service])
        .replace("[capacity]", "[timeouts]\nudp = \"2s\"\n\n[capacity]");
    let daemon = site.start_with(&config);
    let table = match family {
        Family::V4 => 0,
        Family::V6 => 1,
    };
    let entries = || {
        json(&daemon, &["status"])["tables"][table]["entries"]
            .as_u64()
            .unwrap()
    };

    let server = bind(&network.reals[0], (family.unspecified(), PORT));
    let client = bind(&network.clients[0], (family.unspecified(), 0));
    client.connect((network.vip_in(family), PORT)).unwrap();
    client.send(b"begin").unwrap();
    let mut heard = [0; 16];
    let (_, to) = server.recv_from(&mut heard).unwrap();
    let begin = Instant::now();
    let mut number = 0_u32;
    while begin.elapsed() < 5 * TIMEOUT {
        number += 1;
        server.send_to(&number.to_be_bytes(), to).unwrap();
        let length = client.recv(&mut heard).unwrap();
        assert_eq!(
            heard[..length],
            number.to_be_bytes(),
            "{:?}",
            begin.elapsed()
        );
        thread::sleep(TIMEOUT / 4);
    }
    assert!(entries() > 0);
    wait::until("the connection to expire", TIMEOUT + SWEEP, || {
        entries() == 0
    })
    .unwrap();
    // Nobody asked for this one.
    server.send_to(b"late", to).unwrap();
    client.set_read_timeout(Some(SHORT)).unwrap();
    assert_eq!(
        client.recv(&mut heard).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
}

#[test]
fn only_the_real_sends_v4() {
    only_the_real_sends(Family::V4);
}

#[test]
fn only_the_real_sends_v6() {
    only_the_real_sends(Family::V6);
}

/// Two services with one real at one port, and a client that uses one port for both:
/// from the real, both would be the same. The second is refused and counted; one that
/// is let in shows as an answer from the service that was not asked.
fn never_mixed_up(family: Family) {
    let Some(site) = site() else { return };
    let network = &site.network;
    let vip = network.vip_in(family);
    let real = network.reals[0].address_in(family);
    let services = [("first", PORT), ("second", PORT + 1)].map(|(name, port)| {
        Service::new(name, "udp", vip, port, "nat").real(real, &format!("port = {PORT}"))
    });
    let daemon = site.start_services(&services);
    let _echo = Echo::udp(&network.reals[0], (family.unspecified(), PORT).into()).unwrap();
    let [first, second] = [PORT, PORT + 1].map(|port| SocketAddr::from((vip, port)));
    let client = bind(&network.clients[0], (family.unspecified(), 5000));
    let hear = |limit| {
        let mut heard = [0; 16];
        client.set_read_timeout(Some(limit)).unwrap();
        let answer = client.recv_from(&mut heard);
        answer.map(|(length, from)| (heard[..length].to_vec(), from))
    };

    client.send_to(b"one", first).unwrap();
    assert_eq!(hear(LIMIT).unwrap(), (b"one".to_vec(), first));
    for attempt in 1..=3 {
        client.send_to(b"two", second).unwrap();
        assert_eq!(hear(SHORT).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(drops(&daemon, "nat_collision"), attempt);
        client.send_to(b"three", first).unwrap();
        assert_eq!(hear(LIMIT).unwrap(), (b"three".to_vec(), first));
    }
    // From another port it is another connection.
    let other = bind(&network.clients[0], (family.unspecified(), 5001));
    other.connect(second).unwrap();
    other.send(b"four").unwrap();
    let mut heard = [0; 16];
    assert_eq!(other.recv(&mut heard).unwrap(), 4);
    assert_eq!(&heard[..4], b"four");
}

#[test]
fn never_mixed_up_v4() {
    never_mixed_up(Family::V4);
}

#[test]
fn never_mixed_up_v6() {
    never_mixed_up(Family::V6);
}
