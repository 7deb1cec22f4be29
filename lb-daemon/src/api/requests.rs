//! Request bodies and what they mean. Fields have the names of `lbd.toml`,
//! except that `service` and `real` name objects as the command line does.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{fields::Fields, problem::Problem};
use crate::{
    config::{
        model::{ForwardingMethod, Real, RealId, Scheduler, Service, Tunnel, Weight},
        vocabulary,
    },
    state::handle::{NewReal, RealPatch, ServicePatch, TunnelPatch},
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
        let real = new_real(fields)?;
        reals.push(Real {
            id: RealId {
                address: real.address,
                port: real.port.unwrap_or(id.port),
            },
            weight: real.weight,
            forward: real.forward.unwrap_or(forward),
            tunnel: real.tunnel.apply(Tunnel::default()),
        });
    }
    let scheduler = settings.scheduler_or_default()?;
    let service = Service {
        id,
        name: settings.name,
        scheduler,
        forward,
        masquerade: settings.masquerade.unwrap_or_default(),
        reals,
    };
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
        scheduler: settings.scheduler,
        forward: settings.forward,
        masquerade: settings.masquerade,
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
        scheduler: Some(settings.scheduler_or_default()?),
        forward: Some(settings.forward.unwrap_or(ForwardingMethod::Dr)),
        masquerade: Some(settings.masquerade.unwrap_or_default()),
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
    })
}

/// What a PUT makes of a real of a service that forwards by `forward`: what is
/// not named gets its default.
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
    })
}

/// A service's own settings, and the refusal of those that come later.
#[derive(Debug)]
struct ServiceSettings {
    name: Option<String>,
    scheduler: Option<Scheduler>,
    forward: Option<ForwardingMethod>,
    masquerade: Option<Vec<IpAddr>>,
}

impl ServiceSettings {
    fn take(fields: &mut Fields) -> Result<Self, Problem> {
        let settings = Self {
            name: fields.parsed("name", vocabulary::service_name)?,
            scheduler: fields.parsed("scheduler", vocabulary::scheduler)?,
            forward: fields.parsed("forward", vocabulary::forwarding_method)?,
            masquerade: fields.texts("masquerade", vocabulary::address)?,
        };
        for (field, default) in [
            ("scheduler_flags", json!([])),
            ("mh_table_size", json!(4093)),
            ("one_packet", json!(false)),
            ("on_down", json!("keep")),
            ("require", json!("all")),
            (
                "quorum",
                json!({"up": 1, "hysteresis": 0, "notify_up": [], "notify_down": []}),
            ),
            ("persistence", Value::Null),
            ("slow_start_s", Value::Null),
            ("sorry_server", Value::Null),
            ("listen", Value::Null),
            ("fwmark", Value::Null),
            ("family", Value::Null),
            ("health", Value::Null),
        ] {
            fields.later(field, &default)?;
        }
        fields.read_only(&["owner", "stats"])?;
        Ok(settings)
    }

    fn scheduler_or_default(&self) -> Result<Scheduler, Problem> {
        self.scheduler.map_or_else(
            || {
                vocabulary::default_scheduler()
                    .map_err(|problem| Problem::invalid(format!("scheduler: {problem}")))
            },
            Ok,
        )
    }
}

/// A real's own settings, and the refusal of those that come later.
#[derive(Debug)]
struct RealSettings {
    weight: Option<Weight>,
    forward: Option<ForwardingMethod>,
    tunnel: TunnelPatch,
}

impl RealSettings {
    fn take(fields: &mut Fields) -> Result<Self, Problem> {
        let settings = Self {
            weight: fields.number("weight", MAX_WEIGHT)?.and_then(Weight::new),
            forward: fields.parsed("forward", vocabulary::forwarding_method)?,
            tunnel: tunnel(fields)?,
        };
        for (field, default) in [
            ("upper_threshold", json!(0)),
            ("lower_threshold", json!(0)),
            ("notify_up", json!([])),
            ("notify_down", json!([])),
            ("state", json!("ready")),
        ] {
            fields.later(field, &default)?;
        }
        fields.read_only(&[
            "effective_weight",
            "health",
            "owner",
            "next_hop",
            "overloaded",
            "active",
            "inactive",
            "persistent",
            "stats",
        ])?;
        Ok(settings)
    }
}

/// A real's `tunnel`, as in `lbd.toml`.
fn tunnel(of: &mut Fields) -> Result<TunnelPatch, Problem> {
    let Some(mut fields) = of.object("tunnel")? else {
        return Ok(TunnelPatch::default());
    };
    let mut read = || {
        let patch = TunnelPatch {
            kind: fields.parsed("type", vocabulary::tunnel_kind)?,
            port: fields
                .number("port", u16::MAX.into())?
                .and_then(|port| u16::try_from(port).ok()),
            checksum: fields.flag("checksum")?,
        };
        std::mem::take(&mut fields).finish()?;
        Ok(patch)
    };
    read().map_err(|problem: Problem| Problem::invalid(format!("tunnel.{}", problem.detail)))
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
mod tests {
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
                json!({"service": "tcp:192.0.2.10:80"}),
                "scheduler: none given, and the default, wlc, is not supported yet by this version; choose rr or wrr",
            ),
            (
                json!({"service": "fwmark:1", "scheduler": "rr"}),
                "service: fwmark:1: fwmark services are not supported yet by this version",
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
                json!({"service": "tcp:192.0.2.10:80", "scheduler": "rr", "persistence": {"timeout_s": 300}}),
                "persistence: not supported yet by this version",
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
        assert!(service_replacement(fields(json!({}))).is_err());
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
                }
            }
        );
    }

    #[test]
    fn identity_and_reals_are_not_patched() {
        let detail = |body| service_patch(fields(body)).unwrap_err().detail;
        assert!(
            detail(json!({"service": "tcp:192.0.2.10:80"}))
                .starts_with("service: cannot be changed")
        );
        assert!(
            detail(json!({"reals": [{"real": "10.0.0.2"}]}))
                .starts_with("reals: are changed one by one")
        );
    }
}
