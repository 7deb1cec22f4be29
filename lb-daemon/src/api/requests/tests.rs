//! Request bodies, right and wrong.

use serde_json::json;

use super::*;
use crate::config::model::TunnelKind;

fn fields(body: Value) -> Fields {
    Fields::new(body).unwrap()
}

#[test]
fn a_service_may_bring_its_reals() {
    let service = new_service(fields(json!({
        "service": "tcp:192.0.2.10:80", "name": "web", "scheduler": "rr", "forward": "nat",
        "reals": [{"real": "10.0.0.2"}, {"real": "10.0.0.3:8080", "weight": 0, "forward": "nat"}],
    })))
    .unwrap();
    assert_eq!(service.id.to_string(), "tcp:192.0.2.10:80");
    let reals: Vec<_> = service
        .reals
        .iter()
        .map(|r| (r.id.to_string(), r.weight.get(), r.forward))
        .collect();
    let nat = ForwardingMethod::Nat;
    assert_eq!(
        reals,
        [
            ("10.0.0.2:80".to_owned(), 1, nat),
            ("10.0.0.3:8080".to_owned(), 0, nat)
        ]
    );
}

#[test]
fn what_is_wrong_is_named() {
    for (body, expected) in [
        (json!({}), "service: missing"),
        (
            json!({"service": "tcp:192.0.2.10:80", "scheduler": "sh", "scheduler_flags": ["mh-port"]}),
            "service tcp:192.0.2.10:80: scheduler_flags: sh has no flag \"mh-port\"; it takes sh-fallback, sh-port",
        ),
        (
            json!({"service": "tcp:192.0.2.10:80", "scheduler_flags": [1]}),
            "scheduler_flags: expected a string, found a number",
        ),
        (
            json!({"service": "tcp:192.0.2.10:80", "scheduler": "mh", "mh_table_size": 4096}),
            "service tcp:192.0.2.10:80: mh_table_size 4096 is not a prime; the nearest are 4093 and 4099",
        ),
        (
            json!({"service": "tcp:192.0.2.10:80", "scheduler": "dh", "slow_start_s": 30}),
            "service tcp:192.0.2.10:80: dh has no slow_start: it says who gets a connection, not how many each gets",
        ),
        (
            json!({"service": "tcp:192.0.2.10:80", "slow_start_s": 0}),
            "slow_start_s: 0 is out of range: 1 to 3600",
        ),
        (
            json!({"service": "fwmark:0", "scheduler": "rr"}),
            "service: \"fwmark:0\" is not a service: a mark is from 1 to 4294967295",
        ),
        (
            json!({"service": "tcp:192.0.2.10:80", "scheduler": "rr", "masquerade": ["10.0.0.250"]}),
            "service tcp:192.0.2.10:80: only nat can masquerade, and neither the service (forward = \"dr\") nor a \
             real of it is forwarded to by nat",
        ),
        (
            json!({"service": "tcp:192.0.2.10:80", "scheduler": "rr", "masquerade": ["x"]}),
            "masquerade: \"x\" is not an IP address",
        ),
        (
            json!({"service": "tcp:192.0.2.10:80", "scheduler": "rr",
                   "reals": [{"real": "10.0.0.2", "forward": "tun", "tunnel": {"type": "gue", "kind": 1}}]}),
            "tunnel.kind: unknown field",
        ),
        (
            json!({"service": "tcp:192.0.2.10:80", "schedular": "rr"}),
            "schedular: unknown field; did you mean scheduler?",
        ),
        (
            json!({"service": "tcp:192.0.2.10:80", "scheduler": "rr", "persistence": {"timeout_s": 0}}),
            "persistence.timeout_s: 0 is out of range: 1 to 2678400",
        ),
        (
            json!({"service": "tcp:192.0.2.10:80", "scheduler": "rr", "persistence": {"netmask": 33}}),
            "persistence.netmask: 33 is out of range: 1 to 32",
        ),
        (
            json!({"service": "tcp:192.0.2.10:80", "scheduler": "rr", "persistence": {"mask": 3}}),
            "persistence.mask: unknown field; did you mean netmask?",
        ),
        (
            json!({"service": "tcp:192.0.2.10:80", "scheduler": "rr", "persistence": 360}),
            "persistence: expected an object, found a number",
        ),
        (
            json!({"service": "tcp:192.0.2.10:80", "scheduler": "rr", "rate_limit": {}}),
            "rate_limit.connections: missing",
        ),
        (
            json!({"service": "tcp:192.0.2.10:80", "scheduler": "rr", "one_packet": true}),
            "service tcp:192.0.2.10:80: one_packet is for services of udp",
        ),
        (
            json!({"service": "tcp:192.0.2.10:80", "scheduler": "rr", "on_down": "drop"}),
            "on_down: unknown choice \"drop\"; expected one of keep, reset",
        ),
        (
            json!({"service": "tcp:192.0.2.10:0", "scheduler": "rr"}),
            "service tcp:192.0.2.10:0: port 0, every port, needs persistence",
        ),
        (
            json!({"service": "tcp:192.0.2.10:80", "scheduler": "rr", "fwmark": 80}),
            "fwmark: unknown field",
        ),
        (
            json!({"service": "tcp:192.0.2.10:80", "scheduler": "rr",
                   "reals": [{"real": "10.0.0.2", "upper_threshold": 5, "lower_threshold": 6}]}),
            "service tcp:192.0.2.10:80: real 10.0.0.2:80: lower_threshold 6 is above upper_threshold 5",
        ),
        (
            json!({"service": "tcp:192.0.2.10:80", "scheduler": "rr",
                   "reals": [{"real": "10.0.0.2", "state": "down"}]}),
            "state: unknown state \"down\"; expected one of ready, drain, maint",
        ),
        (
            json!({"service": "tcp:192.0.2.10:80", "scheduler": "rr", "owner": "file"}),
            "owner: cannot be set",
        ),
        (
            json!({"service": "tcp:192.0.2.10:80", "scheduler": "rr", "reals": [{"real": "x"}]}),
            "real: \"x\" is not a real: expected 10.0.0.2:80, [2001:db8::2]:80 or an address alone",
        ),
    ] {
        assert_eq!(new_service(fields(body)).unwrap_err().detail, expected);
    }
}

#[test]
fn a_patch_keeps_and_a_replacement_resets() {
    assert_eq!(
        service_patch(fields(json!({}))).unwrap(),
        ServicePatch::default()
    );
    let replaced = service_replacement(fields(json!({}))).unwrap();
    let scheduling = SchedulingPatch::default().or_default();
    assert_eq!(replaced.scheduling, scheduling);
    let replaced = service_replacement(fields(json!({"scheduler": "wrr"}))).unwrap();
    assert_eq!(replaced.forward, Some(ForwardingMethod::Dr));

    assert_eq!(real_patch(fields(json!({}))).unwrap(), RealPatch::default());
    assert_eq!(replaced.masquerade, Some(Vec::new()));
    let body = json!({"tunnel": {"type": "gre"}});
    let replaced = real_replacement(fields(body), ForwardingMethod::Tun).unwrap();
    assert_eq!(
        replaced,
        RealPatch {
            weight: Some(Weight::ONE),
            forward: Some(ForwardingMethod::Tun),
            tunnel: TunnelPatch {
                kind: Some(TunnelKind::Gre),
                port: Some(6080),
                checksum: Some(false)
            },
            upper_threshold: Some(0),
            lower_threshold: Some(0),
            health: RealHealthPatch::default().or_default(),
            state: None,
        }
    );
}

#[test]
fn what_can_be_off_is_switched() {
    let patch = |body| service_patch(fields(body)).unwrap();
    assert_eq!(patch(json!({"persistence": null})).persistence, Switch::Off);
    let netmask = PersistencePatch {
        netmask: Some(24),
        ..PersistencePatch::default()
    };
    assert_eq!(
        patch(json!({"persistence": {"netmask": 24}})).persistence,
        Switch::On(netmask)
    );
    let limit = RateLimit {
        connections: 10,
        burst: 20,
    };
    assert_eq!(
        patch(json!({"rate_limit": {"connections": 10}})).rate_limit,
        Switch::On(limit)
    );
    assert_eq!(patch(json!({"rate_limit": null})).rate_limit, Switch::Off);

    let replaced = |body| service_replacement(fields(body)).unwrap();
    let plain = replaced(json!({"scheduler": "rr"}));
    assert_eq!(
        (plain.persistence, plain.rate_limit),
        (Switch::Off, Switch::Off)
    );
    assert_eq!(
        (plain.one_packet, plain.on_down),
        (Some(false), Some(OnDown::Keep))
    );
    let whole = PersistencePatch {
        timeout_s: Some(360),
        netmask: Some(24),
        netmask_v6: Some(128),
    };
    assert_eq!(
        replaced(json!({"scheduler": "rr", "persistence": {"netmask": 24}})).persistence,
        Switch::On(whole)
    );
    let state = real_patch(fields(json!({"state": "drain"}))).unwrap().state;
    assert_eq!(state, Some(RealState::Drain));
}

#[test]
fn a_service_that_names_no_scheduler_has_ipvsadms() {
    let scheduling = |more: Value| {
        let mut body = json!({"service": "tcp:192.0.2.10:80"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        new_service(fields(body)).unwrap().scheduling()
    };
    assert_eq!(scheduling(json!({})), Scheduling::default());
    // As replies have it, and as replies of another scheduler would.
    let explicit = json!({"scheduler": "wlc", "scheduler_flags": [], "mh_table_size": 4093,
                          "slow_start_s": null});
    assert_eq!(scheduling(explicit), Scheduling::default());
    let slow = scheduling(json!({"slow_start_s": 30}));
    assert_eq!(slow.slow_start, Some(Duration::from_secs(30)));
    let mh = scheduling(
        json!({"scheduler": "mh", "scheduler_flags": ["mh-port"], "mh_table_size": 251}),
    );
    assert_eq!((mh.flags, mh.table_size), (1, 251));

    let patch = |body| service_patch(fields(body)).unwrap().scheduling;
    assert_eq!(patch(json!({"slow_start_s": null})).slow_start, Switch::Off);
    assert_eq!(
        patch(json!({"scheduler_flags": []})).flags,
        Some(Vec::new())
    );
}

#[test]
fn marks_have_the_files_shape() {
    let rule = new_mark(fields(json!({
        "mark": 80, "protocol": "tcp", "destination": "192.0.2.10", "ports": [443, "80", "100-200"],
    })));
    assert_eq!(
        rule.unwrap().to_string(),
        "firewall mark 80: tcp 192.0.2.10/32 80,100-200,443"
    );
    let base = json!({"mark": 80, "protocol": "tcp", "destination": "192.0.2.10"});
    for (field, value, expected) in [
        ("mark", json!(0), "mark: 0 is out of range: 1 to 4294967295"),
        (
            "protocol",
            json!("icmp"),
            "protocol: unknown protocol \"icmp\"; did you mean tcp?",
        ),
        (
            "destination",
            json!("www"),
            "destination: \"www\" is not an address or prefix: expected 192.0.2.10 or 192.0.2.0/24",
        ),
        (
            "ports",
            json!([1.5]),
            "ports: \"1.5\" is not a port or a range: expected 80 or 10000-20000",
        ),
        (
            "ports",
            json!(80),
            "ports: expected an array, found a number",
        ),
        ("owner", json!("file"), "owner: cannot be set"),
        (
            "port",
            json!(80),
            "port: unknown field; did you mean ports?",
        ),
    ] {
        let mut body = base.clone();
        body[field] = value;
        assert_eq!(new_mark(fields(body)).unwrap_err().detail, expected);
    }
    assert_eq!(
        new_mark(fields(json!({"mark": 80}))).unwrap_err().detail,
        "protocol: missing"
    );
}

#[test]
fn identity_and_reals_are_not_patched() {
    let detail = |body| service_patch(fields(body)).unwrap_err().detail;
    assert!(
        detail(json!({"service": "tcp:192.0.2.10:80"})).starts_with("service: cannot be changed")
    );
    assert!(
        detail(json!({"reals": [{"real": "10.0.0.2"}]}))
            .starts_with("reals: are changed one by one")
    );
}
