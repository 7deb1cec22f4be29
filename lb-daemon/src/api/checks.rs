//! Checks as requests and replies have them: the keys of `lbd.toml`, with durations in
//! milliseconds. Those of requests are turned into the file's words, so that the file's rules
//! are the only ones there are.

use std::time::Duration;

use serde_json::{Map, Value};

use super::fields::kind;
use crate::config::{
    file::{self, CHECK_KEYS, ConfigError},
    health::{Check, Expected, Http, MAX_CHECKS, Pattern, Probe, ProbeType},
    vocabulary::{is_near, nearest},
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
        Value::Array(checks) if checks.len() > MAX_CHECKS => {
            Err(format!("{field}: more than {MAX_CHECKS} checks"))
        }
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
    let of_type = check.get("type").and_then(|of| of.as_str()?.parse().ok());
    for (field, value) in check {
        check_field(&field, of_type).map_err(|problem| format!("{path}.{field}: {problem}"))?;
        let (key, value) = to_file(&field, value).map_err(|problem| format!("{path}.{problem}"))?;
        keys.insert(key, value);
    }
    let document = toml::Table::from_iter([("health".to_owned(), toml::Value::Table(keys))]);
    let mut checks = file::checks(&document.to_string()).map_err(|error| refused(path, &error))?;
    checks.pop().ok_or_else(|| format!("{path}: missing"))
}

/// Whether there is such a field, of a type that is known.
fn check_field(field: &str, of_type: Option<ProbeType>) -> Result<(), String> {
    let key = key_of(field);
    let is_known = CHECK_KEYS.contains(&key) && field_of(key) == field;
    match of_type {
        Some(of) if is_known && !of.has_key(key) => {
            Err(format!("no field of type \"{}\"", of.name()))
        }
        _ if is_known => Ok(()),
        _ => {
            let fields: Vec<_> = CHECK_KEYS.iter().map(|key| field_of(key)).collect();
            let near = nearest(field, &fields).filter(|near| is_near(field, near));
            let hint = near.map(|near| format!("; did you mean {near}?"));
            Err(format!("unknown field{}", hint.unwrap_or_default()))
        }
    }
}

/// The file's key of a field.
pub(super) fn key_of(field: &str) -> &str {
    let found = DURATIONS.iter().find(|(_, here)| *here == field);
    found.map_or(field, |(key, _)| key)
}

/// What a key of the file is called here.
fn field_of(key: &str) -> &str {
    let found = DURATIONS.iter().find(|(name, _)| *name == key);
    found.map_or(key, |(_, here)| here)
}

/// A field and its value as the file's key and value.
fn to_file(field: &str, value: Value) -> Result<(String, toml::Value), String> {
    let key = key_of(field);
    if key == field {
        let value = to_toml(value).map_err(|problem| format!("{field}: {problem}"))?;
        return Ok((field.to_owned(), value));
    }
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
        Some(ms) => Ok((key.to_owned(), format!("{ms}ms").into())),
        None => Err(format!("{field}: {number} is not a number of milliseconds")),
    }
}

fn to_toml(value: Value) -> Result<toml::Value, String> {
    Ok(match value {
        Value::Null => return Err("null is no value; leave the field out".into()),
        Value::Bool(flag) => flag.into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => integer.into(),
            (None, Some(real)) if number.is_f64() => real.into(),
            (None, _) => return Err(format!("{number} is out of range")),
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
    format!("{path}.{}: {problem}", field_of(key))
}

/// Each check, with its defaults.
#[must_use]
pub(crate) fn show(checks: &[Check]) -> Vec<Shown> {
    checks.iter().map(show_one).collect()
}

fn show_one(of: &Check) -> Shown {
    let of_type = of.probe.probe_type();
    let timing = of.timing;
    let mut shown = Map::new();
    set(&mut shown, "type", of_type.name());
    set(&mut shown, "interval_ms", milliseconds(timing.interval));
    set(&mut shown, "timeout_ms", milliseconds(timing.timeout));
    set(&mut shown, "warmup_ms", milliseconds(timing.warmup));
    let fast = timing.fast_interval.map(milliseconds);
    set_some(&mut shown, "fast_interval_ms", fast);
    set(&mut shown, "rise", of.rise);
    set(&mut shown, "fall", of.fall);
    set_some(&mut shown, "port", of.port);
    if of_type.has_key("via") {
        set(&mut shown, "via", of.via.name());
    }
    set(&mut shown, "alpha", of.alpha);
    set(&mut shown, "omega", of.omega);
    set(&mut shown, "on_failure", of.on_failure.name());
    show_probe(&of.probe, &mut shown);
    shown
}

fn show_probe(of: &Probe, shown: &mut Shown) {
    match of {
        Probe::Tcp | Probe::Icmp | Probe::Mysql | Probe::Redis | Probe::Agent => {}
        Probe::Http(of) => show_http(of, shown),
        Probe::Https(of, tls) => {
            show_http(of, shown);
            set(shown, "verify", tls.verify);
            set_some(shown, "sni", tls.sni.as_deref());
        }
        Probe::Udp(of) | Probe::SendExpect(of) => {
            set(shown, "send", of.send.text());
            show_expected(of.expect.as_ref(), shown);
        }
        Probe::Dns(of) => {
            set(shown, "query", &*of.query);
            set(shown, "record", of.record.name());
        }
        Probe::Smtp(host) => set_some(shown, "host", host.as_deref()),
        Probe::Exec(of) => {
            set(shown, "command", &*of.command);
            show_expected(of.expect.as_ref(), shown);
            set(shown, "dynamic", of.dynamic);
        }
        Probe::File(path) => set(shown, "path", path.to_string_lossy()),
        Probe::Grpc(service) => set(shown, "service", &**service),
    }
}

fn show_http(of: &Http, shown: &mut Shown) {
    set(shown, "path", &*of.path);
    set(shown, "method", &*of.method);
    set_some(shown, "host", of.host.as_deref());
    if !of.headers.is_empty() {
        let headers = of.headers.iter();
        let headers: Map<_, _> = headers
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect();
        set(shown, "headers", headers);
    }
    let range = |(first, last): &(u16, u16)| match first == last {
        true => Value::from(*first),
        false => format!("{first}-{last}").into(),
    };
    let status: Vec<_> = of.status.iter().map(range).collect();
    set(shown, "status", status);
    let regex = of.body_regex.as_ref();
    set_some(shown, "body_regex", regex.map(Pattern::as_str));
    let (sha256, md5) = (of.body_sha256, of.body_md5);
    set_some(shown, "body_sha256", sha256.map(|digest| digest.text()));
    set_some(shown, "body_md5", md5.map(|digest| digest.text()));
}

fn show_expected(of: Option<&Expected>, shown: &mut Shown) {
    match of {
        None => {}
        Some(Expected::Prefix(octets)) => set(shown, "expect", octets.text()),
        Some(Expected::Match(pattern)) => set(shown, "expect_regex", pattern.as_str()),
    }
}

fn set(shown: &mut Shown, field: &str, value: impl Into<Value>) {
    shown.insert(field.to_owned(), value.into());
}

fn set_some(shown: &mut Shown, field: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        set(shown, field, value);
    }
}

fn milliseconds(time: Duration) -> Value {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).into()
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
                "health.ports: unknown field; did you mean port?",
            ),
            (
                json!({"type": "tcp", "intervall_ms": 5}),
                "health.intervall_ms: unknown field; did you mean interval_ms?",
            ),
            (
                json!({"type": "tcp", "path": "/"}),
                "health.path: no field of type \"tcp\"",
            ),
            (
                json!({"type": "tcp", "port": u64::MAX}),
                "health.port: 18446744073709551615 is out of range",
            ),
            (
                json!(vec![json!({"type": "tcp"}); MAX_CHECKS + 1]),
                "health: more than 32 checks",
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
