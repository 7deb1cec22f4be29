//! `lbctl health`: every check, what it thinks of its real, and why; or how reals have
//! gone down and come up.

use anyhow::Result;
use clap::Args as Flags;

use super::{
    args::{real, service},
    client::{Client, query},
    columns::{
        Align::{Left, Right},
        aligned,
    },
    commands::print,
};
use crate::api::wire;

/// `lbctl health`.
#[derive(Debug, Flags)]
pub struct HealthArgs {
    /// tcp:192.0.2.10:80, or its name; none: all services
    #[arg(value_name = "SERVICE", value_parser = service)]
    service: Option<String>,
    /// 10.0.0.2:80, or an address alone for the service's port; none: all reals
    #[arg(value_name = "REAL", value_parser = real)]
    real: Option<String>,
    /// The last 100 times that each real went down or came up
    #[arg(long)]
    history: bool,
}

pub(super) async fn run(client: &Client, args: HealthArgs, json: bool) -> Result<()> {
    let HealthArgs {
        service,
        real,
        history,
    } = args;
    let of = query(&[("service", service.as_deref()), ("real", real.as_deref())]);
    if history {
        let answer = client.get(&format!("/v1/health/history{of}")).await?;
        return print(&answer, json, |changes: &Vec<wire::Transition>| {
            Ok(transitions(changes))
        });
    }
    let answer = client.get(&format!("/v1/health{of}")).await?;
    print(&answer, json, |all: &Vec<wire::Check>| Ok(checks(all)))
}

fn checks(checks: &[wire::Check]) -> String {
    let header = [
        "SERVICE",
        "REAL",
        "CHECK",
        "HEALTH",
        "SINCE",
        "TOOK",
        "LAST ANSWER",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(checks.iter().map(|check| {
        let (took, said) = match &check.last {
            None => ("-".into(), "not yet asked".into()),
            Some(last) => (format!("{} ms", last.duration_ms), said(last)),
        };
        vec![
            check.service.clone(),
            check.real.clone(),
            check.of_type.clone(),
            check.health.clone(),
            check.since.clone(),
            took,
            said,
        ]
    }));
    aligned(0, &[Left, Left, Left, Left, Left, Right, Left], &rows)
}

fn said(last: &wire::Answer) -> String {
    match (last.ok, last.reason.as_str()) {
        (true, "") => "ok".into(),
        (true, warning) => format!("ok; {warning}"),
        (false, reason) => reason.into(),
    }
}

fn transitions(changes: &[wire::Transition]) -> String {
    let header = ["TIME", "SERVICE", "REAL", "HEALTH", "CHECK", "REASON"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(changes.iter().map(|change| {
        vec![
            change.time.clone(),
            change.service.clone(),
            change.real.clone(),
            change.health.clone(),
            change.check.clone(),
            change.reason.clone(),
        ]
    }));
    aligned(0, &[Left; 6], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_a_table() {
        let check = |health: &str, last: Option<(bool, &str)>| wire::Check {
            service: "tcp:192.0.2.10:80".into(),
            real: "10.0.0.2:80".into(),
            of_type: "http".into(),
            health: health.into(),
            since: "2026-01-02T03:04:05.000Z".into(),
            last: last.map(|(ok, reason)| wire::Answer {
                ok,
                reason: reason.into(),
                duration_ms: 3,
            }),
        };
        let page = checks(&[
            check("up", None),
            check("up", Some((true, ""))),
            check("down", Some((false, "status 503"))),
        ]);
        let expected = [
            "SERVICE            REAL         CHECK  HEALTH  SINCE                     TOOK  LAST ANSWER",
            "tcp:192.0.2.10:80  10.0.0.2:80  http   up      2026-01-02T03:04:05.000Z     -  not yet asked",
            "tcp:192.0.2.10:80  10.0.0.2:80  http   up      2026-01-02T03:04:05.000Z  3 ms  ok",
            "tcp:192.0.2.10:80  10.0.0.2:80  http   down    2026-01-02T03:04:05.000Z  3 ms  status 503",
            "",
        ];
        assert_eq!(page, expected.join("\n"));
    }
}
