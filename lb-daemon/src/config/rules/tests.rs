use std::sync::Arc;

use super::*;
use crate::config::{
    health::{Health, Probe, RealHealth},
    model::{Persistence, Scheduler, VirtualAddress},
};

fn service(id: &str, forward: ForwardingMethod, reals: &[&str]) -> Service {
    let id: ServiceId = id.parse().unwrap();
    let real = |real: &&str| {
        let socket: std::net::SocketAddr = real.parse().unwrap();
        let id = RealId {
            address: socket.ip(),
            port: socket.port(),
        };
        Real::new(id, forward)
    };
    Service {
        forward,
        reals: reals.iter().map(real).collect(),
        ..Service::new(id, Scheduler::Rr)
    }
}

use ForwardingMethod::{Dr, Local, Nat, Tun};

#[test]
fn both_families_are_served_and_tun_alone_mixes_them() {
    for (id, method, real) in [
        ("tcp:192.0.2.10:80", Dr, "10.0.0.2:80"),
        ("tcp:[2001:db8::a]:80", Dr, "[2001:db8:1::2]:80"),
        ("tcp:[2001:db8::a]:80", Nat, "[fd00::2]:8080"),
        ("tcp:[2001:db8::a]:80", Tun, "10.0.0.2:80"),
        ("udp:192.0.2.10:53", Tun, "[2001:db8:1::2]:53"),
        ("sctp:192.0.2.10:2905", Nat, "10.0.0.2:2905"),
        ("tcp:192.0.2.10:80", Local, "127.0.0.1:80"),
        ("tcp:[2001:db8::a]:80", Local, "[::1]:80"),
        ("tcp:192.0.2.10:80", Local, "192.0.2.10:80"),
    ] {
        let service = service(id, method, &[real]);
        assert_eq!(service.validate(), Ok(()), "{service:?}");
    }
    for (id, method, real) in [
        ("tcp:192.0.2.10:80", Dr, "[2001:db8::2]:80"),
        ("tcp:[2001:db8::a]:80", Nat, "10.0.0.2:80"),
        ("tcp:[2001:db8::a]:80", Local, "10.0.0.2:80"),
    ] {
        let error = service(id, method, &[real]).validate().unwrap_err();
        let name = method.name();
        assert_eq!(error.key, "address");
        assert!(
            error
                .problem
                .contains(&format!("service {id}: real {real}: "))
                && error.problem.contains(&format!("{name} keeps")),
            "{error}"
        );
    }
}

#[test]
fn addresses_that_no_frame_gets_to_are_refused_with_the_reason() {
    for (address, reason) in [
        ("0.0.0.0", "not a unicast address"),
        ("224.0.0.1", "not a unicast address"),
        ("255.255.255.255", "not a unicast address"),
        ("127.0.0.1", "a loopback address"),
        ("::", "not a unicast address"),
        ("::1", "a loopback address"),
        ("ff02::1", "not a unicast address"),
        ("fe80::1", "a link-local address"),
        (
            "::ffff:192.0.2.1",
            "an IPv4-mapped address; write 192.0.2.1",
        ),
    ] {
        let address: IpAddr = address.parse().unwrap();
        let of: ServiceId = "tcp:192.0.2.10:80".parse().unwrap();
        let vip = Service {
            id: ServiceId::Address(VirtualAddress {
                protocol: Protocol::Tcp,
                address,
                port: 80,
            }),
            ..service("tcp:192.0.2.10:80", Dr, &[])
        };
        let error = vip.validate().unwrap_err().to_string();
        assert!(error.contains(reason), "{address}: {error}");
        let mut real = service("tcp:192.0.2.10:80", Tun, &["10.0.0.2:80"])
            .reals
            .remove(0);
        real.id.address = address;
        let error = real.validate(of).unwrap_err().to_string();
        assert!(error.contains(reason), "{address}: {error}");
    }
}

#[test]
fn a_service_of_many_ports_leaves_them_to_its_reals() {
    let mut every = service("tcp:192.0.2.10:0", Dr, &["10.0.0.2:0"]);
    let error = every.validate().unwrap_err();
    assert_eq!(
        (error.key, &*error.problem),
        (
            "port",
            "service tcp:192.0.2.10:0: port 0, every port, needs persistence"
        )
    );
    every.persistence = Some(Persistence::default());
    assert_eq!(every.validate(), Ok(()));
    for (id, method, real, problem) in [
        ("fwmark:80", Dr, "10.0.0.2:0", None),
        ("fwmark6:80", Nat, "[fd00::2]:8080", None),
        ("fwmark6:80", Tun, "10.0.0.2:0", None),
        ("fwmark:80", Dr, "10.0.0.2:80", Some("the service has many")),
        (
            "fwmark6:80",
            Nat,
            "10.0.0.2:0",
            Some("IPv4 in a service of IPv6"),
        ),
        ("tcp:192.0.2.10:80", Nat, "10.0.0.2:0", Some("port 0")),
    ] {
        let error = service(id, method, &[real]).validate().err();
        match (&error, problem) {
            (None, None) => {}
            (Some(error), Some(part)) if error.problem.contains(part) => {}
            _ => panic!("{id} {real}: {error:?}"),
        }
    }
}

#[test]
fn thresholds_are_in_order() {
    let thresholds = |upper_threshold, lower_threshold| {
        let real = Real {
            upper_threshold,
            lower_threshold,
            ..service("tcp:192.0.2.10:80", Dr, &["10.0.0.2:80"])
                .reals
                .remove(0)
        };
        real.validate("tcp:192.0.2.10:80".parse().unwrap())
    };
    for (upper, lower) in [(0, 0), (100, 0), (100, 100), (0, 50)] {
        assert_eq!(thresholds(upper, lower), Ok(()));
    }
    assert_eq!(
        thresholds(50, 51).unwrap_err().to_string(),
        "service tcp:192.0.2.10:80: real 10.0.0.2:80: lower_threshold 51 is above upper_threshold 50"
    );
}

/// As lbctl or the API adds a real to a service of the file's.
#[test]
fn checks_have_a_port_to_ask() {
    let mut marked = service("fwmark:80", Dr, &["10.0.0.2:0"]);
    marked.health = Arc::new(Health {
        checks: vec![Check::new(Probe::Tcp)],
        ..Health::default()
    });
    let error = marked.validate().unwrap_err();
    assert_eq!(error.key, "health");
    assert_eq!(
        error.problem,
        "service fwmark:80: real 10.0.0.2:0: the check of type \"tcp\" has no port to ask, since the real has \
         none of its own; give the check a port"
    );
    let own = RealHealth {
        checks: Some(vec![Check {
            port: Some(80),
            ..Check::new(Probe::Tcp)
        }]),
        ..RealHealth::default()
    };
    marked.reals[0].health = own.shared();
    assert_eq!(marked.validate(), Ok(()));
}

#[test]
fn one_packet_is_udps_and_its_replies_are_told_apart() {
    let one_packet = |id, method, reals: &[&str]| Service {
        one_packet: true,
        ..service(id, method, reals)
    };
    for id in ["tcp:192.0.2.10:80", "fwmark:80"] {
        let error = one_packet(id, Dr, &[]).validate().unwrap_err();
        assert_eq!(error.key, "one_packet", "{error}");
    }
    let dns = one_packet("udp:192.0.2.10:53", Nat, &["10.0.0.2:53", "10.0.0.3:53"]);
    assert_eq!(dns.validate(), Ok(()));
    let pool = Service {
        masquerade: vec![[10, 0, 0, 250].into()],
        ..dns.clone()
    };
    assert_eq!(pool.validate().unwrap_err().key, "one_packet");

    let other = |method, real| one_packet("udp:192.0.2.11:53", method, &[real]);
    let error = check_replies(&other(Nat, "10.0.0.3:53"), [&dns]).unwrap_err();
    assert_eq!(
        error.problem,
        "service udp:192.0.2.11:53: real 10.0.0.3:53: one_packet with nat, and service udp:192.0.2.10:53 has it \
         too: whose its replies are could not be told"
    );
    for fine in [other(Nat, "10.0.0.3:5353"), other(Dr, "10.0.0.3:53")] {
        assert_eq!(check_replies(&fine, [&dns]), Ok(()));
    }
    assert_eq!(check_replies(&dns, [&dns]), Ok(()));
    let stateful = service("udp:192.0.2.11:53", Nat, &["10.0.0.3:53"]);
    assert_eq!(check_replies(&stateful, [&dns]), Ok(()));
}

#[test]
fn sctp_keeps_its_port() {
    let error = service("sctp:192.0.2.10:2905", Nat, &["10.0.0.2:2906"])
        .validate()
        .unwrap_err();
    assert_eq!(error.key, "port");
    assert!(error.problem.contains("CRC32c"), "{error}");
    let mut service = service("sctp:192.0.2.10:2905", Nat, &[]);
    service.masquerade = vec![[10, 0, 0, 250].into()];
    let error = service.validate().unwrap_err();
    assert_eq!(error.key, "masquerade");
    assert!(error.problem.contains("CRC32c"), "{error}");
}

#[test]
fn a_pool_is_of_the_services_family_and_of_use() {
    let pool = |addresses: &[&str], forward| {
        let mut service = service("tcp:192.0.2.10:80", forward, &["10.0.0.2:80"]);
        service.masquerade = addresses.iter().map(|text| text.parse().unwrap()).collect();
        service
    };
    let good = pool(&["10.0.0.250", "10.0.0.251"], Nat);
    assert_eq!(good.validate(), Ok(()));
    assert_eq!(good.check_pool_is_used(), Ok(()));
    for (addresses, part) in [
        (vec!["10.0.0.1"; 9], "more than 8"),
        (
            vec!["10.0.0.250", "10.0.0.250"],
            "10.0.0.250 is listed twice",
        ),
        (
            vec!["2001:db8::1"],
            "2001:db8::1: IPv6 in a service of IPv4",
        ),
        (vec!["224.0.0.1"], "224.0.0.1: not a unicast address"),
    ] {
        let error = pool(&addresses, Nat).validate().unwrap_err();
        assert!(error.problem.contains(part), "{error}");
    }
    let error = pool(&["10.0.0.250"], Dr).check_pool_is_used().unwrap_err();
    assert!(error.problem.contains("only nat can masquerade"), "{error}");
}

#[test]
fn tunnels_have_what_their_kind_has() {
    let of: ServiceId = "tcp:192.0.2.10:80".parse().unwrap();
    let real = |forward, kind, port, checksum| {
        let mut real = service("tcp:192.0.2.10:80", forward, &["10.0.0.2:80"])
            .reals
            .remove(0);
        real.tunnel = Tunnel {
            kind,
            port,
            checksum,
        };
        real.validate(of).map_err(|error| error.key)
    };
    use TunnelKind::{Gre, Gue, Ipip};
    assert_eq!(real(Tun, Gue, 7000, true), Ok(()));
    assert_eq!(real(Tun, Gre, 6080, true), Ok(()));
    assert_eq!(real(Tun, Gre, 7000, false), Err("tunnel.port"));
    assert_eq!(real(Tun, Ipip, 6080, true), Err("tunnel.checksum"));
    assert_eq!(real(Tun, Gue, 0, false), Err("tunnel.port"));
    assert_eq!(real(Dr, Gre, 6080, false), Err("tunnel"));
}
