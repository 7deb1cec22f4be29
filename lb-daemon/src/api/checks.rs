//! Checks as requests and replies have them: the keys of `lbd.toml`, with durations in
//! milliseconds. They are turned into the file's words and back, so that the file's rules are
//! the only ones there are.

use std::time::Duration;

use serde_json::{Map, Value};

use super::fields::kind;
use crate::config::{
    file::{self, ConfigError},
    health::Check,
    write,
};

/// The file's durations, each with its name here.
const DURATIONS: [(&str, &str); 4] = [
    ("interval", "interval_ms"),
    ("timeout", "timeout_ms"),
    ("warmup", "warmup_ms"),
    ("fast_interval", "fast_interval_ms"),
];

/// A check with all that has a default.
pub(crate) type Shown = Map<String, Value>;

/// One check, or an array of them.
///
/// # Errors
/// What is wrong, after the path of the field within `field`.
pub(super) fn read(field: &str, value: Value) -> Result<Vec<Check>, String> {
    match value {
        Value::Object(check) => Ok(vec![one(field, check)?]),
        Value::Array(checks) => {
            let numbered = checks.into_iter().enumerate();
            let read = numbered.map(|(index, value)| {
                let path = format!("{field}[{index}]");
                match value {
                    Value::Object(check) => one(&path, check),
                    other => Err(format!(
                        "{path}: expected an object, found {}",
                        kind(&other)
                    )),
                }
            });
            read.collect()
        }
        other => Err(format!(
            "{field}: expected an object or an array of them, found {}",
            kind(&other)
        )),
    }
}

fn one(path: &str, check: Map<String, Value>) -> Result<Check, String> {
    let mut keys = toml::Table::new();
    for (field, value) in check {
        let (key, value) = to_file(&field, value).map_err(|problem| format!("{path}.{problem}"))?;
        keys.insert(key, value);
    }
    let document = toml::Table::from_iter([("health".to_owned(), toml::Value::Table(keys))]);
    let mut checks = file::checks(&document.to_string()).map_err(|error| refused(path, &error))?;
    checks.pop().ok_or_else(|| format!("{path}: missing"))
}

/// A field and its value as the file's key and value.
fn to_file(field: &str, value: Value) -> Result<(String, toml::Value), String> {
    if let Some((_, here)) = DURATIONS.iter().find(|(key, _)| *key == field) {
        return Err(format!("{field}: unknown field; did you mean {here}?"));
    }
    let Some((key, _)) = DURATIONS.iter().find(|(_, here)| *here == field) else {
        let value = to_toml(value).map_err(|problem| format!("{field}: {problem}"))?;
        return Ok((field.to_owned(), value));
    };
    let number = match &value {
        Value::Number(number) => number,
        other => {
            return Err(format!(
                "{field}: expected an integer, found {}",
                kind(other)
            ));
        }
    };
    match number.as_u64() {
        Some(ms) => Ok(((*key).to_owned(), format!("{ms}ms").into())),
        None => Err(format!("{field}: {number} is not a number of milliseconds")),
    }
}

fn to_toml(value: Value) -> Result<toml::Value, String> {
    Ok(match value {
        Value::Null => return Err("null is no value; leave the field out".into()),
        Value::Bool(flag) => flag.into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => integer.into(),
            (None, Some(real)) => real.into(),
            (None, None) => return Err(format!("{number} is out of range")),
        },
        Value::String(text) => text.into(),
        Value::Array(values) => {
            let values = values.into_iter().map(to_toml);
            values.collect::<Result<Vec<_>, _>>()?.into()
        }
        Value::Object(fields) => {
            let pairs = fields
                .into_iter()
                .map(|(key, value)| Ok((key, to_toml(value)?)));
            pairs.collect::<Result<toml::Table, String>>()?.into()
        }
    })
}

/// The file's error in the words of a request.
fn refused(path: &str, error: &ConfigError) -> String {
    let ConfigError::Refused { key, problem, .. } = error else {
        return format!("{path}: {error}");
    };
    let Some(key) = key.strip_prefix("service.health.") else {
        return format!("{path}: {problem}");
    };
    let field = DURATIONS.iter().find(|(name, _)| *name == key);
    let field = field.map_or(key, |(_, here)| here);
    format!("{path}.{field}: {problem}")
}

/// Each check, with its defaults.
#[must_use]
pub(crate) fn show(checks: &[Check]) -> Vec<Shown> {
    checks.iter().map(show_one).collect()
}

fn show_one(of: &Check) -> Shown {
    let of_type = of.probe.probe_type();
    let timing = of.timing;
    // What it has by default is not in the text.
    let mut shown = Shown::from_iter([
        ("interval_ms".into(), milliseconds(timing.interval)),
        ("timeout_ms".into(), milliseconds(timing.timeout)),
        ("warmup_ms".into(), milliseconds(timing.warmup)),
        ("rise".into(), of.rise.into()),
        ("fall".into(), of.fall.into()),
        ("alpha".into(), of.alpha.into()),
        ("omega".into(), of.omega.into()),
        ("on_failure".into(), of.on_failure.name().into()),
    ]);
    if of_type.has_key("via") {
        shown.insert("via".into(), of.via.name().into());
    }
    if let Some(interval) = timing.fast_interval {
        shown.insert("fast_interval_ms".into(), milliseconds(interval));
    }
    let text = write::check(of);
    for (key, value) in toml::from_str::<toml::Table>(&text).unwrap_or_default() {
        if DURATIONS.iter().all(|(name, _)| *name != key) {
            shown.insert(key, from_toml(value));
        }
    }
    shown
}

fn milliseconds(time: Duration) -> Value {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).into()
}

fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Array(values) => values.into_iter().map(from_toml).collect(),
        toml::Value::Table(keys) => {
            let pairs = keys.into_iter().map(|(key, value)| (key, from_toml(value)));
            Value::Object(pairs.collect())
        }
        toml::Value::String(text) => text.into(),
        // No check has any.
        toml::Value::Float(number) => number.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::health::ProbeType;

    /// What is shown can be sent, and is the same check.
    #[test]
    fn shown_checks_are_read_again() {
        let own = |of_type: ProbeType| match of_type {
            ProbeType::Http | ProbeType::Https => json!({
                "path": "/up?a=1", "method": "HEAD", "host": "www", "headers": {"X-Of.me": "a b"},
                "status": [204, "300-399"], "body_regex": "^\\d+$", "port": 8080,
                "body_md5": "d41d8cd98f00b204e9800998ecf8427e",
            }),
            ProbeType::Udp | ProbeType::SendExpect => {
                json!({"send": "QUIT\\r\\n", "expect": "220", "via": "service"})
            }
            ProbeType::Dns => json!({"query": "example.com", "record": "AAAA"}),
            ProbeType::Smtp => json!({"host": "mail"}),
            ProbeType::Exec => {
                json!({"command": ["/bin/check", "%h"], "expect_regex": "ok", "dynamic": true})
            }
            ProbeType::File => json!({"path": "/run/weight"}),
            ProbeType::Grpc => json!({"service": "shop"}),
            _ => json!({}),
        };
        for of_type in ProbeType::ALL {
            let mut asked = own(of_type);
            for (field, value) in [
                ("type", json!(of_type.name())),
                ("interval_ms", json!(1500)),
                ("fast_interval_ms", json!(100)),
                ("warmup_ms", json!(60_000)),
                ("fall", json!(1)),
                ("omega", json!(true)),
                ("on_failure", json!("quiesce")),
            ] {
                asked[field] = value;
            }
            let checks = read("health", asked.clone()).unwrap();
            let shown = show(&checks);
            assert_eq!(read("health", json!(shown)).unwrap(), checks);
            let shown = json!(shown[0]);
            for (field, value) in asked.as_object().unwrap() {
                assert_eq!(&shown[field], value, "{field} of {shown}");
            }
            assert_eq!(
                (&shown["timeout_ms"], &shown["rise"]),
                (&json!(1000), &json!(2))
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named_in_the_requests_words() {
        for (value, expected) in [
            (json!({}), "health.type: missing"),
            (
                json!({"type": "tcpp"}),
                "health.type: unknown type of check \"tcpp\"; did you mean tcp?",
            ),
            (
                json!([{"type": "tcp"}, {"type": "tcp", "interval_ms": 1}]),
                "health[1].interval_ms: out of range: 100ms to 24h",
            ),
            (
                json!({"type": "tcp", "interval": "2s"}),
                "health.interval: unknown field; did you mean interval_ms?",
            ),
            (
                json!({"type": "tcp", "timeout_ms": 1.5}),
                "health.timeout_ms: 1.5 is not a number of milliseconds",
            ),
            (
                json!({"type": "tcp", "timeout_ms": "1s"}),
                "health.timeout_ms: expected an integer, found a string",
            ),
            (
                json!({"type": "tcp", "port": null}),
                "health.port: null is no value; leave the field out",
            ),
            (
                json!({"type": "tcp", "ports": 80}),
                "health.ports: unknown key; did you mean port?",
            ),
            (json!([1]), "health[0]: expected an object, found a number"),
            (
                json!("up"),
                "health: expected an object or an array of them, found a string",
            ),
            (
                json!({"type": "http", "status": [99]}),
                "health.status: 99 is out of range: 100 to 599",
            ),
            (
                json!({"type": "http", "headers": {"a.b": 1}}),
                "health.headers: expected a string, found integer",
            ),
        ] {
            assert_eq!(
                read("health", value.clone()),
                Err(expected.into()),
                "{value}"
            );
        }
    }
}
