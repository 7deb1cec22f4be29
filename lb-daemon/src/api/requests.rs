//! Request bodies and what they mean. Fields have the names of `lbd.toml`,
//! except that `service` and `real` name objects as the command line does.

use std::{net::IpAddr, sync::Arc, time::Duration};

use serde_json::Value;

use super::{fields::Fields, problem::Problem};
use crate::{
    config::{
        defence::{MAX_RATE, default_burst},
        health::Require,
        mark::{self, MarkRule},
        model::{
            ForwardingMethod, OnDown, RateLimit, RealState, Scheduling, Service, Tunnel, Weight,
        },
        persistence::MAX_TIMEOUT_S,
        scheduling::MAX_SLOW_START_S,
        vocabulary::{self, one_of},
    },
    state::{
        patch::{
            HealthPatch, NewReal, PersistencePatch, QuorumPatch, RealHealthPatch, RealPatch,
            ServicePatch, SorryPatch, Switch, TunnelPatch,
        },
        scheduling::SchedulingPatch,
    },
};
use lb_common::limits::MAX_WEIGHT;

/// The service that a POST asks for, with the reals that it lists.
pub(super) fn new_service(mut fields: Fields) -> Result<Service, Problem> {
    let Some(id) = fields.parsed("service", vocabulary::service_id)? else {
        return Err(Problem::invalid("service: missing"));
    };
    let settings = ServiceSettings::take(&mut fields)?;
    let listed = fields.objects("reals")?;
    fields.finish()?;

    let forward = settings.forward.unwrap_or(ForwardingMethod::Dr);
    let mut reals = Vec::new();
    for fields in listed {
        reals.push(new_real(fields)?.real(id, forward));
    }
    let scheduling = settings.scheduling.apply(Scheduling::default());
    let scheduling =
        scheduling.map_err(|problem| Problem::invalid(format!("service {id}: {problem}")))?;
    let mut service = Service {
        name: settings.name,
        forward,
        masquerade: settings.masquerade.unwrap_or_default(),
        persistence: settings.persistence.apply(None),
        one_packet: settings.one_packet.unwrap_or_default(),
        on_down: settings.on_down.unwrap_or_default(),
        rate_limit: settings.rate_limit.apply(None),
        health: settings.health.apply(&Arc::default(), id, forward),
        reals,
        ..Service::new(id, scheduling.scheduler)
    };
    service.set_scheduling(scheduling);
    service
        .validate()
        .and_then(|()| service.check_pool_is_used())
        .map_err(|invalid| Problem::invalid(invalid.problem))?;
    Ok(service)
}

/// What a PATCH changes of a service.
pub(super) fn service_patch(mut fields: Fields) -> Result<ServicePatch, Problem> {
    let settings = ServiceSettings::take(&mut fields)?;
    refuse_identity(&mut fields, "service")?;
    refuse_reals(&mut fields)?;
    fields.finish()?;
    Ok(ServicePatch {
        name: settings.name,
        scheduling: settings.scheduling,
        forward: settings.forward,
        masquerade: settings.masquerade,
        persistence: settings.persistence,
        one_packet: settings.one_packet,
        on_down: settings.on_down,
        rate_limit: settings.rate_limit,
        health: settings.health,
    })
}

/// What a PUT makes of a service: what is not named gets its default. The
/// name alone stays: there is no taking it away yet.
pub(super) fn service_replacement(mut fields: Fields) -> Result<ServicePatch, Problem> {
    let settings = ServiceSettings::take(&mut fields)?;
    refuse_identity(&mut fields, "service")?;
    refuse_reals(&mut fields)?;
    fields.finish()?;
    Ok(ServicePatch {
        scheduling: settings.scheduling.or_default(),
        forward: Some(settings.forward.unwrap_or(ForwardingMethod::Dr)),
        masquerade: Some(settings.masquerade.unwrap_or_default()),
        persistence: match settings.persistence.apply(None) {
            None => Switch::Off,
            Some(persistence) => Switch::On(PersistencePatch {
                timeout_s: Some(persistence.timeout_s),
                netmask: Some(persistence.netmask),
                netmask_v6: Some(persistence.netmask_v6),
            }),
        },
        one_packet: Some(settings.one_packet.unwrap_or_default()),
        on_down: Some(settings.on_down.unwrap_or_default()),
        rate_limit: settings
            .rate_limit
            .apply(None)
            .map_or(Switch::Off, Switch::On),
        health: settings.health.or_default(),
        name: settings.name,
    })
}

/// The real that a POST asks for.
pub(super) fn new_real(mut fields: Fields) -> Result<NewReal, Problem> {
    let Some((address, port)) = fields.parsed("real", vocabulary::real)? else {
        return Err(Problem::invalid("real: missing"));
    };
    let settings = RealSettings::take(&mut fields)?;
    fields.finish()?;
    Ok(NewReal {
        address,
        port,
        weight: settings.weight.unwrap_or(Weight::ONE),
        forward: settings.forward,
        tunnel: settings.tunnel,
        upper_threshold: settings.upper_threshold.unwrap_or_default(),
        lower_threshold: settings.lower_threshold.unwrap_or_default(),
        health: settings.health,
        state: settings.state.unwrap_or_default(),
    })
}

/// What a PATCH changes of a real.
pub(super) fn real_patch(mut fields: Fields) -> Result<RealPatch, Problem> {
    let settings = RealSettings::take(&mut fields)?;
    refuse_identity(&mut fields, "real")?;
    fields.finish()?;
    Ok(RealPatch {
        weight: settings.weight,
        forward: settings.forward,
        tunnel: settings.tunnel,
        upper_threshold: settings.upper_threshold,
        lower_threshold: settings.lower_threshold,
        health: settings.health,
        state: settings.state,
    })
}

/// What a PUT makes of a real of a service that forwards by `forward`: what is
/// not named gets its default. The state alone stays: a server under repair is
/// not to come back by a change of its weight.
pub(super) fn real_replacement(
    fields: Fields,
    forward: ForwardingMethod,
) -> Result<RealPatch, Problem> {
    let patch = real_patch(fields)?;
    let tunnel = patch.tunnel.apply(Tunnel::default());
    Ok(RealPatch {
        weight: Some(patch.weight.unwrap_or(Weight::ONE)),
        forward: Some(patch.forward.unwrap_or(forward)),
        tunnel: TunnelPatch {
            kind: Some(tunnel.kind),
            port: Some(tunnel.port),
            checksum: Some(tunnel.checksum),
        },
        upper_threshold: Some(patch.upper_threshold.unwrap_or_default()),
        lower_threshold: Some(patch.lower_threshold.unwrap_or_default()),
        health: patch.health.or_default(),
        state: patch.state,
    })
}

/// The rule of the firewall marks that a POST asks for.
pub(super) fn new_mark(mut fields: Fields) -> Result<MarkRule, Problem> {
    let missing = |field| move || Problem::invalid(format!("{field}: missing"));
    let ports = |value: &Value| match value {
        Value::String(text) => mark::port_range(text),
        Value::Number(number) => mark::port_range(&number.to_string()),
        other => mark::port_range(&other.to_string()),
    };
    let rule = MarkRule {
        mark: fields
            .number("mark", 1..=u32::MAX)?
            .ok_or_else(missing("mark"))?,
        protocol: fields
            .parsed("protocol", vocabulary::protocol)?
            .ok_or_else(missing("protocol"))?,
        destination: fields
            .parsed("destination", mark::destination)?
            .ok_or_else(missing("destination"))?,
        ports: mark::in_order(fields.values("ports", ports)?.unwrap_or_default()),
    };
    fields.read_only(&["owner"])?;
    fields.finish()?;
    Ok(rule)
}

/// A service's own settings, and the refusal of what cannot be set.
#[derive(Debug)]
struct ServiceSettings {
    name: Option<String>,
    scheduling: SchedulingPatch,
    forward: Option<ForwardingMethod>,
    masquerade: Option<Vec<IpAddr>>,
    persistence: Switch<PersistencePatch>,
    one_packet: Option<bool>,
    on_down: Option<OnDown>,
    rate_limit: Switch<RateLimit>,
    health: HealthPatch,
}

impl ServiceSettings {
    fn take(fields: &mut Fields) -> Result<Self, Problem> {
        let settings = Self {
            name: fields.parsed("name", vocabulary::service_name)?,
            scheduling: scheduling(fields)?,
            forward: fields.parsed("forward", vocabulary::forwarding_method)?,
            masquerade: fields.texts("masquerade", vocabulary::address)?,
            persistence: persistence(fields)?,
            one_packet: fields.flag("one_packet")?,
            on_down: fields.parsed("on_down", vocabulary::on_down)?,
            rate_limit: rate_limit(fields)?,
            health: health(fields)?,
        };
        if fields.is_there("listen") {
            return Err(Problem::invalid(
                "listen: the configuration's alone; here each address is a service of its own",
            ));
        }
        fields.read_only(&["owner", "has_quorum", "stats", "rates"])?;
        Ok(settings)
    }
}

/// What replies have of reals that a sorry server cannot be given.
const SETTINGS_OF_REALS: &[&str] = &[
    "weight",
    "state",
    "health",
    "tunnel",
    "upper_threshold",
    "lower_threshold",
];

/// What replies have of reals besides their settings.
const SHOWN_OF_REALS: &[&str] = &[
    "effective_weight",
    "listed_weight",
    "owner",
    "next_hop",
    "overloaded",
    "active",
    "inactive",
    "persistent",
    "stats",
    "rates",
];

/// A real's own settings, and the refusal of what cannot be set.
#[derive(Debug)]
struct RealSettings {
    weight: Option<Weight>,
    forward: Option<ForwardingMethod>,
    tunnel: TunnelPatch,
    upper_threshold: Option<u32>,
    lower_threshold: Option<u32>,
    health: RealHealthPatch,
    state: Option<RealState>,
}

impl RealSettings {
    fn take(fields: &mut Fields) -> Result<Self, Problem> {
        if fields.is_there("checks") {
            return Err(Problem::invalid("checks: are called health in requests"));
        }
        let settings = Self {
            weight: fields
                .number("weight", 0..=MAX_WEIGHT)?
                .and_then(Weight::new),
            forward: fields.parsed("forward", vocabulary::forwarding_method)?,
            tunnel: tunnel(fields)?,
            upper_threshold: fields.number("upper_threshold", 0..=u32::MAX)?,
            lower_threshold: fields.number("lower_threshold", 0..=u32::MAX)?,
            health: RealHealthPatch {
                checks: fields.checks("health")?,
                notify_up: fields.command("notify_up")?,
                notify_down: fields.command("notify_down")?,
            },
            state: fields.parsed("state", vocabulary::real_state)?,
        };
        fields.read_only(SHOWN_OF_REALS)?;
        Ok(settings)
    }
}

/// How a service watches its reals.
fn health(fields: &mut Fields) -> Result<HealthPatch, Problem> {
    Ok(HealthPatch {
        checks: match fields.checks("health")? {
            Switch::Stays => None,
            Switch::Off => Some(Vec::new()),
            Switch::On(checks) => Some(checks),
        },
        require: fields.parsed("require", one_of("choice", Require::ALL, Require::name))?,
        quorum: quorum(fields)?,
        sorry_server: sorry_server(fields)?,
    })
}

/// A service's `quorum`, as in `lbd.toml`.
fn quorum(of: &mut Fields) -> Result<QuorumPatch, Problem> {
    let Some(fields) = of.object("quorum")? else {
        return Ok(QuorumPatch::default());
    };
    whole("quorum", fields, |fields| {
        Ok(QuorumPatch {
            up: fields.number("up", 1..=u32::MAX)?,
            hysteresis: fields.number("hysteresis", 0..=u32::MAX)?,
            notify_up: fields.command("notify_up")?,
            notify_down: fields.command("notify_down")?,
        })
    })
}

/// A service's `sorry_server`; `null` is none.
fn sorry_server(of: &mut Fields) -> Result<Switch<SorryPatch>, Problem> {
    let fields = match of.switch("sorry_server")? {
        Switch::Stays => return Ok(Switch::Stays),
        Switch::Off => return Ok(Switch::Off),
        Switch::On(fields) => fields,
    };
    let patch = whole("sorry_server", fields, |fields| {
        let Some((address, port)) = fields.parsed("real", vocabulary::real)? else {
            return Err(Problem::invalid("real: missing"));
        };
        let forward = fields.parsed("forward", vocabulary::forwarding_method)?;
        fields.read_only(SETTINGS_OF_REALS)?;
        fields.read_only(SHOWN_OF_REALS)?;
        Ok(SorryPatch {
            address,
            port,
            forward,
        })
    });
    patch.map(Switch::On)
}

/// A real's `tunnel`, as in `lbd.toml`.
fn tunnel(of: &mut Fields) -> Result<TunnelPatch, Problem> {
    let Some(fields) = of.object("tunnel")? else {
        return Ok(TunnelPatch::default());
    };
    whole("tunnel", fields, |fields| {
        Ok(TunnelPatch {
            kind: fields.parsed("type", vocabulary::tunnel_kind)?,
            port: fields
                .number("port", 0..=u16::MAX.into())?
                .and_then(|port| u16::try_from(port).ok()),
            checksum: fields.flag("checksum")?,
        })
    })
}

/// A service's `scheduler` and what belongs to it.
fn scheduling(fields: &mut Fields) -> Result<SchedulingPatch, Problem> {
    Ok(SchedulingPatch {
        scheduler: fields.parsed("scheduler", vocabulary::scheduler)?,
        flags: fields.texts("scheduler_flags", |word| Ok(word.to_owned()))?,
        table_size: fields.number("mh_table_size", 0..=u32::MAX)?,
        slow_start: match fields.number_switch("slow_start_s", 1..=MAX_SLOW_START_S)? {
            Switch::Stays => Switch::Stays,
            Switch::Off => Switch::Off,
            Switch::On(seconds) => Switch::On(Duration::from_secs(seconds.into())),
        },
    })
}

/// A service's `persistence`; `null` is none.
fn persistence(of: &mut Fields) -> Result<Switch<PersistencePatch>, Problem> {
    let fields = match of.switch("persistence")? {
        Switch::Stays => return Ok(Switch::Stays),
        Switch::Off => return Ok(Switch::Off),
        Switch::On(fields) => fields,
    };
    let patch = whole("persistence", fields, |fields| {
        Ok(PersistencePatch {
            timeout_s: fields.number("timeout_s", 1..=MAX_TIMEOUT_S)?,
            netmask: fields.prefix_length("netmask", 32)?,
            netmask_v6: fields.prefix_length("netmask_v6", 128)?,
        })
    });
    patch.map(Switch::On)
}

/// A service's `rate_limit`; `null` is none.
fn rate_limit(of: &mut Fields) -> Result<Switch<RateLimit>, Problem> {
    let fields = match of.switch("rate_limit")? {
        Switch::Stays => return Ok(Switch::Stays),
        Switch::Off => return Ok(Switch::Off),
        Switch::On(fields) => fields,
    };
    let limit = whole("rate_limit", fields, |fields| {
        let Some(connections) = fields.number("connections", 1..=MAX_RATE)? else {
            return Err(Problem::invalid("connections: missing"));
        };
        let burst = fields.number("burst", 1..=MAX_RATE)?;
        Ok(RateLimit {
            connections,
            burst: burst.unwrap_or(default_burst(connections)),
        })
    });
    limit.map(Switch::On)
}

/// Reads an object that stands in `field`; every error names both.
fn whole<T>(
    field: &str,
    mut fields: Fields,
    read: impl FnOnce(&mut Fields) -> Result<T, Problem>,
) -> Result<T, Problem> {
    read(&mut fields)
        .and_then(|value| fields.finish().map(|()| value))
        .map_err(|problem| Problem::invalid(format!("{field}.{}", problem.detail)))
}

/// The path says which object; a body that says it again could contradict.
fn refuse_identity(fields: &mut Fields, field: &'static str) -> Result<(), Problem> {
    match fields.parsed(field, |_| Ok(()))? {
        Some(()) => Err(Problem::invalid(format!(
            "{field}: cannot be changed; the path names the object"
        ))),
        None => Ok(()),
    }
}

fn refuse_reals(fields: &mut Fields) -> Result<(), Problem> {
    if fields.objects("reals")?.is_empty() {
        Ok(())
    } else {
        Err(Problem::invalid(
            "reals: are changed one by one under /v1/services/{service}/reals",
        ))
    }
}

#[cfg(test)]
mod tests;
