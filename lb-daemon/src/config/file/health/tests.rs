//! Health as files have it, right and wrong.

use super::super::parse;
use crate::config::{
    health::{
        Check, Exchange, Exec, Expected, Http, OnFailure, Probe, Quorum, Require, Timing, Tls, Via,
    },
    model::{ForwardingMethod, Service},
};
use std::time::Duration;

/// Six lines.
const BEFORE: &str = "[director]\ninterfaces = ['eth0']\n[[service]]\nprotocol = 'tcp'\n\
                      address = '192.0.2.10'\nport = 80\n";

fn service(text: &str) -> Service {
    let mut config = parse(&format!("{BEFORE}{text}"), "lbd.toml").unwrap();
    config.services.remove(0)
}

fn refused(text: &str) -> String {
    let error = parse(&format!("{BEFORE}{text}"), "lbd.toml").unwrap_err();
    error.to_string()
}

/// The one check with these lines.
fn check(text: &str) -> Check {
    let service = service(&format!("[service.health]\n{text}"));
    let [check] = &service.health.checks[..] else {
        panic!("{service:?}")
    };
    check.clone()
}

fn probe(text: &str) -> Probe {
    check(text).probe
}

#[test]
fn a_check_has_the_contracts_defaults() {
    let check = check("type = 'http'\n");
    assert_eq!(check.timing.interval, Duration::from_secs(2));
    assert_eq!(check.timing.timeout, Duration::from_secs(1));
    assert_eq!((check.rise, check.fall, check.port), (2, 3, None));
    assert_eq!(
        (check.via, check.alpha, check.omega),
        (Via::Real, false, false)
    );
    assert_eq!(check.on_failure, OnFailure::Remove);
    let Probe::Http(http) = check.probe else {
        panic!("{check:?}")
    };
    assert_eq!((&*http.path, &*http.method), ("/", "GET"));
    assert_eq!(http.status, [(200, 299)]);
    let health = &service("").health;
    assert_eq!(
        (health.require, &health.quorum),
        (Require::All, &Quorum::default())
    );
    assert_eq!((health.checks.len(), health.sorry_server), (0, None));
}

#[test]
fn every_key_of_every_check_is_read() {
    // The timeout may be the longer one: keepalived's files have it so.
    let common = check(
        "type = 'tcp'\ninterval = '6s'\ntimeout = '10s'\nrise = 1\nfall = 5\nport = 8080\nvia = 'service'\n\
         alpha = true\nomega = true\nwarmup = '15s'\nfast_interval = '500ms'\non_failure = 'quiesce'\n",
    );
    let expected = Check {
        timing: Timing {
            interval: Duration::from_secs(6),
            timeout: Duration::from_secs(10),
            warmup: Duration::from_secs(15),
            fast_interval: Some(Duration::from_millis(500)),
        },
        rise: 1,
        fall: 5,
        port: Some(8080),
        via: Via::Service,
        alpha: true,
        omega: true,
        on_failure: OnFailure::Quiesce,
        ..Check::new(Probe::Tcp)
    };
    assert_eq!(common, expected);

    let Probe::Https(http, tls) = probe(
        "type = 'https'\npath = '/health?full=1'\nmethod = 'HEAD'\nhost = 'www.example.com'\n\
         headers = { X-Check = 'lbd', Accept = '*/*' }\nstatus = [404, '200-250', '251-299']\n\
         body_regex = 'ok|fine'\nbody_md5 = 'd41d8cd98f00b204e9800998ecf8427e'\nverify = false\n\
         sni = 'example.com'\n",
    ) else {
        panic!("not https")
    };
    let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    assert_eq!(
        http,
        Http {
            path: "/health?full=1".into(),
            method: "HEAD".into(),
            host: Some("www.example.com".into()),
            headers: [("Accept", "*/*"), ("X-Check", "lbd")].map(pair).into(),
            status: vec![(200, 299), (404, 404)],
            body_regex: Some("ok|fine".parse().unwrap()),
            body_sha256: None,
            body_md5: Some("d41d8cd98f00b204e9800998ecf8427e".parse().unwrap()),
        }
    );
    let sni = Some("example.com".to_owned());
    assert_eq!(tls, Tls { verify: false, sni });

    let quit = Exchange {
        send: "QUIT\\r\\n".parse().unwrap(),
        expect: Some(Expected::Prefix("220".parse().unwrap())),
    };
    assert_eq!(
        probe("type = 'send_expect'\nsend = \"QUIT\\r\\n\"\nexpect = '220'\n"),
        Probe::SendExpect(quit)
    );
    let pattern = Exchange {
        send: "\\x00".parse().unwrap(),
        expect: Some(Expected::Match("^x".parse().unwrap())),
    };
    assert_eq!(
        probe("type = 'udp'\nsend = '\\x00'\nexpect_regex = '^x'\n"),
        Probe::Udp(pattern)
    );
    assert_eq!(probe("type = 'udp'\n"), Probe::Udp(Exchange::default()));
    assert_eq!(
        probe(
            "type = 'exec'\ncommand = ['/usr/lib/lbd/check', '%h', '%p']\ndynamic = true\nexpect = 'up'\n"
        ),
        Probe::Exec(Exec {
            command: ["/usr/lib/lbd/check", "%h", "%p"].map(String::from).into(),
            expect: Some(Expected::Prefix("up".parse().unwrap())),
            dynamic: true,
        })
    );
    assert_eq!(
        probe("type = 'smtp'\nhost = 'lbd.example.com'\n"),
        Probe::Smtp(Some("lbd.example.com".into()))
    );
    assert_eq!(
        probe("type = 'file'\npath = '/run/weight'\n"),
        Probe::File("/run/weight".into())
    );
    assert_eq!(
        probe("type = 'grpc'\nservice = 'shop'\n"),
        Probe::Grpc("shop".into())
    );
    let Probe::Dns(dns) = probe("type = 'dns'\nquery = 'example.com'\nrecord = 'MX'\n") else {
        panic!("not dns")
    };
    assert_eq!((&*dns.query, dns.record.name()), ("example.com", "MX"));
    for (name, expected) in [
        ("icmp", Probe::Icmp),
        ("mysql", Probe::Mysql),
        ("redis", Probe::Redis),
        ("agent", Probe::Agent),
    ] {
        assert_eq!(probe(&format!("type = '{name}'\n")), expected);
    }
}

#[test]
fn what_is_wrong_with_a_check_is_named() {
    for (text, expected) in [
        ("", "7: service.health.type: missing"),
        (
            "type = 'htp'\n",
            "8: service.health.type: unknown type of check \"htp\"; did you mean http?",
        ),
        (
            "type = 'tcp'\npaht = '/'\n",
            "9: service.health.paht: unknown key; did you mean path?",
        ),
        (
            "type = 'tcp'\npath = '/'\n",
            "9: service.health.path: unknown key for type \"tcp\"; the nearest valid key is fall",
        ),
        (
            "type = 'icmp'\nport = 7\n",
            "9: service.health.port: unknown key for type \"icmp\"; the nearest valid key is type",
        ),
        (
            "type = 'http'\nverify = false\n",
            "9: service.health.verify: unknown key for type \"http\"; the nearest valid key is rise",
        ),
        (
            "type = 'tcp'\ninterval = '50ms'\n",
            "9: service.health.interval: out of range: 100ms to 24h",
        ),
        (
            "type = 'tcp'\ntimeout = '0s'\n",
            "9: service.health.timeout: out of range: 10ms to 1h",
        ),
        (
            "type = 'tcp'\nrise = 0\n",
            "9: service.health.rise: 0 is out of range: 1 to 10000",
        ),
        (
            "type = 'tcp'\nvia = 'reel'\n",
            "9: service.health.via: unknown choice \"reel\"; did you mean real?",
        ),
        (
            "type = 'http'\nstatus = [\n200,\n'300-200']\n",
            "11: service.health.status: \"300-200\" is not a status or a range: expected 200 or 200-299, from 100 \
             to 599",
        ),
        (
            "type = 'http'\nstatus = []\n",
            "9: service.health.status: at least one status is needed; leave the key out for 200-299",
        ),
        (
            "type = 'http'\nheaders = { A = '1', a = '2' }\n",
            "9: service.health.headers: a is listed twice",
        ),
        (
            "type = 'http'\nheaders = { A = 1 }\n",
            "9: service.health.headers: expected a string, found integer",
        ),
        (
            "type = 'http'\nbody_regex = '['\n",
            "9: service.health.body_regex: \"[\" is not a regular expression: unclosed character class",
        ),
        (
            "type = 'http'\nbody_sha256 = 'abc'\n",
            "9: service.health.body_sha256: \"abc\" is not a digest: expected 64 hexadecimal figures",
        ),
        (
            "type = 'send_expect'\n",
            "7: service.health.expect: missing: there is nothing to send or to expect",
        ),
        (
            "type = 'udp'\nexpect = ''\n",
            "9: service.health.expect: empty; leave the key out for any answer",
        ),
        (
            "type = 'udp'\nexpect = 'a'\nexpect_regex = 'b'\n",
            "10: service.health.expect_regex: contradicts expect; one of them is enough",
        ),
        ("type = 'exec'\n", "7: service.health.command: missing"),
        (
            "type = 'exec'\ncommand = []\n",
            "9: service.health.command: at least the program is needed",
        ),
        (
            "type = 'exec'\ncommand = ['check', '%h']\n",
            "9: service.health.command: \"check\" is not an absolute path: the program comes first, then its \
             arguments, each a string",
        ),
        (
            "type = 'file'\npath = 'weight'\n",
            "9: service.health.path: \"weight\" is not an absolute path",
        ),
        ("type = 'dns'\n", "7: service.health.query: missing"),
        (
            "type = 'dns'\nquery = '.'\nrecord = 'AAA'\n",
            "10: service.health.record: unknown record \"AAA\"; did you mean AAAA?",
        ),
    ] {
        let error = refused(&format!("[service.health]\n{text}"));
        assert_eq!(error, format!("lbd.toml:{expected}"), "{text}");
    }
}

#[test]
fn several_checks_and_those_of_a_real() {
    let service = service(
        "require = 'any'\n[[service.health]]\ntype = 'icmp'\n[[service.health]]\ntype = 'tcp'\n\
         [[service.real]]\naddress = '10.0.0.2'\n\
         [[service.real]]\naddress = '10.0.0.3'\nhealth = []\n\
         [[service.real]]\naddress = '10.0.0.4'\nnotify_up = ['/bin/echo', 'up']\n\
         [service.real.health]\ntype = 'redis'\n",
    );
    assert_eq!(service.health.require, Require::Any);
    let probes: Vec<_> = service
        .health
        .checks
        .iter()
        .map(|check| &check.probe)
        .collect();
    assert_eq!(probes, [&Probe::Icmp, &Probe::Tcp]);
    let [inherits, none, own] = &service.reals[..] else {
        panic!("{service:?}")
    };
    assert_eq!(inherits.health, None);
    assert_eq!(none.health.as_ref().unwrap().checks, Some(Vec::new()));
    let own = own.health.as_ref().unwrap();
    assert_eq!(own.checks, Some(vec![Check::new(Probe::Redis)]));
    assert_eq!(own.notify_up, ["/bin/echo", "up"]);

    assert_eq!(
        refused(
            "[[service.real]]\naddress = '10.0.0.2'\n[service.real.health]\ntype = 'tcp'\nrize = 1\n"
        ),
        "lbd.toml:11: service.real.health.rize: unknown key; did you mean rise?"
    );
    assert_eq!(
        refused("health = 'tcp'\n"),
        "lbd.toml:7: service.health: expected a table or an array of tables, found string"
    );
    assert_eq!(
        refused("[[service.real]]\naddress = '10.0.0.2'\nnotify_down = ['mail']\n"),
        "lbd.toml:9: service.real.notify_down: \"mail\" is not an absolute path: the program comes first, then its \
         arguments, each a string"
    );
}

#[test]
fn quorum_and_sorry_server() {
    let service = service(
        "forward = 'tun'\nquorum = { up = 4, hysteresis = 1, notify_down = ['/bin/false'] }\n\
         sorry_server = { address = '10.0.0.9' }\n",
    );
    let quorum = &service.health.quorum;
    assert_eq!((quorum.up, quorum.hysteresis), (4, 1));
    assert_eq!(
        (quorum.notify_up.len(), &*quorum.notify_down),
        (0, &["/bin/false".to_owned()][..])
    );
    let sorry = service.health.sorry_server.unwrap();
    assert_eq!(sorry.id.to_string(), "10.0.0.9:80");
    assert_eq!(sorry.forward, ForwardingMethod::Tun);
    for (text, expected) in [
        (
            "quorum = { up = 0 }\n",
            "service.quorum.up: 0 is out of range: 1 to 4294967295",
        ),
        (
            "quorum = { hysteresis = 1 }\n",
            "service.quorum: service tcp:192.0.2.10:80: quorum.hysteresis 1 is not below quorum.up 1: it would \
             never be lost",
        ),
        (
            "quorum = { down = 1 }\n",
            "service.quorum.down: unknown key; the nearest valid key is up",
        ),
        (
            "sorry_server = {}\n",
            "service.sorry_server.address: missing",
        ),
        (
            "sorry_server = { address = '10.0.0.9', port = 8080 }\n",
            "service.sorry_server: service tcp:192.0.2.10:80: sorry_server 10.0.0.9:8080: dr cannot change the \
             port (the service's is 80); use nat or leave the port out",
        ),
        (
            "sorry_server = { address = '2001:db8::9', forward = 'nat' }\n",
            "service.sorry_server: service tcp:192.0.2.10:80: sorry_server [2001:db8::9]:80: a real of IPv6 in a \
             service of IPv4: nat keeps the packet as it is, only tun gets it across",
        ),
    ] {
        assert_eq!(refused(text), format!("lbd.toml:7: {expected}"));
    }
}

/// A service that has many ports leaves its reals none that a check could ask: it
/// needs one of its own, be it the service's or the real's.
#[test]
fn a_check_without_a_port_is_refused() {
    const EVERY: &str = "port = 0\npersistence = { timeout = '6m' }\n";
    const REAL: &str = "[[service.real]]\naddress = '10.0.0.2'\n";
    let parsed = |text: &str| {
        let before = BEFORE.replace("port = 80\n", EVERY);
        parse(&format!("{before}{text}"), "lbd.toml").map_err(|error| error.to_string())
    };
    let of_service = |check: &str| parsed(&format!("[service.health]\n{check}{REAL}"));
    let of_real = |check: &str| parsed(&format!("{REAL}[service.real.health]\n{check}"));
    for check in ["type = 'tcp'\n", "type = 'agent'\nvia = 'service'\n"] {
        for (told, at) in [
            (of_service(check), "service.health: "),
            (of_real(check), "service.real.health: "),
        ] {
            let told = told.unwrap_err();
            assert!(told.contains(at), "{told}");
            assert!(
                told.contains("service tcp:192.0.2.10:0: real 10.0.0.2:0: the check of type"),
                "{told}"
            );
            assert!(told.contains("give the check a port"), "{told}");
        }
    }
    let exec = "type = 'exec'\ncommand = ['/bin/true']\n";
    for check in ["type = 'tcp'\nport = 80\n", "type = 'icmp'\n", exec] {
        assert_eq!(of_service(check).err(), None);
        assert_eq!(of_real(check).err(), None);
    }
    let unwatched = format!("[service.health]\ntype = 'tcp'\n{REAL}health = []\n");
    assert_eq!(parsed(&unwatched).err(), None);
    let own_port = format!("forward = 'nat'\n[service.health]\ntype = 'tcp'\n{REAL}port = 80\n");
    assert_eq!(parsed(&own_port).err(), None);
    assert_eq!(parsed("[service.health]\ntype = 'tcp'\n").err(), None);
}
