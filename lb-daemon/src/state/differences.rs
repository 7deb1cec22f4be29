//! What a reload changes, in lines for people.

use std::collections::{HashMap, HashSet};

use super::desired::{Desired, ServiceEntry};
use crate::config::{
    model::{Config, Real, Service, ServiceId, Tunnel, TunnelKind},
    scheduling,
};

/// The services that differ, each with lines that say how.
pub(super) fn differences(before: &Desired, after: &Desired) -> Vec<(ServiceId, Vec<String>)> {
    let mut differences = Vec::new();
    let old: HashMap<_, _> = before.services.iter().map(|e| (e.id, e)).collect();
    let kept: HashSet<_> = after.services.iter().map(|e| e.id).collect();
    let removed = before.services.iter().filter(|e| !kept.contains(&e.id));
    let pairs = after
        .services
        .iter()
        .map(|entry| (old.get(&entry.id).copied(), Some(entry)))
        .chain(removed.map(|entry| (Some(entry), None)));
    for (before, after) in pairs {
        let lines = difference(before, after);
        if let (Some(entry), false) = (after.or(before), lines.is_empty()) {
            differences.push((entry.id, lines));
        }
    }
    differences
}

/// How one service differs; no lines: not at all.
pub(super) fn difference(
    before: Option<&ServiceEntry>,
    after: Option<&ServiceEntry>,
) -> Vec<String> {
    match (before, after) {
        (None, None) => Vec::new(),
        (None, Some(entry)) => vec![format!("service {}: added", entry.id)],
        (Some(entry), None) => vec![format!("service {}: removed", entry.id)],
        (Some(before), Some(after)) => {
            let (before, after) = (before.service(), after.service());
            if before == after {
                Vec::new()
            } else {
                describe(&before, &after)
            }
        }
    }
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
    for (key, from, to) in settings(before)
        .into_iter()
        .zip(settings(after))
        .map(|((key, from), (_, to))| (key, from, to))
        .filter(|(_, from, to)| from != to)
    {
        lines.push(format!("service {id}: {key} {from} -> {to}"));
    }
    if before.health != after.health {
        lines.push(format!("service {id}: health changed"));
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

/// A service's settings whose values are told, in words.
fn settings(service: &Service) -> [(&'static str, String); 9] {
    let none = || "none".to_owned();
    let masquerade: Vec<_> = service.masquerade.iter().map(ToString::to_string).collect();
    [
        ("scheduler", service.scheduler.name().to_owned()),
        (
            "scheduler_flags",
            scheduling::flag_list(service.scheduler, service.scheduler_flags),
        ),
        ("mh_table_size", service.mh_table_size.to_string()),
        (
            "slow_start",
            service
                .slow_start
                .map_or_else(none, |time| format!("{} s", time.as_secs())),
        ),
        (
            "masquerade",
            if masquerade.is_empty() {
                none()
            } else {
                masquerade.join(", ")
            },
        ),
        (
            "persistence",
            service.persistence.map_or_else(none, |of| {
                format!("{} s /{}", of.timeout_s, of.prefix(service.id.family()))
            }),
        ),
        ("one_packet", service.one_packet.to_string()),
        ("on_down", service.on_down.name().to_owned()),
        (
            "rate_limit",
            service.rate_limit.map_or_else(none, |limit| {
                format!("{}/s, burst {}", limit.connections, limit.burst)
            }),
        ),
    ]
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
    if before.state != after.state {
        what.push(format!(
            "state {} -> {}",
            before.state.name(),
            after.state.name()
        ));
    }
    if before.health != after.health {
        what.push("health changed".into());
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
    let (a, b) = (&before.director, &after.director);
    if a.manage_addresses != b.manage_addresses {
        lines.push(format!(
            "manage_addresses {} -> {}",
            a.manage_addresses, b.manage_addresses
        ));
    }
    if a.vip_interface != b.vip_interface {
        lines.push(format!(
            "vip_interface {} -> {}",
            a.vip_interface, b.vip_interface
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
    if before.metrics != after.metrics {
        lines.push("metrics changed".into());
    }
    if before.alerts != after.alerts {
        lines.push("alerts changed".into());
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::model::{Scheduler, Scheduling};

    #[test]
    fn what_belongs_to_the_scheduler_is_told() {
        let id = "tcp:192.0.2.10:80".parse().unwrap();
        let before = Service::new(id, Scheduler::Sh);
        let with = |scheduling| {
            let mut after = before.clone();
            after.set_scheduling(scheduling);
            describe(&before, &after)
        };
        let sh = Scheduling::plain(Scheduler::Sh);
        let flags = lb_common::scheduler::flag::PORT;
        assert_eq!(
            with(Scheduling { flags, ..sh }),
            ["service tcp:192.0.2.10:80: scheduler_flags none -> sh-port"]
        );
        assert_eq!(
            with(Scheduling {
                slow_start: Some(Duration::from_secs(30)),
                ..Scheduling::plain(Scheduler::Wlc)
            }),
            [
                "service tcp:192.0.2.10:80: scheduler sh -> wlc",
                "service tcp:192.0.2.10:80: slow_start none -> 30 s",
            ]
        );
        assert_eq!(
            with(Scheduling {
                table_size: 251,
                ..Scheduling::plain(Scheduler::Mh)
            }),
            [
                "service tcp:192.0.2.10:80: scheduler sh -> mh",
                "service tcp:192.0.2.10:80: mh_table_size 4093 -> 251",
            ]
        );
    }
}
