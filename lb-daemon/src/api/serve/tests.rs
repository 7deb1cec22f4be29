//! The API over a real socket, with a state task that keeps its services in a
//! list and answers like the daemon's.

use http_body_util::{BodyExt, Full};
use hyper::{Request as HttpRequest, body::Bytes, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::UnixStream, sync::mpsc, task::JoinHandle};

use super::*;
use crate::{
    api::{bind, wire},
    config::model::{RealId, Service, Tunnel},
    state::handle::{ChangeError, ReloadReport, Request, ServiceRef},
};

/// A server with its state task and the directory that its socket is in.
struct Api {
    dir: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<io::Result<()>>,
}

impl Api {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (handle, requests) = Handle::channel();
        tokio::spawn(state_task(requests));
        let (stop, stopped) = oneshot::channel();
        let socket = bind(dir.path().join("lbd.sock"), None).unwrap();
        let server = tokio::spawn(serve(socket, handle, async move {
            let _ = stopped.await;
        }));
        Self {
            dir,
            stop: Some(stop),
            server,
        }
    }

    /// Status, body and headers of one request's answer.
    async fn send(
        &self,
        method: &str,
        path: &str,
        body: impl Into<Bytes>,
    ) -> (u16, Value, hyper::HeaderMap) {
        let stream = UnixStream::connect(self.dir.path().join("lbd.sock"))
            .await
            .unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = HttpRequest::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "lbd")
            .body(Full::new(body.into()))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let value = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body).unwrap()
        };
        (parts.status.as_u16(), value, parts.headers)
    }

    /// Sends JSON, expects `status` and gives the body.
    async fn ask(&self, method: &str, path: &str, body: Value, status: u16) -> Value {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let (found, value, headers) = self.send(method, path, body).await;
        assert_eq!(found, status, "{method} {path}: {value}");
        if status >= 400 {
            assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json");
            assert_eq!(value["status"], status);
            assert_eq!(value["type"], "about:blank");
            assert!(value["title"].is_string());
        }
        value
    }

    /// As [`Self::ask`], gives the problem's `detail`.
    async fn problem(&self, method: &str, path: &str, body: Value, status: u16) -> String {
        self.ask(method, path, body, status).await["detail"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

fn shown(service: &Service) -> wire::Service {
    wire::Service {
        service: service.id.to_string(),
        name: service.name.clone(),
        owner: wire::Owner::Runtime,
        scheduler: service.scheduler.name().into(),
        scheduler_flags: Vec::new(),
        forward: service.forward.name().into(),
        masquerade: service.masquerade.clone(),
        reals: service.reals.iter().map(shown_real).collect(),
        stats: wire::Stats {
            connections: 5,
            ..Default::default()
        },
    }
}

fn shown_real(real: &crate::config::model::Real) -> wire::Real {
    wire::Real {
        real: real.id.to_string(),
        forward: real.forward.name().into(),
        tunnel: wire::Tunnel::of(real),
        weight: real.weight.get(),
        effective_weight: real.weight.get(),
        state: "ready".into(),
        health: "up".into(),
        owner: wire::Owner::Runtime,
        next_hop: "resolved".into(),
        upper_threshold: 0,
        lower_threshold: 0,
        overloaded: false,
        active: 0,
        inactive: 0,
        persistent: 0,
        stats: wire::Stats::default(),
    }
}

fn find<'a>(services: &'a mut [Service], at: &ServiceRef) -> Result<&'a mut Service, ChangeError> {
    let is_it = |service: &&mut Service| match at {
        ServiceRef::Id(id) => service.id == *id,
        ServiceRef::Name(name) => service.name.as_ref() == Some(name),
    };
    services
        .iter_mut()
        .find(is_it)
        .ok_or_else(|| ChangeError::Unknown(format!("no service like {at:?}")))
}

/// The asker may be gone, which is its own affair.
fn answer<T>(reply: oneshot::Sender<Result<T, ChangeError>>, result: Result<T, ChangeError>) {
    let _ = reply.send(result);
}

async fn state_task(mut requests: mpsc::Receiver<Request>) {
    let mut services: Vec<Service> = Vec::new();
    while let Some(request) = requests.recv().await {
        match request {
            Request::Services(reply) => answer(reply, Ok(services.iter().map(shown).collect())),
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
            Request::AddService(service, reply) => {
                let is_there = services.iter().any(|other| other.id == service.id);
                let id = service.id;
                let result = if is_there {
                    Err(ChangeError::Exists(format!("service {id} exists")))
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
                        service.scheduler = patch.scheduler.unwrap_or(service.scheduler);
                        service.forward = patch.forward.unwrap_or(service.forward);
                        service.masquerade = patch
                            .masquerade
                            .unwrap_or_else(|| service.masquerade.clone());
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
            Request::AddReal(at, new, reply) => {
                answer(
                    reply,
                    find(&mut services, &at).map(|service| {
                        let id = RealId {
                            address: new.address,
                            port: new.port.unwrap_or(service.id.port),
                        };
                        service.reals.push(crate::config::model::Real {
                            id,
                            weight: new.weight,
                            forward: new.forward.unwrap_or(service.forward),
                            tunnel: new.tunnel.apply(Tunnel::default()),
                        });
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
        port: port.unwrap_or(service.id.port),
    };
    let index = service.reals.iter().position(|real| real.id == id);
    let index = index.ok_or_else(|| ChangeError::Unknown(format!("no real {id}")))?;
    change(service, index);
    Ok(())
}

const WEB: &str = "/v1/services/tcp%3A192.0.2.10%3A80";

fn web() -> Value {
    json!({"service": "tcp:192.0.2.10:80", "name": "web", "scheduler": "wrr"})
}

#[tokio::test]
async fn a_service_lives_and_dies() {
    let api = Api::start();
    let made = api.ask("POST", "/v1/services", web(), 201).await;
    assert_eq!(made["service"], "tcp:192.0.2.10:80");
    assert_eq!(made["forward"], "dr");
    assert_eq!(
        api.problem("POST", "/v1/services", web(), 409).await,
        "service tcp:192.0.2.10:80 exists"
    );

    assert_eq!(
        api.ask("GET", "/v1/services", Value::Null, 200).await,
        json!([made])
    );
    assert_eq!(api.ask("GET", WEB, Value::Null, 200).await, made);
    assert_eq!(
        api.ask("GET", "/v1/services/web", Value::Null, 200).await,
        made
    );
    assert_eq!(
        api.ask("GET", "/v1/services/tcp:192.0.2.10:80", Value::Null, 200)
            .await,
        made
    );

    let edited = api
        .ask(
            "PATCH",
            "/v1/services/web",
            json!({"name": "shop", "forward": "nat"}),
            200,
        )
        .await;
    assert_eq!(
        (&edited["name"], &edited["forward"], &edited["scheduler"]),
        (&json!("shop"), &json!("nat"), &json!("wrr"))
    );
    let replaced = api.ask("PUT", WEB, json!({"scheduler": "rr"}), 200).await;
    assert_eq!(
        (&replaced["forward"], &replaced["scheduler"]),
        (&json!("dr"), &json!("rr"))
    );

    api.ask("DELETE", &format!("{WEB}?now=true"), Value::Null, 204)
        .await;
    assert_eq!(
        api.ask("GET", "/v1/services", Value::Null, 200).await,
        json!([])
    );
}

#[tokio::test]
async fn reals_live_below_their_service() {
    let api = Api::start();
    api.ask("POST", "/v1/services", web(), 201).await;
    let reals = format!("{WEB}/reals");
    let made = api
        .ask(
            "POST",
            &reals,
            json!({"real": "10.0.0.2", "weight": 3}),
            201,
        )
        .await;
    assert_eq!(
        (&made["real"], &made["weight"]),
        (&json!("10.0.0.2:80"), &json!(3))
    );
    assert_eq!(
        api.ask("GET", &reals, Value::Null, 200).await,
        json!([made])
    );

    for real in ["10.0.0.2", "10.0.0.2%3A80", "10.0.0.2:80"] {
        assert_eq!(
            api.ask("GET", &format!("{reals}/{real}"), Value::Null, 200)
                .await,
            made
        );
    }
    let edited = api
        .ask(
            "PATCH",
            &format!("{reals}/10.0.0.2"),
            json!({"weight": 0}),
            200,
        )
        .await;
    assert_eq!(edited["weight"], 0);
    let replaced = api
        .ask("PUT", &format!("{reals}/10.0.0.2"), json!({}), 200)
        .await;
    assert_eq!(replaced["weight"], 1);

    let detail = api
        .problem("GET", &format!("{reals}/10.0.0.9"), Value::Null, 404)
        .await;
    assert_eq!(detail, "service tcp:192.0.2.10:80 has no real 10.0.0.9:80");
    api.ask("DELETE", &format!("{reals}/10.0.0.2:80"), Value::Null, 204)
        .await;
    api.problem("DELETE", &format!("{reals}/10.0.0.2:80"), Value::Null, 404)
        .await;
}

#[tokio::test]
async fn tunnels_and_pools_have_the_files_shape() {
    let api = Api::start();
    let body = json!({"service": "tcp:[2001:db8::a]:80", "scheduler": "rr", "forward": "nat",
                      "masquerade": ["fd00::1"]});
    let made = api.ask("POST", "/v1/services", body, 201).await;
    assert_eq!(made["masquerade"], json!(["fd00::1"]));
    let path = "/v1/services/tcp:%5B2001:db8::a%5D:80";
    let reals = format!("{path}/reals");
    let body =
        json!({"real": "10.0.0.2", "forward": "tun", "tunnel": {"type": "gue", "checksum": true}});
    let real = api.ask("POST", &reals, body, 201).await;
    let tunnel = json!({"type": "gue", "port": 6080, "checksum": true});
    assert_eq!(
        (&real["real"], &real["tunnel"]),
        (&json!("10.0.0.2:80"), &tunnel)
    );
    let real = api
        .ask(
            "PATCH",
            &format!("{reals}/10.0.0.2"),
            json!({"tunnel": {"port": 7000}}),
            200,
        )
        .await;
    assert_eq!(real["tunnel"]["port"], 7000);
    let nat = api
        .ask("POST", &reals, json!({"real": "[fd00::2]:8080"}), 201)
        .await;
    assert!(nat.get("tunnel").is_none(), "{nat}");
    let edited = api.ask("PATCH", path, json!({"masquerade": []}), 200).await;
    assert!(edited.get("masquerade").is_none(), "{edited}");
}

#[tokio::test]
async fn counters_and_reload_are_served_and_failures_told() {
    let api = Api::start();
    api.ask("POST", "/v1/services", web(), 201).await;
    let stats = api.ask("GET", "/v1/stats", Value::Null, 200).await;
    assert_eq!(stats[0]["service"], "tcp:192.0.2.10:80");
    assert_eq!(stats[0]["stats"]["connections"], 5);
    let report = api.ask("POST", "/v1/reload", Value::Null, 200).await;
    assert_eq!(report["changes"][0], "service web: scheduler rr, was wrr");
    assert_eq!(
        api.problem("GET", "/v1/status", Value::Null, 500).await,
        "map is gone"
    );
}

#[tokio::test]
async fn every_refusal_is_a_problem_document() {
    let api = Api::start();
    api.ask("POST", "/v1/services", web(), 201).await;
    for (method, path, body, status, part) in [
        ("GET", "/", Value::Null, 404, "there is nothing at /"),
        (
            "GET",
            "/v1/service",
            Value::Null,
            404,
            "there is nothing at /v1/service",
        ),
        (
            "DELETE",
            "/v1/services",
            Value::Null,
            405,
            "DELETE is not possible at /v1/services",
        ),
        (
            "GET",
            "/v1/reload",
            Value::Null,
            405,
            "GET is not possible at /v1/reload",
        ),
        (
            "GET",
            "/v1/services/wbe",
            Value::Null,
            404,
            "no service wbe; did you mean web?",
        ),
        (
            "GET",
            "/v1/services/tcp:1.2.3.4",
            Value::Null,
            422,
            "is not a service",
        ),
        (
            "GET",
            "/v1/services/fwmark:80",
            Value::Null,
            422,
            "fwmark services are not supported yet",
        ),
        ("GET", "/v1/services/%ff", Value::Null, 400, "UTF-8"),
        (
            "GET",
            "/v1/services/web/reals/x",
            Value::Null,
            422,
            "is not a real",
        ),
        (
            "DELETE",
            "/v1/services/web?now=yes",
            Value::Null,
            422,
            "now: \"yes\" is not true or false",
        ),
        (
            "DELETE",
            "/v1/services/web?force=true",
            Value::Null,
            422,
            "force: unknown query parameter",
        ),
        (
            "POST",
            "/v1/services",
            json!([]),
            422,
            "expected a JSON object",
        ),
        (
            "PATCH",
            "/v1/services/web",
            json!({"schedluer": "rr"}),
            422,
            "schedluer: unknown field; did you mean scheduler?",
        ),
        (
            "PATCH",
            "/v1/services/web/reals/10.0.0.2",
            json!({"weight": 70000}),
            422,
            "weight: 70000 is out of range",
        ),
    ] {
        let detail = api.problem(method, path, body, status).await;
        assert!(detail.contains(part), "{method} {path}: {detail}");
    }
    let (status, problem, _) = api.send("POST", "/v1/services", "{\"service\"").await;
    assert_eq!(status, 400);
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .starts_with("the body is not JSON: "),
        "{problem}"
    );
    let (status, problem, _) = api
        .send("POST", "/v1/services", vec![b' '; (1 << 20) + 1])
        .await;
    assert_eq!(
        (status, &problem["detail"]),
        (413, &json!("the body is larger than 1048576 bytes"))
    );
    let (_, _, headers) = api.send("DELETE", "/v1/status", "").await;
    assert!(
        headers[header::ALLOW].to_str().unwrap().contains("GET"),
        "{headers:?}"
    );
}

#[tokio::test]
async fn stopping_removes_the_socket_though_a_client_is_silent() {
    let mut api = Api::start();
    let path = api.dir.path().join("lbd.sock");
    let silent = UnixStream::connect(&path).await.unwrap();
    api.ask("GET", "/v1/services", Value::Null, 200).await;
    api.stop.take().unwrap().send(()).unwrap();
    tokio::time::timeout(GRACE * 3, &mut api.server)
        .await
        .expect("stops in time")
        .unwrap()
        .unwrap();
    assert!(!path.exists());
    drop(silent);
}
