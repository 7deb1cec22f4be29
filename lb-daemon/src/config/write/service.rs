//! `[[service]]` and `[[service.real]]`, and when several services are one
//! table.

use std::{collections::HashSet, fmt::Write as _, net::SocketAddr};

use super::{
    health,
    text::{Keys, array, duration, quoted, seconds, words},
};
use crate::config::{
    defence::default_burst,
    model::{
        DEFAULT_TABLE_SIZE, ForwardingMethod, IpFamily, OnDown, Persistence, Real, Scheduling,
        Service, ServiceId, Tunnel, Weight,
    },
};

/// Services of one name that stand together and are alike but for their
/// address are one table. One that a change at run time has set apart from its
/// group stands for itself: without the name, which the file can give but
/// once.
pub(super) fn services(services: &[Service], text: &mut String) {
    let mut named = HashSet::new();
    let mut rest = services;
    while let Some(first) = rest.first() {
        let is_first = first.name.as_ref().is_none_or(|name| named.insert(name));
        let (members, body) = alike(rest);
        text.push_str("[[service]]\n");
        match &first.name {
            Some(name) if is_first => writeln!(text, "name = {}", quoted(name)),
            Some(name) => writeln!(text, "# apart from the others of the group {name}"),
            None => Ok(()),
        }
        .expect("a string takes all");
        let group = &rest[..members];
        write!(text, "{}{body}", identity(group)).expect("a string takes all");
        rest = &rest[members..];
    }
}

/// How many of the first services are one table, and its text but for the name
/// and the addresses.
fn alike(services: &[Service]) -> (usize, String) {
    let first = &services[0];
    let is_member = |of: &&Service| {
        let is_same = first.name.is_some() && of.name == first.name;
        is_same && of.id.protocol() == first.id.protocol() && of.id.address().is_some()
    };
    let members = services.iter().take_while(is_member).count().max(1);
    for count in (2..=members).rev() {
        let ports = ports_of(&services[..count]);
        let text = body(first, &ports);
        let others = &services[1..count];
        if others.iter().all(|other| body(other, &ports) == text) {
            return (count, text);
        }
    }
    (1, body(first, &ports_of(&services[..1])))
}

/// Where a port is written though it may be one service's own: because it is
/// not that of another in the group.
struct Ports {
    reals: Vec<bool>,
    sorry_server: bool,
}

fn ports_of(group: &[Service]) -> Ports {
    let reals = group.iter().map(|of| of.reals.len()).max().unwrap_or(0);
    let is_other = |at: usize| {
        let is_other = |of: &Service| {
            let real = of.reals.get(at);
            real.is_some_and(|real| real.id.port != of.id.default_real_port())
        };
        group.iter().any(is_other)
    };
    let is_other_sorry = |of: &Service| {
        let sorry = of.health.sorry_server;
        sorry.is_some_and(|sorry| sorry.id.port != of.id.default_real_port())
    };
    Ports {
        reals: (0..reals).map(is_other).collect(),
        sorry_server: group.iter().any(is_other_sorry),
    }
}

fn identity(group: &[Service]) -> Keys {
    let mut keys = Keys::default();
    match group[0].id {
        ServiceId::Mark(mark) => {
            keys.set("fwmark", mark.mark);
            if mark.family == IpFamily::V6 {
                keys.set("family", quoted("ipv6"));
            }
        }
        ServiceId::Address(of) => {
            keys.set("protocol", quoted(of.protocol.name()));
            if group.len() > 1 {
                let addresses = group
                    .iter()
                    .filter_map(|of| Some((of.id.address()?, of.id.port()?)));
                let sockets =
                    addresses.map(|address| quoted(&SocketAddr::from(address).to_string()));
                keys.set("listen", array(sockets));
            } else {
                keys.set("address", quoted(&of.address.to_string()));
                keys.set("port", of.port);
            }
        }
    }
    keys
}

/// Everything but the name and the identity.
fn body(of: &Service, ports: &Ports) -> String {
    let mut keys = settings(of);
    health::settings(&of.health, ports.sorry_server, of.forward, &mut keys);
    let mut text = keys.to_string();
    health::checks("service.health", &of.health.checks, &mut text);
    text.push('\n');
    for (real, port) in of.reals.iter().zip(&ports.reals) {
        self::real(real, of.forward, *port, &mut text);
    }
    text
}

fn settings(of: &Service) -> Keys {
    let mut keys = Keys::default();
    let default = Scheduling::default();
    let scheduler = |of: Scheduling| quoted(of.scheduler.name());
    keys.unless(scheduler(default), "scheduler", scheduler(of.scheduling()));
    let flags = of.scheduling().flag_names();
    keys.unless(array([]), "scheduler_flags", words(&flags));
    keys.unless(DEFAULT_TABLE_SIZE, "mh_table_size", of.mh_table_size);
    keys.set_some("slow_start", of.slow_start.map(duration));
    if of.forward != ForwardingMethod::Dr {
        keys.set("forward", quoted(of.forward.name()));
    }
    let pool = of
        .masquerade
        .iter()
        .map(|address| quoted(&address.to_string()));
    keys.unless(array([]), "masquerade", array(pool));
    keys.unless(false, "one_packet", of.one_packet);
    keys.set_some("persistence", of.persistence.map(persistence));
    if of.on_down != OnDown::default() {
        keys.set("on_down", quoted(of.on_down.name()));
    }
    if let Some(limit) = of.rate_limit {
        let mut table = Keys::default();
        table.set("connections", limit.connections);
        table.unless(default_burst(limit.connections), "burst", limit.burst);
        keys.set("rate_limit", table.inline());
    }
    keys
}

fn persistence(of: Persistence) -> String {
    let default = Persistence::default();
    let mut table = Keys::default();
    table.unless(seconds(default.timeout_s), "timeout", seconds(of.timeout_s));
    table.unless(default.netmask, "netmask", of.netmask);
    table.unless(default.netmask_v6, "netmask_v6", of.netmask_v6);
    table.inline()
}

fn real(of: &Real, forward: ForwardingMethod, writes_port: bool, text: &mut String) {
    let mut keys = Keys::default();
    keys.set("address", quoted(&of.id.address.to_string()));
    if writes_port {
        keys.set("port", of.id.port);
    }
    keys.unless(Weight::ONE.get(), "weight", of.weight.get());
    if of.forward != forward {
        keys.set("forward", quoted(of.forward.name()));
    }
    if of.tunnel != Tunnel::default() {
        let default = Tunnel::default();
        let mut table = Keys::default();
        table.set("type", quoted(of.tunnel.kind.name()));
        table.unless(default.port, "port", of.tunnel.port);
        table.unless(default.checksum, "checksum", of.tunnel.checksum);
        keys.set("tunnel", table.inline());
    }
    keys.unless(0, "upper_threshold", of.upper_threshold);
    keys.unless(0, "lower_threshold", of.lower_threshold);
    let mut checks = String::new();
    if let Some(own) = of.health.as_deref() {
        health::own_settings(own, &mut keys);
        let own = own.checks.as_deref().unwrap_or_default();
        health::checks("service.real.health", own, &mut checks);
    }
    text.push_str(&format!("[[service.real]]\n{keys}{checks}\n"));
}
