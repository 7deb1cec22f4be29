//! A [`Document`] as `lbd.toml`, with the contract's keys in the contract's
//! order. What is our default is left out; of checks everything is printed,
//! since other programs' defaults differ from ours.

use std::{fmt::Write as _, net::SocketAddr};

use super::{
    NO_INTERFACE,
    document::{
        Alerts, Check, CheckKind, Document, Expect, Http, Identity, Mark, Quorum, Real, Service,
        SorryServer,
    },
    toml_text::{Text, Value, duration},
};
use crate::config::{
    mark::in_order,
    model::{ForwardingMethod, IpFamily, Persistence, Tunnel, TunnelKind},
};

/// Defaults of `[capacity]`.
const SERVICES: usize = 4096;
const REALS: usize = 65_536;

pub(super) fn render(document: &Document, file: &str) -> String {
    let mut text = Text::default();
    text.comment(&format!("Imported from {file} by lbctl import."));
    director(&mut text, document);
    capacity(&mut text, document);
    timeouts(&mut text, document);
    if let Some(of) = &document.alerts {
        alerts(&mut text, of);
    }
    marks(&mut text, &document.marks);
    for each in &document.services {
        service(&mut text, each);
    }
    text.into_string()
}

fn director(text: &mut Text, document: &Document) {
    text.blank();
    text.table("director");
    if document.interfaces.iter().any(|name| name == NO_INTERFACE) {
        text.comment("Not known: the interfaces that the services' packets come in by.");
    }
    text.entry("interfaces", Value::texts(&document.interfaces));
}

/// Only what has to be larger than its default.
fn capacity(text: &mut Text, document: &Document) {
    let services = document.services.iter();
    let services: Vec<_> = services
        .map(|service| (addresses(service), service.reals.len()))
        .collect();
    let count: usize = services.iter().map(|(addresses, _)| addresses).sum();
    let reals: usize = services
        .iter()
        .map(|(addresses, reals)| addresses * reals)
        .sum();
    if count <= SERVICES && reals <= REALS {
        return;
    }
    text.blank();
    text.table("capacity");
    for (key, needed, default) in [("services", count, SERVICES), ("reals", reals, REALS)] {
        if needed > default {
            text.entry(key, Value::Integer(needed.next_power_of_two() as u64));
        }
    }
}

fn addresses(service: &Service) -> usize {
    match &service.identity {
        Identity::Addresses(_, addresses) => addresses.len(),
        Identity::Mark(..) => 1,
    }
}

fn timeouts(text: &mut Text, document: &Document) {
    let timeouts = &document.timeouts;
    if *timeouts == super::document::Timeouts::default() {
        return;
    }
    text.blank();
    text.table("timeouts");
    text.optional("tcp", timeouts.tcp_s.map(seconds));
    text.optional("tcp_fin", timeouts.tcp_fin_s.map(seconds));
    text.optional("udp", timeouts.udp_s.map(seconds));
}

fn alerts(text: &mut Text, alerts: &Alerts) {
    text.blank();
    text.table("alerts");
    text.entry("smtp", &*alerts.smtp);
    text.entry("from", &*alerts.from);
    text.entry("to", Value::texts(&alerts.to));
}

/// One table for each mark, protocol and destination, with all of its ports.
fn marks(text: &mut Text, marks: &[Mark]) {
    let key = |mark: &Mark| (mark.rule.mark, mark.rule.protocol, mark.rule.destination);
    for (i, mark) in marks.iter().enumerate() {
        if marks[..i].iter().any(|earlier| key(earlier) == key(mark)) {
            continue;
        }
        let same = marks[i..].iter().filter(|other| key(other) == key(mark));
        let same: Vec<_> = same.map(|other| &other.rule.ports).collect();
        let (address, length) = mark.rule.destination;
        let is_one_address = length == if address.is_ipv4() { 32 } else { 128 };
        text.blank();
        text.array_of_tables("firewall_mark");
        text.entry("mark", mark.rule.mark);
        text.entry("protocol", mark.rule.protocol.name());
        text.entry(
            "destination",
            &*if is_one_address {
                address.to_string()
            } else {
                format!("{address}/{length}")
            },
        );
        if !same.iter().any(|ports| ports.is_empty()) {
            let all = in_order(same.into_iter().flatten().copied().collect());
            let ports = all.into_iter().map(|(first, last)| {
                if first == last {
                    Value::Integer(first.into())
                } else {
                    Value::Text(format!("{first}-{last}"))
                }
            });
            text.entry("ports", Value::List(ports.collect()));
        }
    }
}

fn service(text: &mut Text, service: &Service) {
    text.blank();
    text.comment(&service.place.to_string());
    text.array_of_tables("service");
    text.optional("name", service.name.as_deref());
    identity(text, &service.identity);
    text.entry("scheduler", service.scheduler.name());
    if !service.scheduler_flags.is_empty() {
        text.entry("scheduler_flags", Value::texts(&service.scheduler_flags));
    }
    text.entry("forward", service.forward.name());
    if service.one_packet {
        text.entry("one_packet", true);
    }
    text.optional("persistence", service.persistence.map(persistence));
    text.optional("slow_start", service.slow_start_s.map(seconds));
    text.optional(
        "sorry_server",
        service
            .sorry_server
            .as_ref()
            .map(|sorry| sorry_server(sorry, service)),
    );
    text.optional("quorum", quorum(&service.quorum));
    let shared = shared_checks(service);
    checks(text, "service.health", shared);
    for each in &service.reals {
        real(text, each, service);
        if shared.is_empty() {
            checks(text, "service.real.health", &each.checks);
        }
    }
}

fn identity(text: &mut Text, identity: &Identity) {
    match identity {
        Identity::Addresses(protocol, addresses) => {
            text.entry("protocol", protocol.name());
            if let [address] = &addresses[..] {
                text.entry("address", &*address.ip().to_string());
                text.entry("port", u32::from(address.port()));
            } else {
                text.entry("listen", Value::texts(addresses));
            }
        }
        Identity::Mark(mark, family) => {
            text.entry("fwmark", *mark);
            if *family == IpFamily::V6 {
                text.entry("family", "ipv6");
            }
        }
    }
}

fn persistence(persistence: Persistence) -> Value {
    let mut entries = vec![("timeout", seconds(persistence.timeout_s))];
    let default = Persistence::default();
    if persistence.netmask != default.netmask {
        entries.push(("netmask", u32::from(persistence.netmask).into()));
    }
    if persistence.netmask_v6 != default.netmask_v6 {
        entries.push(("netmask_v6", u32::from(persistence.netmask_v6).into()));
    }
    Value::Inline(entries)
}

fn sorry_server(sorry: &SorryServer, service: &Service) -> Value {
    let mut entries = vec![("address", (&*sorry.address.to_string()).into())];
    if let Some(port) = sorry.port {
        entries.push(("port", u32::from(port).into()));
    }
    // Whether it has the service's method where none is given is left to nobody.
    if sorry.forward != service.forward || sorry.port.is_some() {
        entries.push(("forward", sorry.forward.name().into()));
    }
    Value::Inline(entries)
}

fn quorum(quorum: &Quorum) -> Option<Value> {
    let Quorum {
        up,
        hysteresis,
        notify_up,
        notify_down,
    } = quorum;
    let mut entries = Vec::new();
    if *up != 1 {
        entries.push(("up", (*up).into()));
    }
    if *hysteresis != 0 {
        entries.push(("hysteresis", (*hysteresis).into()));
    }
    for (key, command) in [("notify_up", notify_up), ("notify_down", notify_down)] {
        if !command.is_empty() {
            entries.push((key, Value::texts(command)));
        }
    }
    (!entries.is_empty()).then_some(Value::Inline(entries))
}

/// The checks that all reals have alike: they stand at the service.
fn shared_checks(service: &Service) -> &[Check] {
    match &service.reals[..] {
        [first, others @ ..] if others.iter().all(|real| real.checks == first.checks) => {
            &first.checks
        }
        _ => &[],
    }
}

fn real(text: &mut Text, real: &Real, service: &Service) {
    text.blank();
    text.array_of_tables("service.real");
    text.entry("address", &*real.address.to_string());
    text.optional("port", real.port.map(u32::from));
    if real.weight != 1 {
        text.entry("weight", real.weight);
    }
    if real.forward != service.forward {
        text.entry("forward", real.forward.name());
    }
    if real.forward == ForwardingMethod::Tun && real.tunnel != Tunnel::default() {
        text.entry("tunnel", tunnel(real.tunnel));
    }
    for (key, threshold) in [
        ("upper_threshold", real.upper_threshold),
        ("lower_threshold", real.lower_threshold),
    ] {
        if threshold != 0 {
            text.entry(key, threshold);
        }
    }
    for (key, command) in [
        ("notify_up", &real.notify_up),
        ("notify_down", &real.notify_down),
    ] {
        if !command.is_empty() {
            text.entry(key, Value::texts(command));
        }
    }
}

fn tunnel(tunnel: Tunnel) -> Value {
    let mut entries = vec![("type", tunnel.kind.name().into())];
    if tunnel.kind == TunnelKind::Gue {
        entries.push(("port", u32::from(tunnel.port).into()));
    }
    if tunnel.checksum {
        entries.push(("checksum", true.into()));
    }
    Value::Inline(entries)
}

fn checks(text: &mut Text, name: &str, checks: &[Check]) {
    for check in checks {
        text.blank();
        if checks.len() == 1 {
            text.table(name);
        } else {
            text.array_of_tables(name);
        }
        health(text, check);
    }
}

fn health(text: &mut Text, check: &Check) {
    text.entry("type", type_of(&check.kind));
    text.entry("interval", duration(check.interval_ms));
    text.entry("timeout", duration(check.timeout_ms));
    text.entry("rise", check.rise);
    text.entry("fall", check.fall);
    text.optional("port", check.port.map(u32::from));
    for (key, is_set) in [("alpha", check.alpha), ("omega", check.omega)] {
        if is_set {
            text.entry(key, true);
        }
    }
    text.optional("warmup", check.warmup_ms.map(duration));
    text.optional("fast_interval", check.fast_interval_ms.map(duration));
    match &check.kind {
        CheckKind::Tcp | CheckKind::Icmp => {}
        CheckKind::Smtp { host } => text.optional("host", host.as_deref()),
        CheckKind::Http(http) => http_keys(text, http),
        CheckKind::Dns { query, record } => {
            text.entry("query", &**query);
            text.entry("record", &**record);
        }
        CheckKind::Udp { send, expect } | CheckKind::SendExpect { send, expect } => {
            text.optional("send", send.as_deref().map(octets));
            expected(text, expect.as_ref());
        }
        CheckKind::Exec {
            command,
            expect,
            dynamic,
        } => {
            text.entry("command", Value::texts(command));
            expected(text, expect.as_ref());
            if *dynamic {
                text.entry("dynamic", true);
            }
        }
        CheckKind::File { path } => text.entry("path", &**path),
    }
    if check.quiesce {
        text.entry("on_failure", "quiesce");
    }
}

fn expected(text: &mut Text, expect: Option<&Expect>) {
    match expect {
        Some(Expect::Prefix(prefix)) => text.entry("expect", octets(prefix)),
        Some(Expect::Regex(pattern)) => text.entry("expect_regex", &**pattern),
        None => {}
    }
}

/// As the configuration writes them: what is no text as `\x` and two digits, a
/// backslash twice.
fn octets(octets: &[u8]) -> Value {
    let mut text = String::new();
    for octet in octets {
        match octet {
            b'\\' => text.push_str("\\\\"),
            b'\r' | b'\n' | b'\t' | b' '..=b'~' => text.push(char::from(*octet)),
            octet => {
                let _ = write!(text, "\\x{octet:02x}");
            }
        }
    }
    Value::Text(text)
}

fn http_keys(text: &mut Text, http: &Http) {
    text.entry("path", &*http.path);
    text.optional("host", http.host.as_deref());
    if !http.status.is_empty() {
        text.entry("status", Value::texts(&http.status));
    }
    text.optional("body_regex", http.body_regex.as_deref());
    text.optional("body_md5", http.body_md5.as_deref());
    if let Some(tls) = &http.tls {
        if !tls.verify {
            text.entry("verify", false);
        }
        text.optional("sni", tls.sni.as_deref());
    }
}

const fn type_of(kind: &CheckKind) -> &'static str {
    match kind {
        CheckKind::Tcp => "tcp",
        CheckKind::Http(http) if http.tls.is_some() => "https",
        CheckKind::Http(_) => "http",
        CheckKind::Udp { .. } => "udp",
        CheckKind::Dns { .. } => "dns",
        CheckKind::Icmp => "icmp",
        CheckKind::Smtp { .. } => "smtp",
        CheckKind::SendExpect { .. } => "send_expect",
        CheckKind::Exec { .. } => "exec",
        CheckKind::File { .. } => "file",
    }
}

fn seconds(seconds: u32) -> Value {
    duration(u64::from(seconds) * 1000)
}

/// A file in which nothing but this check can be wrong.
pub(super) fn check_alone(check: &Check) -> String {
    let mut text = Text::default();
    text.table("director");
    text.entry("interfaces", Value::texts(["eth0"]));
    text.array_of_tables("service");
    text.entry("protocol", "tcp");
    text.entry("address", "192.0.2.10");
    text.entry("port", 80);
    checks(&mut text, "service.health", std::slice::from_ref(check));
    text.into_string()
}

/// A file in which nothing but these alerts can be wrong.
pub(super) fn alerts_alone(of: &Alerts) -> String {
    let mut text = Text::default();
    text.table("director");
    text.entry("interfaces", Value::texts(["eth0"]));
    alerts(&mut text, of);
    text.into_string()
}

/// How a service is called in warnings: by its first address or its mark.
pub(super) fn called(identity: &Identity) -> String {
    match identity {
        Identity::Addresses(protocol, addresses) => {
            let first = addresses.first().map(SocketAddr::to_string);
            format!("service {}:{}", protocol.name(), first.unwrap_or_default())
        }
        Identity::Mark(mark, IpFamily::V4) => format!("service fwmark:{mark}"),
        Identity::Mark(mark, IpFamily::V6) => format!("service fwmark6:{mark}"),
    }
}
