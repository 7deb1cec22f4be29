//! Checks that are exact about what they are shown: a page's digest, a certificate's
//! issuer, name and end, a datagram's octets. One lbd has a service of each kind.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use lb_tests::certificate::Certificate;
use lb_tests::daemon::Daemon;
use lb_tests::dns::{self, NameServer};
use lb_tests::http;
use lb_tests::topology::{Family, Method, PORT};
use lb_tests::wait;
use lb_tests::webserver::WebServer;
use nix::sys::signal::Signal;

use super::{LIMIT, SOON, await_first, first};
use crate::site::{Site, await_reals, json, run};

const PAGE: &str = "alive\n";
/// Of the page, by sha256sum and md5sum.
const SHA256: &str = "f22225688f860f7f66e651cd1d27d8859f979195bc514b13dee4c22f70526234";
const MD5: &str = "4e5dc3caa06fa07c79bc3ba5e62ff86b";

const SECURE_PORT: u16 = 443;
/// No certificate is warned of that ends so late.
const LATE: u32 = 300;

/// The query for the TXT record of who.lbd.test (RFC 1035 section 4.1), as an operator
/// writes it, and its answer's beginning: the same ID, an authoritative answer, no error.
const QUERY: &str = r"lb\0\0\0\x01\0\0\0\0\0\0\x03who\x03lbd\x04test\0\0\x10\0\x01";
const ANSWER: &str = r"lb\x84\0";

#[test]
fn digests_certificates_and_datagrams() {
    let Some(site) = Site::small(Method::Nat) else {
        return;
    };
    let scratch = site.network.directory();
    for number in 0..2 {
        for name in ["one", "two"] {
            set_page(&site, number, name, PAGE);
            let file = page(&site, number, name);
            site.servers[number].publish(name, &file).unwrap();
        }
    }
    let authority = Certificate::create_authority("trusted", scratch).unwrap();
    let [secure, _other] = [0, 1].map(|number| {
        let issued = authority.issue(&names(&site, number), LATE, &keys(&site, number));
        start_secure(&site, number, &issued.unwrap())
    });
    let name_servers = [0, 1].map(|number| start_name_server(&site, number));

    let service = |name, protocol, port, checks: [String; 2]| {
        let checks = checks.map(|keys| format!("{{ {SOON}, {keys} }}"));
        let service = site.service(name, protocol, Family::V4, port);
        service.set(&format!("health = [{}]", checks.join(", ")))
    };
    let digest = |name, keys: String| format!("type = 'http', path = '/files/{name}', {keys}");
    let https = |verify: bool| format!("type = 'https', verify = {verify}");
    let udp = |keys: String| format!("type = 'udp', send = '{QUERY}'{keys}");
    let daemon = site.start_services(&[
        service(
            "web",
            "tcp",
            PORT,
            [
                digest("one", format!("body_sha256 = '{SHA256}'")),
                digest("two", format!("body_md5 = '{MD5}'")),
            ],
        ),
        service("secure", "tcp", SECURE_PORT, [https(true), https(false)]),
        service(
            "names",
            "udp",
            dns::PORT,
            [udp(format!(", expect = '{ANSWER}'")), udp(String::new())],
        ),
    ]);
    await_reals(&daemon);
    digests(&site, &daemon);
    certificates(&site, &daemon, &authority, secure);
    datagrams(&site, &daemon, name_servers);
}

/// A page of the same length is another page.
fn digests(site: &Site, daemon: &Daemon<'_>) {
    for (name, text, health, said) in [
        ("one", PAGE, "up", ["", ""]),
        ("one", "alivE\n", "down", ["body has another sha256", ""]),
        ("one", PAGE, "up", ["", ""]),
        ("two", "olive\n", "down", ["", "body has another md5"]),
        ("two", PAGE, "up", ["", ""]),
    ] {
        set_page(site, 0, name, text);
        await_first(daemon, "web", health, &said);
        site.expect(&spread(health));
    }
}

/// The file of a real's page.
fn page(site: &Site, number: usize, name: &str) -> PathBuf {
    let real = site.network.reals[number].name();
    site.network.directory().join(format!("{real}-{name}"))
}

fn set_page(site: &Site, number: usize, name: &str, text: &str) {
    fs::write(page(site, number, name), text).unwrap();
}

/// Without `verify` what would be refused is no failure; in either case the end is warned
/// of.
fn certificates(site: &Site, daemon: &Daemon<'_>, authority: &Certificate, mut server: WebServer) {
    let other = Certificate::create_authority("other", &site.network.directory().join("other"));
    let (other, names, keys) = (other.unwrap(), names(site, 0), keys(site, 0));
    let another = [IpAddr::from(site.network.clients[0].address())];
    type Issue<'a> = &'a dyn Fn() -> anyhow::Result<Certificate>;
    let rows: [(Issue<'_>, &str, [&str; 2]); 6] = [
        (
            &|| authority.issue(&names, 6, &keys),
            "up",
            ["certificate expires in 5 days"; 2],
        ),
        (
            &|| authority.issue(&names, 0, &keys),
            "down",
            ["certificate has expired"; 2],
        ),
        (
            &|| authority.issue(&another, LATE, &keys),
            "down",
            ["certificate is for another name", ""],
        ),
        (
            &|| other.issue(&names, LATE, &keys),
            "down",
            ["certificate is of an unknown issuer", ""],
        ),
        (
            &|| Certificate::create(&names, &keys),
            "down",
            [
                "certificate is self-signed, or an authority's",
                "certificate expires in 1 day",
            ],
        ),
        (&|| authority.issue(&names, LATE, &keys), "up", ["", ""]),
    ];
    await_first(daemon, "secure", "up", &["", ""]);
    expect_secure(site, authority, &spread("up"));
    for (issue, health, said) in rows {
        // nginx of one process cannot reload.
        drop(server);
        server = start_secure(site, 0, &issue().unwrap());
        await_first(daemon, "secure", health, &said);
        expect_secure(site, authority, &spread(health));
        // What is said of a check that has come off.
        let page = run(daemon, "health secure 10.0.2.11");
        let ok = match said[1] {
            "" => "  ok\n".to_owned(),
            warning => format!("  ok; {warning}\n"),
        };
        assert!(page.ends_with(&ok), "{page}");
    }
    // Once by each of the two checks.
    let log = daemon.log();
    let warned = log.matches("certificate expires in 5 days").count();
    assert_eq!(warned, 2, "{log}");
}

fn start_secure(site: &Site, number: usize, certificate: &Certificate) -> WebServer {
    let (real, directory) = (&site.network.reals[number], site.network.directory());
    let server = WebServer::start_secure(real, real.name(), SECURE_PORT, certificate, directory);
    server.unwrap()
}

/// Whom a real's certificate has to be for: checks ask by its address, clients by the VIP.
fn names(site: &Site, number: usize) -> [IpAddr; 2] {
    let network = &site.network;
    [network.reals[number].address().into(), network.vip().into()]
}

/// The directory of a real's certificate.
fn keys(site: &Site, number: usize) -> PathBuf {
    let real = site.network.reals[number].name();
    site.network.directory().join(format!("{real}-keys"))
}

#[track_caller]
fn expect_secure(site: &Site, authority: &Certificate, expected: &[usize; 2]) {
    let (client, url) = (
        &site.network.clients[0],
        format!("https://{}/", site.network.vip()),
    );
    let mut came = [0; 2];
    for _ in 0..expected.iter().sum() {
        let name = http::get_secure(client, &url, authority).unwrap();
        came[usize::from(name == "real2")] += 1;
    }
    assert_eq!(came, *expected);
}

/// What is expected has to come; where nothing is, silence is good, too.
fn datagrams(site: &Site, daemon: &Daemon<'_>, [mut server, _other]: [NameServer; 2]) {
    let expect = |health, said: [&str; 2]| {
        await_first(daemon, "names", health, &said);
        expect_names(site, health);
    };
    expect("up", ["", ""]);
    // It refuses to answer (RFC 1035 section 4.1.1: RCODE 5).
    server.set_zone(false).unwrap();
    expect("down", ["answer does not match", ""]);
    server.set_zone(true).unwrap();
    expect("up", ["", ""]);
    // It hangs.
    server.process().signal(Signal::SIGSTOP).unwrap();
    expect("down", ["timed out", ""]);
    server.process().signal(Signal::SIGCONT).unwrap();
    expect("up", ["", ""]);

    // It is killed: port unreachable. The real's kernel soon says so only once a second
    // (icmp(7): icmp_ratelimit), and the silence between is not taken for health.
    drop(server);
    wait::until("the name server to be missed", LIMIT, || {
        first(daemon, "names").0 == "down"
    })
    .unwrap();
    let history = json(daemon, &["health", "--history", "names", "10.0.2.11"]);
    let turned = history.as_array().unwrap().last().unwrap();
    assert_eq!(turned["health"], "down", "{history}");
    assert_eq!(turned["reason"], "connection refused", "{history}");
    wait::until("the kernel to be silent", LIMIT, || {
        first(daemon, "names").2 == ["timed out", "connection refused, then silence"]
    })
    .unwrap();
    let checks = json(daemon, &["health", "names", "10.0.2.11"]);
    for check in checks.as_array().unwrap() {
        assert_eq!(check["health"], "down", "{checks}");
    }
    expect_names(site, "down");
    let _server = start_name_server(site, 0);
    expect("up", ["", ""]);
}

fn start_name_server(site: &Site, number: usize) -> NameServer {
    let real = &site.network.reals[number];
    NameServer::start(real, real.name(), site.network.directory()).unwrap()
}

#[track_caller]
fn expect_names(site: &Site, health: &str) {
    let (network, expected) = (&site.network, spread(health));
    let times = expected.iter().sum();
    let tally = dns::ask_many(&network.clients[0], network.vip().into(), times).unwrap();
    assert_eq!(tally.by_real(2), expected, "{tally}");
}

/// Of requests, when the first real is so.
fn spread(health: &str) -> [usize; 2] {
    match health {
        "up" => [2, 2],
        _ => [0, 6],
    }
}
