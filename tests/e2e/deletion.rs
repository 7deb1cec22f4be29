//! A real is deleted: its connections finish, are cut, or end with their next packet.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use lb_tests::conversation::Conversation;
use lb_tests::daemon::Daemon;
use lb_tests::echo::Echo;
use lb_tests::http;
use lb_tests::process::Process;
use lb_tests::service::Service;
use lb_tests::slow_curl;
use lb_tests::topology::{Family, Method, PORT};
use lb_tests::trickle::{self, Trickle};
use lb_tests::wait;
use serde_json::Value;

use crate::site::{Site, await_reals, drops, json, run, with_option};

/// How long a client may take to hear of its end.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The port of UDP services, and how long an answer may take.
const ECHO: u16 = 7000;
const LIMIT: Duration = Duration::from_secs(5);

/// How long nginx may take to write down that it has answered.
const LOGGED: Duration = Duration::from_secs(2);

fn name_of(family: Family) -> &'static str {
    match family {
        Family::V4 => "web",
        Family::V6 => "web6",
    }
}

/// `SERVICE REAL` of lbctl.
fn words(site: &Site, family: Family, number: usize) -> String {
    let service = name_of(family);
    match site.network.reals[number - 1].address_in(family) {
        IpAddr::V4(address) => format!("{service} {address}"),
        IpAddr::V6(address) => format!("{service} [{address}]"),
    }
}

/// A real as `lbctl list --json` has it, wherever it is in the list.
#[track_caller]
fn listed(daemon: &Daemon<'_>, site: &Site, family: Family, number: usize) -> Option<Value> {
    let address = site.network.reals[number - 1]
        .address_in(family)
        .to_string();
    let services = json(daemon, &["list"]);
    let mut services = services.as_array().unwrap().iter();
    let service = services.find(|service| service["name"] == name_of(family));
    let reals = service.unwrap()["reals"].as_array().unwrap();
    let is_it = |real: &&Value| real["real"].as_str().unwrap().contains(&address);
    reals.iter().find(is_it).cloned()
}

/// With two services and two reals each, and downloads that go on slowly.
fn site(method: Method) -> Option<Site> {
    let site = Site::small(method)?;
    trickle::publish_small(&site.network, &site.servers).unwrap();
    Some(site)
}

fn config(site: &Site) -> String {
    site.configuration(&Family::BOTH.map(|family| site.web(family)))
}

/// A connection that goes with its real shows as a download that breaks, one that
/// the returned real does not know as its own as counts that begin anew.
fn finishes(method: Method) {
    let Some(site) = site(method) else { return };
    let (network, client) = (&site.network, &site.network.clients[0]);
    let daemon = site.start_with(&config(&site));
    for family in Family::BOTH {
        let download = Trickle::start_in(family, network, client).unwrap();
        site.expect_in(family, &[1, 2]);
        let before = listed(&daemon, &site, family, 1).unwrap();
        assert_eq!(
            (&before["active"], &before["inactive"]),
            (&1.into(), &1.into())
        );

        run(&daemon, &format!("real delete {}", words(&site, family, 1)));
        assert!(listed(&daemon, &site, family, 1).is_none());
        site.expect_in(family, &[0, 3]);
        download.check().unwrap();

        run(&daemon, &format!("real add {}", words(&site, family, 1)));
        let after = listed(&daemon, &site, family, 1).unwrap();
        assert_eq!(
            (&after["active"], &after["inactive"]),
            (&1.into(), &1.into())
        );
        assert_eq!(after["stats"]["connections"], 2, "{after}");
        let bytes = |real: &Value| real["stats"]["in_bytes"].as_u64().unwrap();
        assert!(bytes(&after) > bytes(&before), "{before} {after}");
        download.check().unwrap();
        download.finish().unwrap();
        let tally = site.ask_in(family, 4);
        assert_eq!(tally.by_real(2), [2, 2], "{family:?}: {tally}");
    }
    assert_eq!(drops(&daemon, "connection_cut"), 0);
}

#[test]
fn finishes_dr() {
    finishes(Method::Dr);
}

#[test]
fn finishes_nat() {
    finishes(Method::Nat);
}

#[test]
fn finishes_tun() {
    finishes(Method::Tun);
}

/// A slow download by curl, under way.
#[track_caller]
fn begin(site: &Site, family: Family, name: &str) -> Process {
    let network = &site.network;
    let pipe = network.directory().join(format!("{name}-{family:?}"));
    let url = network.url_in(family, "files/large");
    slow_curl::start(&network.clients[0], &url, &pipe).unwrap()
}

/// curl ends at once, and says why.
#[track_caller]
fn is_reset(download: &mut Process) {
    let status = download.wait(AT_ONCE).unwrap();
    let said = download.log();
    // curl(1): 56, failure in receiving network data.
    assert_eq!(status.code(), Some(56), "{said}");
    assert!(said.contains("reset by peer"), "{said}");
}

/// A client that is not told shows as a curl that waits, one that is told more than
/// it should be as the other real's download that fails too.
fn cut(method: Method) {
    let Some(site) = site(method) else { return };
    let network = &site.network;
    let large = http::random_file(network.directory(), "large", 32 << 20).unwrap();
    for server in &site.servers {
        server.publish("large", &large).unwrap();
    }
    let daemon = site.start_with(&config(&site));
    for (number, family) in Family::BOTH.into_iter().enumerate() {
        let mut first = begin(&site, family, "first");
        let mut second = begin(&site, family, "second");
        run(
            &daemon,
            &format!("real delete {} --now", words(&site, family, 1)),
        );
        is_reset(&mut first);
        assert!(drops(&daemon, "connection_cut") > number as u64);
        site.expect_in(family, &[0, 2]);
        second.check_running().unwrap();

        run(
            &daemon,
            &format!("service delete {} --now", name_of(family)),
        );
        is_reset(&mut second);
        assert_eq!(site.ask_in(family, 1).failures, 1);
    }
}

#[test]
fn cut_dr() {
    cut(Method::Dr);
}

#[test]
fn cut_nat() {
    cut(Method::Nat);
}

#[test]
fn cut_tun() {
    cut(Method::Tun);
}

/// A packet that still gets to the deleted real shows as an answer or as a request
/// in its log.
fn expires(method: Method) {
    let Some(site) = Site::small(method) else {
        return;
    };
    let network = &site.network;
    let daemon = site.start_with(&with_option(&config(&site), "expire_nodest = true"));
    for (number, family) in Family::BOTH.into_iter().enumerate() {
        let open =
            || Conversation::open(&network.clients[0], network.vip_in(family), PORT).unwrap();
        let mut held = [open(), open()];
        assert_eq!(
            held.each_mut().map(|one| one.ask().unwrap()),
            ["real1", "real2"]
        );
        let [mut first, mut second] = held;
        // nginx writes a line when its answer is gone.
        let requests = 1 + 3 * number;
        let seen = || site.servers[0].requests().len();
        wait::until("every line of the log", LOGGED, || seen() == requests).unwrap();
        run(&daemon, &format!("real delete {}", words(&site, family, 1)));
        let already = number as u64;
        assert_eq!(drops(&daemon, "real_deleted"), already);
        // The next packet is lost; sent again, it is nobody's, and the VIP's owner says so.
        assert!(first.ask().is_err());
        assert_eq!(drops(&daemon, "real_deleted"), already + 1);
        assert_eq!(seen(), requests);
        assert_eq!(second.ask().unwrap(), "real2");
        site.expect_in(family, &[0, 3]);

        run(&daemon, &format!("real add {}", words(&site, family, 1)));
        let back = listed(&daemon, &site, family, 1).unwrap();
        assert_eq!(back["active"], 0, "{back}");
        let tally = site.ask_in(family, 4);
        assert_eq!(tally.by_real(2), [2, 2], "{family:?}: {tally}");
    }
}

#[test]
fn expires_dr() {
    expires(Method::Dr);
}

#[test]
fn expires_nat() {
    expires(Method::Nat);
}

#[test]
fn expires_tun() {
    expires(Method::Tun);
}

/// The file drops the real of one service, and the other service: what goes by a reload
/// is deleted too. Connections that finish all the same show as an answer.
#[test]
fn expires_by_reload() {
    let Some(site) = Site::small(Method::Dr) else {
        return;
    };
    let network = &site.network;
    let with =
        |services: &[Service]| with_option(&site.configuration(services), "expire_nodest = true");
    let mut daemon = site.start_with(&with(&Family::BOTH.map(|family| site.web(family))));
    let mut held = Family::BOTH.map(|family| {
        let vip = network.vip_in(family);
        [(); 2].map(|()| Conversation::open(&network.clients[0], vip, PORT).unwrap())
    });
    let names = held
        .each_mut()
        .map(|two| two.each_mut().map(|one| one.ask().unwrap()));
    assert_eq!(names, [["real1", "real2"]; 2]);

    let vip = network.vip().into();
    let second = network.reals[1].address().into();
    let left = Service::new("web", "tcp", vip, PORT, "dr").real(second, "");
    daemon.reload(&with(&[left])).unwrap();
    let [[of_real1, of_real2], of_service] = &mut held;
    assert!(of_real1.ask().is_err());
    assert_eq!(of_real2.ask().unwrap(), "real2");
    for one in of_service {
        assert!(one.ask().is_err());
    }
    assert_eq!(drops(&daemon, "real_deleted"), 3);
    site.expect(&[0, 2]);
}

/// By UDP nobody can be told: a datagram that is dropped, or still gets to the deleted
/// real, shows as no answer, or as one that the other real has not given.
fn datagrams(method: Method) {
    let Some(site) = Site::small(method) else {
        return;
    };
    let network = &site.network;
    let services = Family::BOTH.map(|family| site.service(name_of(family), "udp", family, ECHO));
    let daemon = site.start_services(&services);
    await_reals(&daemon);
    for family in Family::BOTH {
        let vip = network.vip_in(family);
        let echoes = [0, 1].map(|number| {
            let real = &network.reals[number];
            let address = match method {
                Method::Nat => real.address_in(family),
                Method::Dr | Method::Tun => vip,
            };
            Echo::udp(real, (address, ECHO).into()).unwrap()
        });
        let bind = || UdpSocket::bind((family.unspecified(), 0));
        let socket = network.clients[0].enter(bind).unwrap().unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.connect((vip, ECHO)).unwrap();
        let ask = || {
            socket.send(b"who").unwrap();
            let answer = socket.recv(&mut [0; 8]);
            let heard = echoes.each_ref().map(Echo::heard);
            let status = || json(&daemon, &["status"]);
            assert_eq!(answer.ok(), Some(3), "{heard:?} {}", status());
            echoes.each_ref().map(Echo::heard)
        };
        assert_eq!([ask(), ask()], [[1, 0], [2, 0]], "{family:?}");
        let first = words(&site, family, 1);
        run(&daemon, &format!("real delete {first}"));
        assert_eq!(ask(), [3, 0], "{family:?}");
        run(&daemon, &format!("real add {first}"));
        run(&daemon, &format!("real delete {first} --now"));
        assert_eq!([ask(), ask()], [[3, 1], [3, 2]], "{family:?}");
    }
}

#[test]
fn datagrams_dr() {
    datagrams(Method::Dr);
}

#[test]
fn datagrams_nat() {
    datagrams(Method::Nat);
}
