//! Who may begin a connection: deny, allow, rate limits; and reals that have enough.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use lb_tests::conversation::Conversation;
use lb_tests::daemon::Daemon;
use lb_tests::echo::Echo;
use lb_tests::http;
use lb_tests::service::Service;
use lb_tests::slow_curl;
use lb_tests::topology::{Family, Host, Method, PORT, Spec};
use lb_tests::trickle::{self, Trickle};
use lb_tests::wait;

use crate::site::{Site, await_reals, drops, json, real, run, with_section};

/// Long enough for an answer, short enough to wait for one that does not come: less
/// than the second after which a SYN is sent again.
const SHORT: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(5);
/// A sweep comes by every 5 seconds at most.
const SWEEP: Duration = Duration::from_secs(5 + 2);

fn services(site: &Site) -> String {
    site.configuration(&Family::BOTH.map(|family| site.web(family)))
}

fn defence(config: &str, lines: &str) -> String {
    with_section(config, &format!("[defence]\n{lines}"))
}

/// With two clients of different networks, of both families.
fn site(method: Method) -> Option<Site> {
    let site = Site::create(&Spec {
        method,
        native: true,
        clients: 2,
        reals: 2,
        ..Spec::default()
    })?;
    site.network
        .move_client(&site.network.clients[1], 4)
        .unwrap();
    Some(site)
}

/// Whether a client gets a connection; one that it does not get is dropped in silence.
#[track_caller]
fn is_let_in(site: &Site, client: &Host, family: Family) -> bool {
    let address = SocketAddr::from((site.network.vip_in(family), PORT));
    let connected = client
        .enter(|| TcpStream::connect_timeout(&address, SHORT))
        .unwrap();
    match connected {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::TimedOut => false,
        Err(error) => panic!("{error}"),
    }
}

/// Whom of the two clients, by IPv4 and by IPv6.
#[track_caller]
fn let_in(site: &Site) -> [[bool; 2]; 2] {
    let clients = &site.network.clients;
    Family::BOTH.map(|family| [0, 1].map(|number| is_let_in(site, &clients[number], family)))
}

/// A list that holds for new connections only shows as a download that goes on, one
/// that is too wide as the other client's that ends.
fn lists(method: Method) {
    let Some(site) = site(method) else { return };
    let network = &site.network;
    network.keep_buffers_small().unwrap();
    let large = http::random_file(network.directory(), "large", 32 << 20).unwrap();
    for server in &site.servers {
        server.publish("large", &large).unwrap();
    }
    let config = services(&site);
    let mut daemon = site.start_with(&config);
    await_reals(&daemon);
    assert_eq!(let_in(&site), [[true; 2]; 2]);

    let mut downloads: Vec<_> = Family::BOTH
        .into_iter()
        .flat_map(|family| [0, 1].map(|client| (family, client)))
        .map(|(family, client)| {
            let pipe = network.directory().join(format!("{client}-{family:?}"));
            let url = network.url_in(family, "files/large");
            slow_curl::start(&network.clients[client], &url, &pipe).unwrap()
        })
        .collect();
    let deny = "deny = [\"10.0.1.0/24\", \"2001:db8:1::/64\"]";
    daemon.reload(&defence(&config, deny)).unwrap();
    for (number, download) in downloads.iter_mut().enumerate() {
        if number % 2 == 1 {
            continue;
        }
        let status = download.wait(SWEEP).unwrap();
        let said = download.log();
        assert_eq!(status.code(), Some(56), "{said}");
        assert!(said.contains("reset by peer"), "{said}");
    }
    assert_eq!(let_in(&site), [[false, true]; 2]);
    assert!(drops(&daemon, "denied") >= 2);
    for number in [1, 3] {
        downloads[number].check_running().unwrap();
    }

    // The address of the client of the other network, and both networks.
    let allow = "allow = [\"10.0.4.12\", \"2001:db8:4::12\"]";
    daemon.reload(&defence(&config, allow)).unwrap();
    assert_eq!(let_in(&site), [[false, true]; 2]);
    let allow = "allow = [\"10.0.0.0/16\", \"2001:db8::/32\"]\ndeny = [\"10.0.4.0/24\"]";
    daemon.reload(&defence(&config, allow)).unwrap();
    assert_eq!(let_in(&site), [[true, false], [true, true]]);
    daemon.reload(&config).unwrap();
    assert_eq!(let_in(&site), [[true; 2]; 2]);
}

#[test]
fn lists_dr() {
    lists(Method::Dr);
}

#[test]
fn lists_nat() {
    lists(Method::Nat);
}

/// A file that has changed while no lbd ran shows as a download that goes on.
#[test]
fn denied_by_the_next_daemon() {
    let Some(site) = site(Method::Dr) else { return };
    trickle::publish_small(&site.network, &site.servers).unwrap();
    let config = services(&site);
    let mut daemon = site.start_with(&config);
    let start = |client: &Host| Trickle::start(&site.network, client).unwrap();
    let downloads: Vec<_> = site.network.clients.iter().map(start).collect();
    let deny = defence(&config, "deny = [\"10.0.1.0/24\"]");
    daemon.write_config(&deny).unwrap();
    daemon.stop().unwrap();
    daemon.restart().unwrap();
    wait::until("the denied client's connection to be cut", SWEEP, || {
        drops(&daemon, "connection_cut") > 0
    })
    .unwrap();
    let mut downloads = downloads.into_iter();
    let denied = downloads.next().unwrap().finish().unwrap_err();
    assert!(
        format!("{denied:#}").contains("reset by peer"),
        "{denied:#}"
    );
    downloads.next().unwrap().finish().unwrap();
}

const UDP_PORT: u16 = 7000;

/// So many datagrams of a client, each from a port of its own: how many are answered.
#[track_caller]
fn answered(site: &Site, client: usize, family: Family, times: usize) -> usize {
    let network = &site.network;
    let sockets: Vec<_> = (0..times)
        .map(|_| {
            let bind = || UdpSocket::bind((family.unspecified(), 0));
            let socket = network.clients[client].enter(bind).unwrap().unwrap();
            socket.connect((network.vip_in(family), UDP_PORT)).unwrap();
            socket.send(b"let me in").unwrap();
            socket
        })
        .collect();
    // By now the first ones' answers have long come; the others' never do.
    let mut heard = 0;
    let mut limit = SHORT;
    for socket in sockets {
        socket.set_read_timeout(Some(limit)).unwrap();
        match socket.recv(&mut [0; 16]) {
            Ok(_) => heard += 1,
            Err(_) => limit = Duration::from_millis(1),
        }
    }
    heard
}

/// Limits that are shared by networks show as a second client that gets less, those
/// that are not by neighbours as more than the burst. One is let in again every ten
/// seconds: none during the test, or one.
fn limited(of_service: bool) {
    let Some(site) = site(Method::Dr) else { return };
    let network = &site.network;
    let _echoes: Vec<_> = network
        .reals
        .iter()
        .flat_map(|real| Family::BOTH.map(|family| (real, family)))
        .map(|(real, family)| Echo::udp(real, (network.vip_in(family), UDP_PORT).into()).unwrap())
        .collect();
    let limit = if of_service {
        "rate_limit = { connections = 1, burst = 6 }"
    } else {
        ""
    };
    let services = Family::BOTH.map(|family| {
        let vip = network.vip_in(family);
        Service::new(&format!("{family:?}"), "udp", vip, UDP_PORT, "dr")
            .with(limit)
            .reals(&network.reals, family, Method::Dr)
    });
    let config = site.configuration(&services);
    let config = if of_service {
        config
    } else {
        defence(&config, "rate_limit = { per_source = 1, burst = 6 }")
    };
    let daemon = site.start_with(&config);
    await_reals(&daemon);
    for family in Family::BOTH {
        let dropped = drops(&daemon, "rate_limited");
        let first = answered(&site, 0, family, 20);
        assert!((6..=8).contains(&first), "{family:?}: {first}");
        let since = drops(&daemon, "rate_limited") - dropped;
        assert_eq!(since, 20 - first as u64, "{family:?}");
        let second = answered(&site, 1, family, 20);
        let expected = if of_service { 0..=3 } else { 6..=8 };
        assert!(expected.contains(&second), "{family:?}: {second}");
    }
}

#[test]
fn limited_by_source() {
    limited(false);
}

#[test]
fn limited_by_service() {
    limited(true);
}

/// A TCP client that comes too often waits, and gets in with one of its next SYNs.
#[test]
fn limited_clients_try_again() {
    let Some(site) = site(Method::Nat) else {
        return;
    };
    let limit = "rate_limit = { per_source = 1, burst = 3 }";
    let daemon = site.start_with(&defence(&services(&site), limit));
    let client = &site.network.clients[0];
    let address = SocketAddr::from((site.network.vip(), PORT));
    let connect = || {
        client
            .enter(|| TcpStream::connect_timeout(&address, LIMIT))
            .unwrap()
    };
    let _held: Vec<_> = (0..5).map(|_| connect().unwrap()).collect();
    assert!(drops(&daemon, "rate_limited") >= 1);
}

#[track_caller]
fn is_overloaded(daemon: &Daemon<'_>) -> [bool; 2] {
    [1, 2].map(|number| real(daemon, number)["overloaded"].as_bool().unwrap())
}

/// A threshold that is not looked at shows as a third connection to real1, one that is
/// never left again as a client that is refused for good.
fn thresholds(method: Method, family: Family) {
    let Some(site) = Site::small(method) else {
        return;
    };
    let network = &site.network;
    // Of the weight alone, nine of ten would go to real1.
    let limits = "upper_threshold = 2\nlower_threshold = 2\nport = 80";
    let [first, second] = [0, 1].map(|number| network.reals[number].address_in(family));
    let service = Service::new("web", "tcp", network.vip_in(family), PORT, method.name())
        .real(first, &format!("weight = 9\n{limits}"))
        .real(second, limits);
    let weighted = site.configuration(&[service]).replace("\"rr\"", "\"wrr\"");
    let config = with_section(
        &weighted,
        "[timeouts]\ntcp_fin_wait = \"1s\"\ntcp_time_wait = \"1s\"\ntcp_close = \"1s\"\n\
         tcp_close_wait = \"1s\"\ntcp_last_ack = \"1s\"",
    );
    let daemon = site.start_with(&config);
    let open = || Conversation::open(&network.clients[0], network.vip_in(family), PORT);
    let mut held: Vec<_> = (0..4).map(|_| open().unwrap()).collect();
    let names: Vec<_> = held.iter_mut().map(|one| one.ask().unwrap()).collect();
    assert_eq!(names, ["real1", "real1", "real2", "real2"]);
    assert_eq!(is_overloaded(&daemon), [true, true]);

    let refused = open().unwrap_err();
    let cause = refused.downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(cause.kind(), ErrorKind::ConnectionRefused, "{refused:#}");
    assert!(drops(&daemon, "no_real") >= 1);
    // Those who are in are served.
    assert_eq!(held[0].ask().unwrap(), "real1");

    held.remove(0);
    wait::until("real1 to have room", 2 * SWEEP, || {
        !is_overloaded(&daemon)[0]
    })
    .unwrap();
    let mut back = open().unwrap();
    assert_eq!(back.ask().unwrap(), "real1");
    assert_eq!(is_overloaded(&daemon), [true, true]);

    // 0 is none, at once.
    let real = match second {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    run(&daemon, &format!("real edit web {real} -x 0 -y 0"));
    assert_eq!(is_overloaded(&daemon), [true, false]);
    assert_eq!(open().unwrap().ask().unwrap(), "real2");
    assert_eq!(
        json(&daemon, &["list"])[0]["reals"][1]["upper_threshold"],
        0
    );
}

#[test]
fn thresholds_dr_v4() {
    thresholds(Method::Dr, Family::V4);
}

#[test]
fn thresholds_nat_v6() {
    thresholds(Method::Nat, Family::V6);
}
