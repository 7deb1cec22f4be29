//! Which options go with which command and with which tunnel.

use super::{
    command::Usage,
    options::{Kind, Verb},
};
use crate::config::model::TunnelKind;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Needed,
    Possible,
    /// No two of these together.
    Exclusive,
    Illegal,
}

/// Refuses options that do not go with `verb`, and their lack.
pub(super) fn check_command(verb: Verb, given: &[Kind]) -> Result<(), Usage> {
    let of = format!("'{}' command", verb.name());
    check(&Kind::ALL, given, |kind| rule_of_command(verb, kind), &of)
}

/// Refuses options that do not go with a tunnel of `tunnel`, and their lack.
pub(super) fn check_tunnel(tunnel: TunnelKind, given: &[Kind]) -> Result<(), Usage> {
    const KINDS: [Kind; 4] = [
        Kind::TunPort,
        Kind::TunNocsum,
        Kind::TunCsum,
        Kind::TunRemcsum,
    ];
    let of = format!("'{}' tunnel type", tunnel.name());
    check(&KINDS, given, |kind| rule_of_tunnel(tunnel, kind), &of)
}

fn check(
    kinds: &[Kind],
    given: &[Kind],
    rule: impl Fn(Kind) -> Rule,
    of: &str,
) -> Result<(), Usage> {
    let mut exclusive: Option<Kind> = None;
    for kind in kinds {
        let name = kind.name();
        match (rule(*kind), given.contains(kind)) {
            (Rule::Needed, false) => {
                return Err(Usage::fail(format!(
                    "You need to supply the '{name}' option for the {of}"
                )));
            }
            (Rule::Illegal, true) => {
                return Err(Usage::fail(format!(
                    "Illegal '{name}' option with the {of}"
                )));
            }
            (Rule::Exclusive, true) => {
                if let Some(other) = exclusive {
                    return Err(Usage::fail(format!(
                        "The option '{name}' conflicts with the '{}' option in the {of}",
                        other.name()
                    )));
                }
                exclusive = Some(*kind);
            }
            _ => {}
        }
    }
    Ok(())
}

fn rule_of_command(verb: Verb, kind: Kind) -> Rule {
    match (verb, kind) {
        (
            Verb::AddService
            | Verb::EditService
            | Verb::DeleteService
            | Verb::AddReal
            | Verb::EditReal
            | Verb::DeleteReal,
            Kind::ServiceAddress,
        )
        | (Verb::AddReal | Verb::EditReal | Verb::DeleteReal, Kind::RealServer) => Rule::Needed,
        (
            Verb::AddService | Verb::EditService,
            Kind::Scheduler
            | Kind::Persistent
            | Kind::Netmask
            | Kind::Ops
            | Kind::PersistenceEngine
            | Kind::SchedulerFlags,
        )
        | (
            Verb::AddReal | Verb::EditReal,
            Kind::ForwardingMethod
            | Kind::Weight
            | Kind::UpperThreshold
            | Kind::LowerThreshold
            | Kind::TunType
            | Kind::TunPort
            | Kind::TunNocsum
            | Kind::TunCsum
            | Kind::TunRemcsum,
        )
        | (
            Verb::List,
            Kind::Numeric
            | Kind::Stats
            | Kind::Rate
            | Kind::Thresholds
            | Kind::PersistentConn
            | Kind::NoSort
            | Kind::SyncId
            | Kind::Exact
            | Kind::TunInfo,
        )
        | (
            Verb::StartDaemon,
            Kind::McastInterface
            | Kind::SyncId
            | Kind::McastGroup
            | Kind::McastPort
            | Kind::McastTtl
            | Kind::SyncMaxlen,
        )
        | (Verb::StopDaemon, Kind::SyncId)
        | (Verb::Save, Kind::Numeric)
        | (Verb::Zero, Kind::ServiceAddress) => Rule::Possible,
        (Verb::List, Kind::Connection | Kind::ServiceAddress | Kind::Timeout | Kind::Daemon) => {
            Rule::Exclusive
        }
        _ => Rule::Illegal,
    }
}

const fn rule_of_tunnel(tunnel: TunnelKind, kind: Kind) -> Rule {
    match (tunnel, kind) {
        (TunnelKind::Gue, Kind::TunPort) => Rule::Needed,
        (TunnelKind::Gue, Kind::TunNocsum | Kind::TunCsum | Kind::TunRemcsum)
        | (TunnelKind::Gre, Kind::TunNocsum | Kind::TunCsum) => Rule::Exclusive,
        _ => Rule::Illegal,
    }
}
