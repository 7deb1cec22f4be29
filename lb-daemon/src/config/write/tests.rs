//! What is written is read back as it was, for files that people wrote and for
//! configurations that nobody would.

use std::{net::IpAddr, sync::Arc, time::Duration};

use fastrand::Rng;
use proptest::prelude::*;

use super::toml;
use crate::config::{
    file::parse,
    health::{
        Check, Digest, Dns, Exchange, Exec, Expected, Health, Http, Octets, OnFailure, Probe,
        ProbeType, Quorum, RealHealth, Record, Require, SorryServer, Timing, Tls, Via,
    },
    model::{
        Alerts, Config, ForwardingMethod, OnDown, Persistence, Protocol, RateLimit, Real, RealId,
        Scheduler, Scheduling, Service, ServiceId, SourceLimit, Strategy, Tunnel, TunnelKind,
        VirtualAddress, Weight, XdpMode,
    },
    timeouts::KEYS,
    via,
};

fn read_back(config: &Config) -> Config {
    let text = toml(config);
    parse(&text, "written").unwrap_or_else(|error| panic!("{error} in\n{text}"))
}

#[test]
fn a_minimal_configuration_is_short() {
    let text = "[director]\ninterfaces = [\"eth0\"]\n\n[[service]]\nname = \"web\"\nprotocol = \"tcp\"\n\
                address = \"192.0.2.10\"\nport = 80\n\n[[service.real]]\naddress = \"10.0.0.2\"\nweight = 3\n";
    assert_eq!(toml(&parse(text, "lbd.toml").unwrap()), text);
}

#[test]
fn files_are_read_back() {
    for text in [
        include_str!("../../../../configs/lbd.toml"),
        include_str!("../../../../configs/examples/dr.toml"),
        include_str!("../../../../configs/examples/nat.toml"),
        include_str!("../../../../configs/examples/tun.toml"),
        include_str!("../../../../configs/examples/local.toml"),
    ] {
        let config = parse(text, "shipped").unwrap();
        assert_eq!(read_back(&config), config);
    }
}

#[test]
fn a_group_is_one_table_while_it_is_alike() {
    let text = "[director]\ninterfaces = ['eth0']\n[[service]]\nname = 'web'\nprotocol = 'tcp'\nforward = 'nat'\n\
                listen = ['192.0.2.10:80', '192.0.2.11:8080', '192.0.2.12:80']\n\
                sorry_server = { address = '10.0.0.9', port = 80 }\n\
                [[service.real]]\naddress = '10.0.0.2'\n[[service.real]]\naddress = '10.0.0.3'\nport = 8080\n";
    let mut config = parse(text, "lbd.toml").unwrap();
    let written = toml(&config);
    assert_eq!(written.matches("[[service]]").count(), 1, "{written}");
    assert_eq!(read_back(&config), config, "{written}");

    config.services[2].reals[0].weight = Weight::new(9).unwrap();
    let written = toml(&config);
    assert_eq!(written.matches("[[service]]").count(), 2, "{written}");
    assert!(
        written.contains("# apart from the others of the group web\n"),
        "{written}"
    );
    let read = read_back(&config);
    config.services[2].name = None;
    assert_eq!(read, config);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        // A seed says nothing once the generator has changed.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn any_configuration_is_read_back(seed: u64) {
        let config = configuration(&mut Rng::with_seed(seed));
        let text = toml(&config);
        let read = parse(&text, "written");
        prop_assert_eq!(read.as_ref(), Ok(&config), "{}", text);
        prop_assert_eq!(toml(&read.unwrap()), text);
    }
}

fn configuration(rng: &mut Rng) -> Config {
    let mut config = crate::config::file::defaults();
    let director = &mut config.director;
    director.interfaces.extend(maybe(rng, |_| "eth1.2".into()));
    director.xdp_mode = one(rng, &[XdpMode::Auto, XdpMode::Native, XdpMode::Generic]);
    if rng.bool() {
        director.pin_dir = "/sys/fs/bpf/\"lbd\"\\\u{7f}".into();
        director.socket = "/run/lbd socket".into();
    }
    director.socket_group = maybe(rng, |_| "lbd\n".into());
    director.manage_addresses = rng.bool();
    director.vip_interface = one(rng, &["lo", "dummy0"]).into();
    director.detach_on_exit = rng.bool();
    config.capacity.connections = rng.u32(1..=1 << 28);
    for key in KEYS {
        if rng.u8(..) < 40 {
            config.timeouts.set(key.state, rng.u32(1..=2_678_400));
        }
    }
    config.options.sloppy_tcp = rng.bool();
    config.options.expire_quiescent = rng.bool();
    config.options.lblc_expiry_s = one(rng, &[1, 86_400, 90_000]);
    config.options.icmp_rate = one(rng, &[0, 1000]);
    config.options.tunnel_sources.v6 = maybe(rng, |_| ("2001:db8:f::".parse().unwrap(), 64));
    let strategies = [Strategy::Off, Strategy::Auto, Strategy::On];
    config.defence.drop_entry = one(rng, &strategies);
    config.defence.stateless = one(rng, &strategies);
    config.defence.rate_limit = maybe(rng, |rng| SourceLimit {
        per_source: rng.u32(1..1000),
        netmask: rng.u8(1..=32),
        netmask_v6: rng.u8(1..=128),
        burst: rng.u32(1..1000),
    });
    config
        .defence
        .deny
        .extend(maybe(rng, |_| ([203, 0, 113, 0].into(), 24)));
    config
        .defence
        .allow
        .extend(maybe(rng, |_| ([198, 51, 100, 1].into(), 32)));
    config.metrics.listen = maybe(rng, |_| "[::1]:9106".parse().unwrap());
    config.alerts = maybe(rng, |_| Alerts {
        smtp: "[2001:db8::25]:587".parse().unwrap(),
        from: "lbd@example.com".into(),
        to: vec!["a@example.com".into(), "b'c@example.com".into()],
    });
    for mark in 1..rng.u32(1..4) {
        config.marks.push(crate::config::model::MarkRule {
            mark,
            protocol: one(rng, &Protocol::ALL),
            destination: ([192, 0, 2, mark as u8].into(), 32),
            ports: one(rng, &[vec![], vec![(80, 80), (1000, 2000)]]),
        });
    }
    for group in 0..rng.u8(0..5) {
        config.services.extend(services(rng, group));
    }
    config
}

/// A service or a group of them, which no other number makes too.
fn services(rng: &mut Rng, group: u8) -> Vec<Service> {
    let is_v6 = rng.bool();
    let address = |net: u8, host: u8| -> IpAddr {
        match is_v6 {
            true => format!("2001:db8:{net}::{host}").parse().unwrap(),
            false => [10, net, 0, host].into(),
        }
    };
    let protocol = one(rng, &[Protocol::Tcp, Protocol::Udp]);
    let id = |member: u8, port| {
        ServiceId::Address(VirtualAddress {
            protocol,
            address: address(group, member),
            port,
        })
    };
    let port = one(rng, &[80, 443]);
    let mut ids = vec![id(1, port)];
    let name = maybe(rng, |_| format!("group-{group}"));
    if name.is_some() {
        let members = 2..rng.u8(2..5);
        ids.extend(members.map(|member| id(member, one(rng, &[80, 443, 8080]))));
    } else if rng.u8(..) < 60 {
        let (number, family) = (u32::from(group) + 1, ids[0].family());
        ids = vec![ServiceId::Mark(crate::config::model::FirewallMark {
            mark: number,
            family,
        })];
    }
    let scheduler = one(rng, Scheduler::ALL);
    let mut scheduling = Scheduling::plain(scheduler);
    for (_, bit) in scheduler.layout().flags() {
        scheduling.flags |= if rng.bool() { *bit } else { 0 };
    }
    if scheduler == Scheduler::Mh {
        scheduling.table_size = one(rng, &[251, 4093, 65_537]);
    }
    if scheduler.layout().starts_slowly() {
        scheduling.slow_start = maybe(rng, |rng| Duration::from_secs(rng.u64(1..=3600)));
    }
    let forward = one(
        rng,
        &[
            ForwardingMethod::Dr,
            ForwardingMethod::Nat,
            ForwardingMethod::Tun,
        ],
    );
    let reals: Vec<_> = (1..=rng.u8(0..5))
        .map(|host| (address(100, host), rng.u64(..)))
        .collect();
    let (health, shared) = (rng.u64(..), rng.u64(..));
    let service = |id: ServiceId| {
        // The same for each of the group but for the ports.
        let mut rng = Rng::with_seed(shared);
        let rng = &mut rng;
        let mut service = Service::new(id, scheduler);
        service.name.clone_from(&name);
        service.set_scheduling(scheduling);
        service.forward = forward;
        service.persistence = maybe(rng, |rng| Persistence {
            timeout_s: one(rng, &[1, 300, 360, 86_400]),
            netmask: one(rng, &[24, 32]),
            netmask_v6: one(rng, &[64, 128]),
        });
        service.on_down = one(rng, &OnDown::ALL);
        service.rate_limit = maybe(rng, |rng| RateLimit {
            connections: rng.u32(1..1000),
            burst: rng.u32(1..1000),
        });
        if forward == ForwardingMethod::Nat {
            service.masquerade.extend(maybe(rng, |_| address(200, 1)));
        }
        service.reals = reals
            .iter()
            .map(|(address, seed)| real(&mut Rng::with_seed(*seed), *address, id, forward))
            .collect();
        service.health = Arc::new(self::health(
            &mut Rng::with_seed(health),
            id,
            address(150, 1),
        ));
        if via::check(&service).is_err() {
            ask_reals_themselves(&mut service);
        }
        service
    };
    ids.into_iter().map(service).collect()
}

/// No check by the service's address.
fn ask_reals_themselves(service: &mut Service) {
    let by_themselves = |checks: &mut Vec<Check>| {
        for check in checks {
            check.via = Via::Real;
        }
    };
    by_themselves(&mut Arc::make_mut(&mut service.health).checks);
    let healths = service.reals.iter_mut().filter_map(|r| r.health.as_mut());
    for checks in healths.filter_map(|health| Arc::make_mut(health).checks.as_mut()) {
        by_themselves(checks);
    }
}

fn real(rng: &mut Rng, address: IpAddr, of: ServiceId, forward: ForwardingMethod) -> Real {
    let forward = one(
        rng,
        &[forward, ForwardingMethod::Nat, ForwardingMethod::Tun],
    );
    let own_port = of.default_real_port();
    let port = match forward {
        ForwardingMethod::Nat => one(rng, &[own_port, 80, 9000]),
        _ => own_port,
    };
    let mut real = Real::new(RealId { address, port }, forward);
    real.weight = Weight::new(one(rng, &[0, 1, 65_535])).unwrap();
    real.upper_threshold = one(rng, &[0, 100]);
    real.lower_threshold = real.upper_threshold / 2;
    if forward == ForwardingMethod::Tun {
        let (kind, port) = one(
            rng,
            &[
                (TunnelKind::Ipip, Tunnel::DEFAULT_PORT),
                (TunnelKind::Gue, 7000),
                (TunnelKind::Gre, Tunnel::DEFAULT_PORT),
            ],
        );
        let checksum = kind != TunnelKind::Ipip && rng.bool();
        real.tunnel = Tunnel {
            kind,
            port,
            checksum,
        };
    }
    let health = RealHealth {
        checks: maybe(rng, |rng| checks(rng, of)),
        notify_up: one(rng, &[vec![], argv()]),
        notify_down: one(rng, &[vec![], argv()]),
    };
    real.health = health.shared();
    real
}

fn health(rng: &mut Rng, of: ServiceId, sorry: IpAddr) -> Health {
    let up = rng.u32(1..10);
    Health {
        checks: checks(rng, of),
        require: one(rng, &Require::ALL),
        quorum: one(
            rng,
            &[
                Quorum::default(),
                Quorum {
                    up,
                    hysteresis: up - 1,
                    notify_up: argv(),
                    notify_down: Vec::new(),
                },
            ],
        ),
        sorry_server: maybe(rng, |rng| SorryServer {
            id: RealId {
                address: sorry,
                port: one(rng, &[of.default_real_port(), 81]),
            },
            forward: ForwardingMethod::Nat,
        }),
    }
}

fn argv() -> Vec<String> {
    ["/bin/echo", "", "a \"b\" $(c) \\ é\n"]
        .map(String::from)
        .into()
}

fn checks(rng: &mut Rng, of: ServiceId) -> Vec<Check> {
    (0..rng.usize(0..3)).map(|_| check(rng, of)).collect()
}

fn check(rng: &mut Rng, of: ServiceId) -> Check {
    let probe = probe(rng);
    let of_type = probe.probe_type();
    let mut check = Check::new(probe);
    check.timing = Timing {
        interval: Duration::from_millis(one(rng, &[100, 2000, 60_000])),
        timeout: Duration::from_millis(one(rng, &[10, 1000, 3_600_000])),
        warmup: Duration::from_millis(one(rng, &[0, 1500])),
        fast_interval: maybe(rng, |_| Duration::from_millis(500)),
    };
    check.rise = one(rng, &[1, 2, 10_000]);
    check.fall = one(rng, &[1, 3]);
    check.alpha = rng.bool();
    check.omega = rng.bool();
    check.on_failure = one(rng, &OnFailure::ALL);
    if of_type.has_key("port") {
        // Where the service has many, the reals may have none to ask.
        let needed = (of.default_real_port() == 0).then_some(8080);
        check.port = maybe(rng, |rng| rng.u16(1..)).or(needed);
    }
    // A firewall mark has no address to ask for.
    if of_type.has_key("via") && of.address().is_some() {
        check.via = one(rng, &Via::ALL);
    }
    check
}

fn probe(rng: &mut Rng) -> Probe {
    let exchange = |rng: &mut Rng| Exchange {
        send: octets(rng),
        expect: expected(rng),
    };
    match one(rng, &ProbeType::ALL) {
        ProbeType::Tcp => Probe::Tcp,
        ProbeType::Http => Probe::Http(http(rng)),
        ProbeType::Https => Probe::Https(
            http(rng),
            Tls {
                verify: rng.bool(),
                sni: maybe(rng, |_| "example.com".into()),
            },
        ),
        ProbeType::Udp => Probe::Udp(exchange(rng)),
        ProbeType::Dns => Probe::Dns(Dns {
            query: one(rng, &[".", "example.com."]).into(),
            record: one(rng, &Record::ALL),
        }),
        ProbeType::Icmp => Probe::Icmp,
        ProbeType::Smtp => Probe::Smtp(maybe(rng, |_| "lbd.example.com".into())),
        ProbeType::SendExpect => Probe::SendExpect(Exchange {
            send: Octets::from(&b"\x00\xffQUIT\r\n\\"[..]),
            ..exchange(rng)
        }),
        ProbeType::Exec => Probe::Exec(Exec {
            command: argv(),
            expect: expected(rng),
            dynamic: rng.bool(),
        }),
        ProbeType::File => Probe::File("/run/\"weight\"".into()),
        ProbeType::Grpc => Probe::Grpc(one(rng, &["", "shop.Cart"]).into()),
        ProbeType::Mysql => Probe::Mysql,
        ProbeType::Redis => Probe::Redis,
        ProbeType::Agent => Probe::Agent,
    }
}

fn http(rng: &mut Rng) -> Http {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Http {
        path: one(rng, &["/", "/a?b=%22'\"\\"]).into(),
        method: one(rng, &["GET", "HEAD"]).into(),
        host: maybe(rng, |_| "[2001:db8::1]:80".into()),
        headers: one(
            rng,
            &[vec![], vec![header("A", "\"\\ é"), header("X.y", "")]],
        ),
        status: one(rng, &[vec![(200, 299)], vec![(100, 200), (404, 404)]]),
        body_regex: maybe(rng, |_| "^\\d+\"\\s*$".parse().unwrap()),
        body_sha256: maybe(rng, |_| "7f".repeat(32).parse::<Digest<32>>().unwrap()),
        body_md5: maybe(rng, |_| "0a".repeat(16).parse::<Digest<16>>().unwrap()),
    }
}

fn expected(rng: &mut Rng) -> Option<Expected> {
    let any = Octets::from(&[rng.u8(..), rng.u8(..)][..]);
    let pattern = "[\"'\\\\]\n".parse().unwrap();
    one(
        rng,
        &[
            None,
            Some(Expected::Prefix(any)),
            Some(Expected::Match(pattern)),
        ],
    )
}

fn octets(rng: &mut Rng) -> Octets {
    let bytes: Vec<u8> = (0..rng.usize(0..9)).map(|_| rng.u8(..)).collect();
    Octets::from(&bytes[..])
}

fn one<T: Clone>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())].clone()
}

fn maybe<T>(rng: &mut Rng, make: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    rng.bool().then(|| make(rng))
}
