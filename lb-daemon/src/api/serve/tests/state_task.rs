//! A state task without a data plane: it keeps services in a list, and answers
//! as the daemon's does.

use tokio::sync::{broadcast, mpsc, oneshot};

use crate::{
    api::{checks, wire},
    config::{
        model::{Real, RealId, Service, Timeouts},
        scheduling,
    },
    reconcile::standing::Standing,
    state::{
        desired::Desired,
        handle::{ChangeError, Message, ObjectKind, ReloadReport, Request, ServiceRef, Show},
    },
};

fn shown(service: &Service) -> wire::Service {
    wire::Service {
        service: service.id.to_string(),
        name: service.name.clone(),
        owner: wire::Owner::Runtime,
        scheduler: service.scheduler.name().into(),
        scheduler_flags: scheduling::flag_names(service.scheduler, service.scheduler_flags),
        mh_table_size: service.scheduling().shown_table_size(),
        slow_start_s: service.slow_start.map(|time| time.as_secs()),
        forward: service.forward.name().into(),
        masquerade: service.masquerade.clone(),
        persistence: service
            .persistence
            .map(|persistence| wire::Persistence::of(persistence, service.id.family())),
        one_packet: service.one_packet,
        on_down: service.on_down.name().into(),
        rate_limit: service.rate_limit.map(Into::into),
        reals: service.reals.iter().map(shown_real).collect(),
        sorry_server: None,
        health: checks::show(&service.health.checks),
        require: service.health.require.name().into(),
        quorum: (&service.health.quorum).into(),
        has_quorum: true,
        stats: wire::Stats {
            connections: 5,
            ..Default::default()
        },
        rates: wire::Stats::default(),
        etag: "\"1\"".into(),
    }
}

fn shown_real(real: &Real) -> wire::Real {
    wire::Real {
        real: real.id.to_string(),
        forward: real.forward.name().into(),
        tunnel: wire::Tunnel::of(real),
        weight: real.weight.get(),
        effective_weight: Standing::Up.weight(real),
        state: real.state.name().into(),
        health: "up".into(),
        listed_weight: Some(real.weight.get()),
        checks: None,
        notify_up: Vec::new(),
        notify_down: Vec::new(),
        owner: wire::Owner::Runtime,
        next_hop: "resolved".into(),
        upper_threshold: real.upper_threshold,
        lower_threshold: real.lower_threshold,
        overloaded: false,
        active: 0,
        inactive: 0,
        persistent: 0,
        stats: wire::Stats::default(),
        rates: wire::Stats::default(),
        etag: "\"1\"".into(),
    }
}

fn a_check() -> wire::Check {
    wire::Check {
        service: "tcp:192.0.2.10:80".into(),
        real: "10.0.0.2:80".into(),
        of_type: "http".into(),
        health: "down".into(),
        since: "2026-01-02T03:04:05.000Z".into(),
        last: Some(wire::Answer {
            ok: false,
            reason: "status 503".into(),
            duration_ms: 3,
        }),
    }
}

fn a_transition() -> wire::Transition {
    wire::Transition {
        service: "tcp:192.0.2.10:80".into(),
        real: "10.0.0.2:80".into(),
        time: "2026-01-02T03:04:05.000Z".into(),
        health: "down".into(),
        check: "http".into(),
        reason: "status 503".into(),
    }
}

fn find<'a>(services: &'a mut [Service], at: &ServiceRef) -> Result<&'a mut Service, ChangeError> {
    let is_it = |service: &&mut Service| match at {
        ServiceRef::Id(id) => service.id == *id,
        ServiceRef::Name(name) => service.name.as_ref() == Some(name),
    };
    services.iter_mut().find(is_it).ok_or_else(|| {
        let asked = match at {
            ServiceRef::Id(id) => id.to_string(),
            ServiceRef::Name(name) => name.clone(),
        };
        ChangeError::Unknown(ObjectKind::Service, format!("no service {asked}"))
    })
}

/// The asker may be gone, which is its own affair.
fn answer<T>(reply: oneshot::Sender<Result<T, ChangeError>>, result: Result<T, ChangeError>) {
    let _ = reply.send(result);
}

pub(super) async fn state_task(mut requests: mpsc::Receiver<Message>) {
    let mut services: Vec<Service> = Vec::new();
    let events = broadcast::Sender::new(2);
    let mut desired = Desired::default();
    let mut timeouts = Timeouts::default();
    while let Some(message) = requests.recv().await {
        match message.request {
            Request::Services(show, reply) => {
                let shown = services.iter().map(shown);
                let json = match show {
                    Show::Everything => serde_json::to_vec(&shown.collect::<Vec<_>>()),
                    Show::Stats => {
                        let stats = shown.map(wire::ServiceStats::from);
                        serde_json::to_vec(&stats.collect::<Vec<_>>())
                    }
                };
                answer(reply, Ok(json.unwrap()));
            }
            Request::Service(at, reply) => {
                answer(
                    reply,
                    find(&mut services, &at).map(|service| vec![shown(service)]),
                );
            }
            Request::Health(_, reply) => answer(reply, Ok(vec![a_check()])),
            Request::HealthHistory(_, reply) => answer(reply, Ok(vec![a_transition()])),
            Request::Status(reply) => {
                answer(reply, Err(ChangeError::Failed("map is gone".into())));
            }
            Request::Reload(reply) => answer(
                reply,
                Ok(ReloadReport {
                    changes: vec!["service web: scheduler rr, was wrr".into()],
                    warnings: Vec::new(),
                }),
            ),
            Request::Connections(of, reply) => {
                let mut roster = crate::connections::tests::roster();
                let found = of.service.map(|at| find(&mut services, &at).map(|_| ()));
                roster.chosen = of.real.map(|_| [1].into_iter().collect());
                answer(reply, found.transpose().map(|_| roster));
            }
            Request::Flush(of, reply) => {
                let (done, ended) = oneshot::channel();
                let outcome = match of.real {
                    Some(_) => Err(std::io::Error::other("map is gone")),
                    None => Ok(()),
                };
                let _ = done.send(outcome);
                let found = of.service.map(|at| find(&mut services, &at).map(|_| ()));
                answer(reply, found.transpose().map(|_| ended));
            }
            Request::Timeouts(reply) => answer(reply, Ok(timeouts)),
            Request::SetTimeouts(edits, reply) => {
                timeouts = edits.over(&timeouts);
                answer(reply, Ok(timeouts));
            }
            Request::Marks(reply) => {
                answer(reply, Ok(desired.marks.iter().map(Into::into).collect()));
            }
            Request::AddMark(rule, reply) => answer(reply, desired.add_mark(rule)),
            Request::DeleteMark(rule, reply) => answer(reply, desired.delete_mark(&rule)),
            Request::AddService(service, reply) => {
                let is_there = services.iter().any(|other| other.id == service.id);
                let id = service.id;
                let result = if is_there {
                    Err(ChangeError::Exists(
                        ObjectKind::Service,
                        format!("service {id} exists"),
                    ))
                } else {
                    Ok(())
                };
                if result.is_ok() {
                    services.push(*service);
                }
                answer(reply, result);
            }
            Request::EditService(at, patch, reply) => {
                answer(
                    reply,
                    find(&mut services, &at).map(|service| {
                        service.name = patch.name.or(service.name.take());
                        let scheduling = patch.scheduling.apply(service.scheduling());
                        service.set_scheduling(scheduling.expect("tested elsewhere"));
                        service.forward = patch.forward.unwrap_or(service.forward);
                        service.masquerade = patch
                            .masquerade
                            .unwrap_or_else(|| service.masquerade.clone());
                        service.persistence = patch.persistence.apply(service.persistence);
                        service.one_packet = patch.one_packet.unwrap_or(service.one_packet);
                    }),
                );
            }
            Request::DeleteService(at, now, reply) => {
                let found = find(&mut services, &at).map(|service| service.id);
                if let (Ok(id), true) = (&found, now) {
                    services.retain(|service| service.id != *id);
                }
                answer(reply, found.map(|_| ()));
            }
            Request::DeleteServices(_, reply) => {
                let event = |n: u32| wire::Event {
                    time: "2026-01-02T03:04:05.678Z".into(),
                    kind: wire::EventKind::Service,
                    by: Some(message.by.to_string()),
                    text: format!("service {n}: removed"),
                };
                for n in 0..3 {
                    let _ = events.send(event(n));
                }
                services.clear();
                answer(reply, Ok(()));
            }
            Request::Subscribe(reply) => answer(reply, Ok(events.subscribe())),
            Request::Metrics(reply) => answer(reply, Ok("lbd_connections_total 5\n".into())),
            Request::SaveConfig(reply) => answer(reply, Ok("[director]\n".into())),
            Request::Diff(reply) => answer(reply, Ok(vec!["options changed".into()])),
            Request::Replace(wanted, confirm_within, reply) => answer(
                reply,
                Ok(ReloadReport {
                    changes: vec![format!(
                        "{} services, {confirm_within:?}",
                        wanted.services.len()
                    )],
                    warnings: Vec::new(),
                }),
            ),
            Request::Confirm(reply) => answer(reply, Ok(())),
            Request::Undo(reply) => answer(reply, Ok(Vec::new())),
            Request::Zero(at, reply) => {
                let found = at.map(|at| find(&mut services, &at).map(|_| ()));
                answer(reply, found.unwrap_or(Ok(())));
            }
            Request::AddReal(at, new, reply) => {
                answer(
                    reply,
                    find(&mut services, &at).map(|service| {
                        let real = new.real(service.id, service.forward);
                        let id = real.id;
                        service.reals.push(real);
                        id
                    }),
                );
            }
            Request::EditReal(at, address, port, patch, reply) => {
                answer(
                    reply,
                    with_real(&mut services, &at, address, port, |service, index| {
                        let real = &mut service.reals[index];
                        real.weight = patch.weight.unwrap_or(real.weight);
                        real.forward = patch.forward.unwrap_or(real.forward);
                        real.tunnel = patch.tunnel.apply(real.tunnel);
                        let upper = patch.upper_threshold;
                        real.upper_threshold = upper.unwrap_or(real.upper_threshold);
                        real.state = patch.state.unwrap_or(real.state);
                    }),
                );
            }
            Request::DeleteReal(at, address, port, _, reply) => {
                answer(
                    reply,
                    with_real(&mut services, &at, address, port, |service, index| {
                        service.reals.remove(index);
                    }),
                );
            }
        }
    }
}

fn with_real(
    services: &mut [Service],
    at: &ServiceRef,
    address: std::net::IpAddr,
    port: Option<u16>,
    change: impl FnOnce(&mut Service, usize),
) -> Result<(), ChangeError> {
    let service = find(services, at)?;
    let id = RealId {
        address,
        port: port.unwrap_or(service.id.default_real_port()),
    };
    let index = service.reals.iter().position(|real| real.id == id);
    let index =
        index.ok_or_else(|| ChangeError::Unknown(ObjectKind::Real, format!("no real {id}")))?;
    change(service, index);
    Ok(())
}
