//! Every reply of these tests against the document, and the document's paths
//! against the router's.

use std::collections::BTreeSet;

use super::*;
use crate::api::{openapi::tests::Document, routes};

/// Panics where the document does not have what was answered.
pub(super) fn check_reply(method: &str, path: &str, status: u16, kind: Option<&str>, body: &Value) {
    let document = Document::read();
    let path = path.split('?').next().unwrap_or_default();
    let Some(item) = document.path(path) else {
        assert_eq!(status, 404, "{path} is not in the document");
        return;
    };
    let operation = &item[method.to_ascii_lowercase()];
    if operation.is_null() {
        assert_eq!(status, 405, "{method} {path} is not in the document");
        return;
    }
    let response = &operation["responses"][status.to_string()];
    assert!(
        response.is_object(),
        "{method} {path}: {status} is not in the document: {body}"
    );
    let Some(kind) = kind else {
        assert!(response["content"].is_null(), "{method} {path}: no content");
        return;
    };
    let schema = &response["content"][kind]["schema"];
    assert!(
        schema.is_object(),
        "{method} {path}: {status} is not {kind} in the document"
    );
    let problems = document.problems(schema, body);
    assert!(problems.is_empty(), "{method} {path}: {problems:?}: {body}");
}

#[tokio::test]
async fn the_document_has_every_path_and_method() {
    let api = Api::start();
    let document = api.ask("GET", "/v1/openapi.json", Value::Null, 200).await;
    assert_eq!(document["openapi"], "3.1.0");
    let described = document["paths"].as_object().unwrap();
    let described: BTreeSet<_> = described.keys().map(String::as_str).collect();
    let served: BTreeSet<_> = routes::paths().into_iter().map(|(path, _)| path).collect();
    assert_eq!(described, served);

    for path in served {
        let at = path
            .replace("{service}", "web")
            .replace("{real}", "10.0.0.2");
        let (status, _, headers) = api.send("OPTIONS", &at, "").await;
        assert_eq!(status, 405);
        let allowed = headers[header::ALLOW].to_str().unwrap().split(',');
        // axum answers HEAD wherever it does GET.
        let allowed: BTreeSet<_> = allowed.filter(|method| *method != "HEAD").collect();
        let methods = document["paths"][path].as_object().unwrap().keys();
        let methods: Vec<_> = methods.map(|method| method.to_ascii_uppercase()).collect();
        let methods: BTreeSet<_> = methods.iter().map(String::as_str).collect();
        assert_eq!(methods, allowed, "{path}");
    }
}

/// A reply with a field too many, or a word that is none, is found.
#[test]
fn a_wrong_reply_is_found() {
    let right = json!({"changes": [], "warnings": []});
    check_reply("POST", "/v1/reload", 200, Some("application/json"), &right);
    for wrong in [
        json!({"changes": []}),
        json!({"changes": [1], "warnings": []}),
        json!({"changes": [], "warnings": [], "more": 1}),
    ] {
        let check = || check_reply("POST", "/v1/reload", 200, Some("application/json"), &wrong);
        assert!(std::panic::catch_unwind(check).is_err(), "{wrong}");
    }
}
