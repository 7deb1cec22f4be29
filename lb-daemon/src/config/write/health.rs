//! What is said of health, of services and reals.

use super::text::{Keys, array, duration, inline, quoted, words};
use crate::config::{
    health::{
        Check, Exchange, Expected, Health, Http, OnFailure, Probe, Quorum, RealHealth, Record,
        Require, Timing, Tls, Via,
    },
    model::{ForwardingMethod, ServiceId},
};

/// What a service's table says of health, for a table by itself; empty where
/// that is nothing.
#[must_use]
pub fn of_service(health: &Health, of: ServiceId, forward: ForwardingMethod) -> String {
    let has_port = |port| port != of.default_real_port();
    let writes_port = health
        .sorry_server
        .is_some_and(|sorry| has_port(sorry.id.port));
    let mut keys = Keys::default();
    settings(health, writes_port, forward, &mut keys);
    let mut text = keys.to_string();
    checks("health", &health.checks, &mut text);
    text
}

/// The same of a real's table.
#[must_use]
pub fn of_real(health: &RealHealth) -> String {
    let mut keys = Keys::default();
    own_settings(health, &mut keys);
    let mut text = keys.to_string();
    checks(
        "health",
        health.checks.as_deref().unwrap_or_default(),
        &mut text,
    );
    text
}

/// The keys of a service but for its checks.
pub(super) fn settings(of: &Health, writes_port: bool, forward: ForwardingMethod, keys: &mut Keys) {
    if let Some(sorry) = of.sorry_server {
        let mut table = Keys::default();
        table.set("address", quoted(&sorry.id.address.to_string()));
        if writes_port {
            table.set("port", sorry.id.port);
        }
        if sorry.forward != forward {
            table.set("forward", quoted(sorry.forward.name()));
        }
        keys.set("sorry_server", table.inline());
    }
    if of.quorum != Quorum::default() {
        keys.set("quorum", quorum(&of.quorum));
    }
    if of.require != Require::default() {
        keys.set("require", quoted(of.require.name()));
    }
}

fn quorum(of: &Quorum) -> String {
    let default = Quorum::default();
    let mut table = Keys::default();
    table.unless(default.up, "up", of.up);
    table.unless(default.hysteresis, "hysteresis", of.hysteresis);
    table.unless(array([]), "notify_up", words(&of.notify_up));
    table.unless(array([]), "notify_down", words(&of.notify_down));
    table.inline()
}

/// The keys of a real but for its checks; that it has none is such a key.
pub(super) fn own_settings(of: &RealHealth, keys: &mut Keys) {
    keys.unless(array([]), "notify_up", words(&of.notify_up));
    keys.unless(array([]), "notify_down", words(&of.notify_down));
    if of.checks.as_ref().is_some_and(Vec::is_empty) {
        keys.set("health", array([]));
    }
}

/// `[header]` for one check, `[[header]]` for several.
pub(super) fn checks(header: &str, checks: &[Check], text: &mut String) {
    let (open, close) = match checks {
        [_] => ("[", "]"),
        _ => ("[[", "]]"),
    };
    for of in checks {
        text.push_str(&format!("{open}{header}{close}\n{}", check(of)));
    }
}

fn check(of: &Check) -> Keys {
    let default = Check::new(of.probe.clone());
    let mut keys = Keys::default();
    keys.set("type", quoted(of.probe.probe_type().name()));
    let (timing, usual) = (of.timing, Timing::default());
    keys.unless(
        duration(usual.interval),
        "interval",
        duration(timing.interval),
    );
    keys.unless(duration(usual.timeout), "timeout", duration(timing.timeout));
    keys.unless(default.rise, "rise", of.rise);
    keys.unless(default.fall, "fall", of.fall);
    keys.set_some("port", of.port.map(|port| port.to_string()));
    if of.via != Via::default() {
        keys.set("via", quoted(of.via.name()));
    }
    keys.unless(false, "alpha", of.alpha);
    keys.unless(false, "omega", of.omega);
    keys.unless(duration(usual.warmup), "warmup", duration(timing.warmup));
    keys.set_some("fast_interval", timing.fast_interval.map(duration));
    if of.on_failure != OnFailure::default() {
        keys.set("on_failure", quoted(of.on_failure.name()));
    }
    probe(&of.probe, &mut keys);
    keys
}

fn probe(of: &Probe, keys: &mut Keys) {
    match of {
        Probe::Tcp | Probe::Icmp | Probe::Mysql | Probe::Redis | Probe::Agent => {}
        Probe::Http(of) => http(of, keys),
        Probe::Https(of, Tls { verify, sni }) => {
            http(of, keys);
            keys.unless(true, "verify", *verify);
            keys.set_some("sni", sni.as_deref().map(quoted));
        }
        Probe::Udp(of) | Probe::SendExpect(of) => exchange(of, keys),
        Probe::Dns(of) => {
            keys.set("query", quoted(&of.query));
            if of.record != Record::A {
                keys.set("record", quoted(of.record.name()));
            }
        }
        Probe::Smtp(host) => keys.set_some("host", host.as_deref().map(quoted)),
        Probe::Exec(of) => {
            keys.set("command", words(&of.command));
            expected(of.expect.as_ref(), keys);
            keys.unless(false, "dynamic", of.dynamic);
        }
        Probe::File(path) => keys.set("path", quoted(&path.to_string_lossy())),
        Probe::Grpc(service) => keys.unless(quoted(""), "service", quoted(service)),
    }
}

fn http(of: &Http, keys: &mut Keys) {
    let default = Http::default();
    keys.unless(quoted(&default.path), "path", quoted(&of.path));
    keys.unless(quoted(&default.method), "method", quoted(&of.method));
    keys.set_some("host", of.host.as_deref().map(quoted));
    if !of.headers.is_empty() {
        let quote = |(name, value): &(String, String)| (quoted(name), quoted(value));
        let headers: Vec<_> = of.headers.iter().map(quote).collect();
        let pairs = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        keys.set("headers", inline(pairs));
    }
    let range = |(first, last): &(u16, u16)| match first == last {
        true => first.to_string(),
        false => quoted(&format!("{first}-{last}")),
    };
    let status = |ranges: &[(u16, u16)]| array(ranges.iter().map(range));
    keys.unless(status(&default.status), "status", status(&of.status));
    let regex = of.body_regex.as_ref();
    keys.set_some("body_regex", regex.map(|pattern| quoted(pattern.as_str())));
    let (sha256, md5) = (of.body_sha256, of.body_md5);
    keys.set_some("body_sha256", sha256.map(|digest| quoted(&digest.text())));
    keys.set_some("body_md5", md5.map(|digest| quoted(&digest.text())));
}

fn exchange(of: &Exchange, keys: &mut Keys) {
    keys.unless(quoted(""), "send", quoted(&of.send.text()));
    expected(of.expect.as_ref(), keys);
}

fn expected(of: Option<&Expected>, keys: &mut Keys) {
    match of {
        None => {}
        Some(Expected::Prefix(octets)) => keys.set("expect", quoted(&octets.text())),
        Some(Expected::Match(pattern)) => keys.set("expect_regex", quoted(pattern.as_str())),
    }
}
