use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use jsonschema::Validator;
use serde_json::{Value, json};

use super::*;
use crate::api::{fields::Fields, problem::Problem, requests};

/// The document as its readers have it.
pub(in crate::api) struct Document(Value);

impl Document {
    /// Its replies are closed here: to add a field is no breach of the contract, but
    /// to forget it in the document is one.
    pub(in crate::api) fn read() -> Self {
        let mut document = serde_json::to_value(document()).unwrap();
        for schema in document["components"]["schemas"]
            .as_object_mut()
            .unwrap()
            .values_mut()
        {
            if schema["properties"].is_object() {
                schema["additionalProperties"] = json!(false);
            }
        }
        Self(document)
    }

    /// The item of the path that `path` is of.
    pub(in crate::api) fn path(&self, path: &str) -> Option<&Value> {
        let parts = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
        let given = parts(path);
        let is_of = |template: &str| {
            let template = parts(template);
            template.len() == given.len()
                && template
                    .iter()
                    .zip(&given)
                    .all(|(of, is)| of == is || of.starts_with('{'))
        };
        let paths = self.0["paths"].as_object().unwrap();
        paths
            .iter()
            .find(|(template, _)| is_of(template))
            .map(|(_, item)| item)
    }

    /// What is wrong with `value`, if it is to be as `schema` has it.
    pub(in crate::api) fn problems(&self, schema: &Value, value: &Value) -> Vec<String> {
        // To compile one takes longer than the rest of most tests.
        static COMPILED: Mutex<BTreeMap<String, Arc<Validator>>> = Mutex::new(BTreeMap::new());
        let compile = || {
            let mut schema = schema.clone();
            schema["components"] = self.0["components"].clone();
            Arc::new(jsonschema::validator_for(&schema).unwrap())
        };
        let mut compiled = COMPILED.lock().unwrap();
        let validator = Arc::clone(compiled.entry(schema.to_string()).or_insert_with(compile));
        drop(compiled);
        let errors = validator.iter_errors(value);
        errors.map(|error| error.to_string()).collect()
    }
}

type Parser = fn(Fields) -> Result<(), Problem>;

/// What the document says of bodies is what is made of them.
#[test]
fn bodies_are_what_the_parsers_take() {
    let parsers: [(&str, Parser); 5] = [
        ("NewService", |fields| {
            requests::new_service(fields).map(drop)
        }),
        ("ServiceEdit", |fields| {
            requests::service_patch(fields).map(drop)
        }),
        ("NewReal", |fields| requests::new_real(fields).map(drop)),
        ("RealEdit", |fields| requests::real_patch(fields).map(drop)),
        ("NewMark", |fields| requests::new_mark(fields).map(drop)),
    ];
    let id = json!("tcp:192.0.2.10:80");
    let rule =
        |ports: Value| json!({"mark": 1, "protocol": "udp", "destination": "::/0", "ports": ports});
    let document = Document::read();
    for (name, body) in [
        ("NewService", json!({})),
        ("NewService", json!({"service": id})),
        ("NewService", json!({"service": "web"})),
        (
            "NewService",
            json!({"service": id, "reals": [{"real": "10.0.0.2", "weight": 65535}]}),
        ),
        (
            "NewService",
            json!({"service": id, "reals": [{"weight": 1}]}),
        ),
        (
            "NewService",
            json!({"service": id, "rate_limit": {"burst": 4}}),
        ),
        (
            "NewService",
            json!({"service": id, "rate_limit": {"connections": 4}}),
        ),
        ("ServiceEdit", json!({})),
        ("ServiceEdit", json!({"service": id})),
        ("ServiceEdit", json!({"name": "a b"})),
        ("ServiceEdit", json!({"name": null})),
        ("ServiceEdit", json!({"reals": []})),
        ("ServiceEdit", json!({"reals": [{"real": "10.0.0.2"}]})),
        ("ServiceEdit", json!({"scheduler": "wlc"})),
        ("ServiceEdit", json!({"scheduler": "wcl"})),
        (
            "ServiceEdit",
            json!({"persistence": null, "slow_start_s": null, "rate_limit": null}),
        ),
        ("ServiceEdit", json!({"persistence": {"netmask": 33}})),
        (
            "ServiceEdit",
            json!({"persistence": {"netmask_v6": 128, "timeout_s": 2_678_400}}),
        ),
        ("ServiceEdit", json!({"persistence": {"timeout_s": 0}})),
        ("ServiceEdit", json!({"persistence": {"timeout": 1}})),
        ("ServiceEdit", json!({"slow_start_s": 3600})),
        ("ServiceEdit", json!({"slow_start_s": 3601})),
        (
            "ServiceEdit",
            json!({"masquerade": ["10.0.0.250", "fd00::1"]}),
        ),
        ("ServiceEdit", json!({"masquerade": ["www"]})),
        (
            "ServiceEdit",
            json!({"require": "all", "quorum": {"up": 1, "notify_up": []}}),
        ),
        ("ServiceEdit", json!({"require": "any"})),
        ("ServiceEdit", json!({"require": "some"})),
        ("ServiceEdit", json!({"quorum": {"up": 2}})),
        ("ServiceEdit", json!({"quorum": {"up": 0}})),
        ("ServiceEdit", json!({"quorum": {"notify_up": ["true"]}})),
        ("ServiceEdit", json!({"quorum": null})),
        ("ServiceEdit", json!({"sorry_server": null})),
        (
            "ServiceEdit",
            json!({"sorry_server": {"real": "10.0.0.9", "forward": "nat"}}),
        ),
        ("ServiceEdit", json!({"sorry_server": {"forward": "nat"}})),
        ("ServiceEdit", json!({"health": null})),
        ("ServiceEdit", json!({"health": []})),
        ("ServiceEdit", json!({"health": "up"})),
        ("ServiceEdit", json!({"health": {"type": "tcp"}})),
        (
            "ServiceEdit",
            json!({"health": {"type": "tcp", "path": "/"}}),
        ),
        (
            "ServiceEdit",
            json!({"health": {"type": "tcp", "interval": "2s"}}),
        ),
        (
            "ServiceEdit",
            json!({"health": {"type": "tcp", "interval_ms": 99}}),
        ),
        ("ServiceEdit", json!({"health": {"interval_ms": 100}})),
        (
            "ServiceEdit",
            json!({"health": [{"type": "icmp"}, {"type": "dns"}]}),
        ),
        (
            "ServiceEdit",
            json!({"health": [{"type": "icmp", "port": 1}]}),
        ),
        (
            "ServiceEdit",
            json!({"health": [{
                "type": "https", "path": "/a", "method": "HEAD", "host": "www", "sni": "www",
                "headers": {"X-A": "b"}, "status": [200, "300-399"], "verify": false,
                "body_regex": "ok", "body_md5": "0".repeat(32), "via": "service",
                "timeout_ms": 10, "warmup_ms": 0, "fast_interval_ms": 100, "rise": 1,
                "fall": 10_000, "port": 65_535, "alpha": true, "omega": true,
                "on_failure": "quiesce",
            }]}),
        ),
        (
            "ServiceEdit",
            json!({"health": {"type": "http", "status": []}}),
        ),
        (
            "ServiceEdit",
            json!({"health": {"type": "http", "headers": {"X-A": 1}}}),
        ),
        (
            "ServiceEdit",
            json!({"health": {"type": "exec", "command": []}}),
        ),
        (
            "ServiceEdit",
            json!({"health": {"type": "exec", "command": ["true"]}}),
        ),
        (
            "ServiceEdit",
            json!({"health": {"type": "exec", "command": ["/bin/true", "%h"], "dynamic": true}}),
        ),
        (
            "ServiceEdit",
            json!({"health": {"type": "file", "path": "weight"}}),
        ),
        (
            "ServiceEdit",
            json!({"health": {"type": "file", "path": "/weight"}}),
        ),
        (
            "ServiceEdit",
            json!({"health": {"type": "dns", "query": "example.com", "record": "MX"}}),
        ),
        (
            "ServiceEdit",
            json!({"health": {"type": "send_expect", "send": "a", "expect": "b"}}),
        ),
        ("RealEdit", json!({"health": "up"})),
        (
            "RealEdit",
            json!({"health": null, "notify_up": ["/bin/true", ""]}),
        ),
        ("RealEdit", json!({"health": [{"type": "redis"}]})),
        ("ServiceEdit", json!({"owner": "file"})),
        ("NewReal", json!({"weight": 1})),
        ("NewReal", json!({"real": "[2001:db8::2]:80"})),
        ("NewReal", json!({"real": "10.0.0.2:65536"})),
        ("RealEdit", json!({"weight": -1})),
        ("RealEdit", json!({"weight": 1.5})),
        ("RealEdit", json!({"weight": 65536})),
        (
            "RealEdit",
            json!({"upper_threshold": u32::MAX, "state": "drain"}),
        ),
        (
            "RealEdit",
            json!({"upper_threshold": u64::from(u32::MAX) + 1}),
        ),
        ("RealEdit", json!({"state": "down"})),
        (
            "RealEdit",
            json!({"tunnel": {"type": "gue", "port": 65535, "checksum": true}}),
        ),
        ("RealEdit", json!({"tunnel": {"kind": "gue"}})),
        ("RealEdit", json!({"tunnel": null})),
        ("RealEdit", json!({"notify_up": []})),
        ("RealEdit", json!({"notify_down": ["/bin/true"]})),
        ("RealEdit", json!({"notify_down": ["true"]})),
        ("RealEdit", json!({"active": 0})),
        ("NewMark", rule(json!([80, "443-450", "8080"]))),
        ("NewMark", rule(json!([]))),
        ("NewMark", rule(json!([0]))),
        ("NewMark", rule(json!(["all"]))),
        (
            "NewMark",
            json!({"mark": 0, "protocol": "udp", "destination": "::/0"}),
        ),
        ("NewMark", json!({"mark": 1, "protocol": "udp"})),
        ("RealEdit", json!([])),
    ] {
        let (_, parser) = parsers.iter().find(|(of, _)| *of == name).unwrap();
        let parsed = Fields::new(body.clone()).and_then(parser);
        let schema = json!({"$ref": format!("#/components/schemas/{name}")});
        let problems = document.problems(&schema, &body);
        assert_eq!(
            problems.is_empty(),
            parsed.is_ok(),
            "{name} {body}: {problems:?}, {parsed:?}"
        );
    }
}

/// A reader may send each example as it is.
#[test]
fn examples_are_valid() {
    let document = Document::read();
    for (name, schema) in document.0["components"]["schemas"].as_object().unwrap() {
        for example in schema["examples"].as_array().unwrap_or(&Vec::new()) {
            let problems = document.problems(schema, example);
            assert!(problems.is_empty(), "{name} {example}: {problems:?}");
        }
    }
}
