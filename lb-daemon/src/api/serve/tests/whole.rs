//! What is about more than one object: configurations, events, connections,
//! counters; and versions, which every object has.

use super::*;

#[tokio::test]
async fn connections_are_listed_by_pages() {
    let api = Api::start();
    api.ask("POST", "/v1/services", web(), 201).await;
    let path = "/v1/connections";
    let all = api.ask("GET", path, Value::Null, 200).await;
    assert_eq!(all.as_array().unwrap().len(), 6);
    assert_eq!(all[0]["virtual"], "192.0.2.10:80");

    let mut found = Vec::new();
    let mut next = Some(format!("{path}?service=web&limit=2"));
    while let Some(path) = next {
        let (status, page, headers) = api.send("GET", &path, "").await;
        assert_eq!(status, 200, "{path}: {page}");
        assert_eq!(headers[header::CONTENT_TYPE], "application/json");
        assert!(page.as_array().unwrap().len() <= 2, "{page}");
        found.extend(page.as_array().unwrap().iter().cloned());
        next = headers.get(header::LINK).map(|link| {
            let link = link.to_str().unwrap().strip_prefix('<').unwrap();
            let (target, relation) = link.split_once('>').unwrap();
            assert_eq!(relation, "; rel=\"next\"");
            assert!(target.starts_with("/v1/connections?service=web&limit=2&cursor="));
            target.to_owned()
        });
    }
    let client = |row: &Value| row["client"].as_str().unwrap().to_owned();
    let mut clients: Vec<_> = found.iter().map(client).collect();
    clients.sort_unstable();
    clients.dedup();
    assert_eq!((found.len(), clients.len()), (6, 6));

    for (query, rows) in [
        ("state=established", 5),
        ("state=NONE", 1),
        ("state=CUT", 0),
        ("client=198.51.100.0%2F24", 6),
        ("client=203.0.113.1", 0),
        ("real=10.0.0.3", 0),
    ] {
        let page = api
            .ask("GET", &format!("{path}?{query}"), Value::Null, 200)
            .await;
        assert_eq!(page.as_array().unwrap().len(), rows, "{query}");
    }
    for (query, status, part) in [
        ("service=wbe", 404, "no service"),
        ("service=tcp:1.2.3.4", 422, "service: "),
        ("limit=10001", 422, "limit: "),
        ("cursor=x", 422, "cursor: "),
        ("state=ESTAB", 422, "state: "),
        (
            "clinet=198.51.100.7",
            422,
            "clinet: unknown query parameter",
        ),
    ] {
        let path = format!("{path}?{query}");
        let detail = api.problem("GET", &path, Value::Null, status).await;
        assert!(detail.contains(part), "{query}: {detail}");
    }
}

#[tokio::test]
async fn counters_are_zeroed_and_services_flushed() {
    let api = Api::start();
    api.ask("POST", "/v1/services", web(), 201).await;
    let path = "/v1/zero";
    assert_eq!(api.ask("POST", path, json!({}), 200).await, json!({}));
    api.ask("POST", path, json!({"service": "web"}), 200).await;
    let missing = api.ask("POST", path, json!({"service": "shop"}), 404).await;
    assert_eq!(missing["object"], "service");
    let typo = json!({"services": "web"});
    assert!(
        api.problem("POST", path, typo, 422)
            .await
            .ends_with("did you mean service?")
    );

    let again = api.ask("POST", "/v1/services", web(), 409).await;
    assert_eq!(again["object"], "service");
    let reals = "/v1/services/web/reals/10.0.0.2";
    assert_eq!(
        api.ask("GET", reals, Value::Null, 404).await["object"],
        "real"
    );
    api.ask("DELETE", "/v1/services", Value::Null, 204).await;
    assert_eq!(
        api.ask("GET", "/v1/services", Value::Null, 200).await,
        json!([])
    );
}

#[tokio::test]
async fn configurations_are_documents() {
    let api = Api::start();
    let (status, _, _) = {
        let check = api.send("POST", "/v1/config/check", CONFIG).await;
        assert_eq!(check.1, json!({"valid": true, "services": 1, "reals": 0}));
        check
    };
    assert_eq!(status, 200);
    let put = "/v1/config?confirm_within_s=60";
    let (status, report, _) = api.send("PUT", put, CONFIG).await;
    assert_eq!(
        (status, &report["changes"][0]),
        (200, &json!("1 services, Some(60s)"))
    );
    let (_, report, _) = api.send("PUT", "/v1/config", CONFIG).await;
    assert_eq!(report["changes"][0], "1 services, None");
    for (path, body, part) in [
        ("/v1/config", "[director]\ninterface = []", "body:2: "),
        ("/v1/config?confirm_within_s=0", CONFIG, "confirm_within_s"),
        ("/v1/config?within=5", CONFIG, "within"),
    ] {
        let (status, problem, _) = api.send("PUT", path, body).await;
        let detail = problem["detail"].as_str().unwrap();
        assert_eq!(status, 422, "{detail}");
        assert!(detail.contains(part), "{path}: {detail}");
    }
    let diff = api.ask("GET", "/v1/config/diff", Value::Null, 200).await;
    assert_eq!(diff, json!({"changes": ["options changed"]}));
    api.ask("POST", "/v1/config/confirm", json!({}), 200).await;
    let undone = api.ask("POST", "/v1/config/undo", json!({}), 200).await;
    assert_eq!(undone, json!({"changes": []}));
}

const CONFIG: &str = "[director]\ninterfaces = [\"eth0\"]\n\
    [[service]]\nprotocol = \"tcp\"\naddress = \"192.0.2.10\"\nport = 80\n";

#[tokio::test]
async fn versions_are_headers() {
    let api = Api::start();
    let (status, _, headers) = api.send("POST", "/v1/services", web().to_string()).await;
    assert_eq!(
        (status, &headers[header::ETAG]),
        (201, &"\"1\"".parse().unwrap())
    );
    let (_, shown, headers) = api.send("GET", WEB, "").await;
    assert_eq!(headers[header::ETAG], "\"1\"");
    assert!(shown.get("etag").is_none(), "{shown}");
    let (_, _, headers) = api.send("GET", "/v1/services", "").await;
    assert!(!headers.contains_key(header::ETAG));
}

#[tokio::test]
async fn events_are_told() {
    let api = Api::start();
    let answer = api.respond("GET", "/v1/events", Bytes::new()).await;
    let mut stream = answer.into_body();
    api.ask("DELETE", "/v1/services", Value::Null, 204).await;
    let mut text = String::new();
    while !text.contains("service 2") {
        let frame = stream.frame().await.unwrap().unwrap();
        text += std::str::from_utf8(frame.data_ref().unwrap()).unwrap();
    }
    let uid = nix::unistd::getuid();
    let pid = std::process::id();
    let event = |n| {
        format!(
            "event: service\ndata: {{\"time\":\"2026-01-02T03:04:05.678Z\",\"kind\":\"service\",\
             \"by\":\"uid {uid}, pid {pid}\",\"text\":\"service {n}: removed\"}}\n\n"
        )
    };
    let missed = "event: missed\ndata: 1\n\n";
    assert_eq!(text, format!("{missed}{}{}", event(1), event(2)));
}
