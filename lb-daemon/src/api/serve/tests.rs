//! The API over a real socket, with a state task that keeps its services in a
//! list and answers like the daemon's.

use http_body_util::{BodyExt, Full};
use hyper::{Request as HttpRequest, body::Bytes, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::UnixStream, task::JoinHandle};

use self::state_task::state_task;
use super::*;
use crate::api::bind;

mod document;
mod state_task;
mod whole;

/// A server with its state task and the directory that its socket is in.
struct Api {
    dir: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
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
        let response = self.respond(method, path, body.into()).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let value = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body).unwrap()
        };
        let status = parts.status.as_u16();
        let kind = parts.headers.get(header::CONTENT_TYPE);
        document::check_reply(
            method,
            path,
            status,
            kind.map(|kind| kind.to_str().unwrap()),
            &value,
        );
        (status, value, parts.headers)
    }

    /// The answer to a request, over a connection of its own.
    async fn respond(
        &self,
        method: &str,
        path: &str,
        body: Bytes,
    ) -> hyper::Response<hyper::body::Incoming> {
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
            .body(Full::new(body))
            .unwrap();
        sender.send_request(request).await.unwrap()
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
    assert_eq!(
        detail,
        "service tcp:192.0.2.10:80: no real 10.0.0.9:80; did you mean 10.0.0.2:80?"
    );
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
async fn persistence_thresholds_and_states_have_the_contracts_shape() {
    let api = Api::start();
    let body = json!({"service": "tcp:192.0.2.10:0", "scheduler": "rr",
                      "persistence": {"timeout_s": 300, "netmask": 24}});
    let made = api.ask("POST", "/v1/services", body, 201).await;
    let persistence = json!({"timeout_s": 300, "netmask": 24});
    assert_eq!(made["persistence"], persistence);
    assert_eq!(
        (&made["one_packet"], &made["on_down"]),
        (&json!(false), &json!("keep"))
    );
    let path = "/v1/services/tcp:192.0.2.10:0";
    let patch = json!({"persistence": {"timeout_s": 60}});
    let edited = api.ask("PATCH", path, patch, 200).await;
    let persistence = json!({"timeout_s": 60, "netmask": 24});
    assert_eq!(edited["persistence"], persistence);

    let reals = format!("{path}/reals");
    let body = json!({"real": "10.0.0.2", "upper_threshold": 100, "lower_threshold": 50});
    let real = api.ask("POST", &reals, body, 201).await;
    assert_eq!(
        (&real["real"], &real["state"]),
        (&json!("10.0.0.2:0"), &json!("ready"))
    );
    assert_eq!(
        (&real["upper_threshold"], &real["lower_threshold"]),
        (&json!(100), &json!(50))
    );
    let at = format!("{reals}/10.0.0.2");
    let real = api.ask("PATCH", &at, json!({"state": "drain"}), 200).await;
    assert_eq!(
        (&real["state"], &real["weight"], &real["effective_weight"]),
        (&json!("drain"), &json!(1), &json!(0))
    );
    let real = api.ask("PUT", &at, json!({"weight": 3}), 200).await;
    assert_eq!(
        (&real["state"], &real["upper_threshold"]),
        (&json!("drain"), &json!(0))
    );

    let body = json!({"service": "fwmark6:80", "scheduler": "rr", "persistence": {}});
    let made = api.ask("POST", "/v1/services", body, 201).await;
    assert_eq!(
        made["persistence"],
        json!({"timeout_s": 360, "netmask_v6": 128})
    );
    let shown = api
        .ask("GET", "/v1/services/fwmark6%3A80", Value::Null, 200)
        .await;
    assert_eq!(shown, made);
}

#[tokio::test]
async fn marks_are_added_listed_and_deleted() {
    let api = Api::start();
    let rule = json!({"mark": 80, "protocol": "tcp", "destination": "192.0.2.10", "ports": [80, "443-450"]});
    let made = api.ask("POST", "/v1/marks", rule.clone(), 201).await;
    assert_eq!(
        made,
        json!({"mark": 80, "protocol": "tcp", "destination": "192.0.2.10/32", "ports": [80, "443-450"],
               "owner": "runtime"})
    );
    assert_eq!(
        api.ask("GET", "/v1/marks", Value::Null, 200).await,
        json!([made])
    );
    let detail = api.problem("POST", "/v1/marks", rule.clone(), 409).await;
    assert!(detail.ends_with("exists already"), "{detail}");
    let mut other = rule;
    other["mark"] = json!(81);
    let detail = api.problem("POST", "/v1/marks", other, 422).await;
    assert!(detail.contains("contradicts firewall mark 80"), "{detail}");
    for (query, status, part) in [
        ("", 422, "mark: missing"),
        ("?mark=80&protocol=tcp", 422, "destination: missing"),
        ("?mark=x", 422, "mark: \"x\" is not a mark"),
        ("?marks=80", 422, "marks: unknown query parameter"),
        (
            "?mark=80&protocol=tcp&destination=192.0.2.10",
            404,
            "no firewall mark 80: tcp 192.0.2.10/32",
        ),
    ] {
        let path = format!("/v1/marks{query}");
        let detail = api.problem("DELETE", &path, Value::Null, status).await;
        assert!(detail.contains(part), "{query}: {detail}");
    }
    let query = "mark=80&protocol=tcp&destination=192.0.2.10&ports=80,443-450";
    api.ask("DELETE", &format!("/v1/marks?{query}"), Value::Null, 204)
        .await;
    assert_eq!(
        api.ask("GET", "/v1/marks", Value::Null, 200).await,
        json!([])
    );
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
async fn timeouts_are_shown_changed_and_reset() {
    let api = Api::start();
    let path = "/v1/timeouts";
    let shown = api.ask("GET", path, Value::Null, 200).await;
    let three = |shown: &Value| ["tcp_s", "tcp_fin_s", "udp_s"].map(|f| shown[f].clone());
    assert_eq!(three(&shown), [900, 120, 300].map(Value::from));
    let body = json!({"tcp_s": 60, "tcp_fin_s": 0, "sctp_init_s": 9});
    let shown = api.ask("PATCH", path, body, 200).await;
    assert_eq!(three(&shown), [60, 120, 300].map(Value::from));
    assert_eq!(
        (&shown["tcp_established_s"], &shown["sctp_init_s"]),
        (&json!(60), &json!(9))
    );
    assert_eq!(api.ask("GET", path, Value::Null, 200).await, shown);
    let shown = api.ask("PUT", path, json!({"udp_s": 5}), 200).await;
    assert_eq!(three(&shown), [900, 120, 5].map(Value::from));
    assert_eq!(shown["sctp_init_s"], 61);
    assert!(
        api.problem("PATCH", path, json!({"udp_s": "5s"}), 422)
            .await
            .contains("udp_s")
    );
    api.problem("POST", path, json!({}), 405).await;
}

#[tokio::test]
async fn connections_are_flushed() {
    let api = Api::start();
    api.ask("POST", "/v1/services", web(), 201).await;
    let path = "/v1/connections";
    api.ask("DELETE", path, Value::Null, 204).await;
    api.ask("DELETE", &format!("{path}?service=web"), Value::Null, 204)
        .await;
    for (query, status, part) in [
        ("service=wbe", 404, "no service"),
        ("real=10.0.0.2", 422, "service: missing"),
        ("client=10.0.0.2", 422, "client: unknown query parameter"),
        (
            "service=web&real=10.0.0.2",
            500,
            "cut the connections: map is gone",
        ),
    ] {
        let path = format!("{path}?{query}");
        let detail = api.problem("DELETE", &path, Value::Null, status).await;
        assert!(detail.contains(part), "{query}: {detail}");
    }
    api.problem("POST", path, json!({}), 405).await;
}

/// A service and a real come with a version; no list does.
/// What happens is told as it happens, with who asked; who is slow is told how
/// much he has missed.
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
            "/v1/status",
            Value::Null,
            405,
            "DELETE is not possible at /v1/status",
        ),
        (
            "GET",
            "/v1/reload",
            Value::Null,
            405,
            "GET is not possible at /v1/reload",
        ),
        ("GET", "/v1/services/wbe", Value::Null, 404, "no service"),
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
            404,
            "no service fwmark:80",
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
        .unwrap();
    assert!(!path.exists());
    drop(silent);
}
