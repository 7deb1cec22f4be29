//! What a reload changes, in lines for people.

use std::collections::{HashMap, HashSet};

use super::desired::Desired;
use crate::config::model::{Config, Real, Service, ServiceId, Tunnel, TunnelKind};

/// The services that differ, each with lines that say how.
pub(super) fn differences(before: &Desired, after: &Desired) -> Vec<(ServiceId, Vec<String>)> {
    let mut differences = Vec::new();
    let old: HashMap<_, _> = before.services.iter().map(|e| (e.id, e)).collect();
    for entry in &after.services {
        let service = entry.service();
        match old.get(&entry.id) {
            None => differences.push((entry.id, vec![format!("service {}: added", entry.id)])),
            Some(old) if old.service() != service => {
                differences.push((entry.id, describe(&old.service(), &service)));
            }
            Some(_) => {}
        }
    }
    let kept: HashSet<_> = after.services.iter().map(|e| e.id).collect();
    for entry in before.services.iter().filter(|e| !kept.contains(&e.id)) {
        differences.push((entry.id, vec![format!("service {}: removed", entry.id)]));
    }
    differences
}

/// A line for each rule of the marks that one has and the other has not.
pub(super) fn mark_differences(before: &Desired, after: &Desired) -> Vec<String> {
    let (before, after) = (before.mark_rules(), after.mark_rules());
    let added = after.iter().filter(|rule| !before.contains(rule));
    let removed = before.iter().filter(|rule| !after.contains(rule));
    let added = added.map(|rule| format!("{rule}: added"));
    added
        .chain(removed.map(|rule| format!("{rule}: removed")))
        .collect()
}

fn describe(before: &Service, after: &Service) -> Vec<String> {
    let id = after.id;
    let mut lines = Vec::new();
    if before.scheduler != after.scheduler {
        let (from, to) = (before.scheduler.name(), after.scheduler.name());
        lines.push(format!("service {id}: scheduler {from} -> {to}"));
    }
    if before.masquerade != after.masquerade {
        let list = |service: &Service| match &service.masquerade[..] {
            [] => "none".to_owned(),
            pool => pool
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        };
        let (from, to) = (list(before), list(after));
        lines.push(format!("service {id}: masquerade {from} -> {to}"));
    }
    if before.persistence != after.persistence {
        let text = |service: &Service| match service.persistence {
            None => "none".to_owned(),
            Some(of) => format!("{} s /{}", of.timeout_s, of.prefix(service.id.family())),
        };
        let (from, to) = (text(before), text(after));
        lines.push(format!("service {id}: persistence {from} -> {to}"));
    }
    if before.one_packet != after.one_packet {
        let (from, to) = (before.one_packet, after.one_packet);
        lines.push(format!("service {id}: one_packet {from} -> {to}"));
    }
    if before.on_down != after.on_down {
        let (from, to) = (before.on_down.name(), after.on_down.name());
        lines.push(format!("service {id}: on_down {from} -> {to}"));
    }
    if before.rate_limit != after.rate_limit {
        let text = |service: &Service| match service.rate_limit {
            None => "none".to_owned(),
            Some(limit) => format!("{}/s, burst {}", limit.connections, limit.burst),
        };
        let (from, to) = (text(before), text(after));
        lines.push(format!("service {id}: rate_limit {from} -> {to}"));
    }
    if before.name != after.name || before.forward != after.forward {
        lines.push(format!("service {id}: changed"));
    }
    for real in &after.reals {
        match before.reals.iter().find(|old| old.id == real.id) {
            None => lines.push(format!("service {id}: real {} added", real.id)),
            Some(old) if old != real => lines.push(describe_real(id, old, real)),
            Some(_) => {}
        }
    }
    for old in before
        .reals
        .iter()
        .filter(|old| after.reals.iter().all(|r| r.id != old.id))
    {
        lines.push(format!("service {id}: real {} removed", old.id));
    }
    if lines.is_empty() {
        lines.push(format!("service {id}: order of its reals changed"));
    }
    lines
}

fn describe_real(service: ServiceId, before: &Real, after: &Real) -> String {
    let mut what = Vec::new();
    if before.weight != after.weight {
        what.push(format!(
            "weight {} -> {}",
            before.weight.get(),
            after.weight.get()
        ));
    }
    if before.forward != after.forward {
        what.push(format!(
            "forward {} -> {}",
            before.forward.name(),
            after.forward.name()
        ));
    }
    if before.tunnel != after.tunnel {
        let (from, to) = (
            describe_tunnel(before.tunnel),
            describe_tunnel(after.tunnel),
        );
        what.push(format!("tunnel {from} -> {to}"));
    }
    for (key, from, to) in [
        (
            "upper_threshold",
            before.upper_threshold,
            after.upper_threshold,
        ),
        (
            "lower_threshold",
            before.lower_threshold,
            after.lower_threshold,
        ),
    ] {
        if from != to {
            what.push(format!("{key} {from} -> {to}"));
        }
    }
    format!("service {service}: real {} {}", after.id, what.join(", "))
}

fn describe_tunnel(tunnel: Tunnel) -> String {
    let Tunnel {
        kind,
        port,
        checksum,
    } = tunnel;
    let mut text = kind.name().to_owned();
    if kind == TunnelKind::Gue {
        text.push_str(&format!(":{port}"));
    }
    if checksum {
        text.push_str("+checksum");
    }
    text
}

pub(super) fn other_differences(before: &Config, after: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    if before.director.interfaces != after.director.interfaces {
        lines.push(format!(
            "interfaces: {}",
            after.director.interfaces.join(", ")
        ));
    }
    if before.timeouts != after.timeouts {
        lines.push("timeouts changed".into());
    }
    if before.options != after.options {
        lines.push("options changed".into());
    }
    if before.defence != after.defence {
        lines.push("defence changed".into());
    }
    lines
}
