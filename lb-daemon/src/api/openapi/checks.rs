//! The schema of a check: one for each type, with the keys that this type has.

use utoipa::openapi::{
    ArrayBuilder, ObjectBuilder, OneOfBuilder, RefOr, Schema,
    schema::{AdditionalProperties, Type},
};

use super::values::{command, flag, number, text, word};
use crate::{
    api::checks::key_of,
    config::health::{
        INTERVALS, MAX_IN_A_ROW, MAX_WARMUP, OnFailure, ProbeType, Record, TIMEOUTS, Via,
    },
};

/// In a request or a reply.
pub(super) fn check() -> Schema {
    let of_types = ProbeType::ALL.into_iter().map(of_type);
    let one_of = of_types.fold(OneOfBuilder::new(), OneOfBuilder::item);
    let example = serde_json::json!({"type": "http", "path": "/health", "interval_ms": 2000});
    Schema::OneOf(one_of.examples([example]).build())
}

fn of_type(of: ProbeType) -> ObjectBuilder {
    let object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        .property("type", word([of.name()]))
        .required("type");
    let object = fields(of)
        .into_iter()
        .filter(|(field, _)| of.has_key(key_of(field)))
        .fold(object, |object, (field, schema)| {
            object.property(field, schema)
        });
    match of {
        ProbeType::Dns => object.required("query"),
        ProbeType::Exec => object.required("command"),
        ProbeType::File => object.required("path"),
        _ => object,
    }
}

/// Those of all types, as `of` has them.
fn fields(of: ProbeType) -> Vec<(&'static str, RefOr<Schema>)> {
    const DOMAIN: &str = "[0-9A-Za-z._-]+";
    let milliseconds = |time: std::time::Duration| u32::try_from(time.as_millis()).unwrap_or(0);
    let times = |least, most| number(milliseconds(least), milliseconds(most));
    let intervals = || times(*INTERVALS.start(), *INTERVALS.end());
    let whatever = || ObjectBuilder::new().schema_type(Type::String);
    let path = match of {
        ProbeType::File => text(r"/[\s\S]*", "/run/weight"),
        _ => text("/[!-~]*", "/health"),
    };
    let range = text("[1-5][0-9]{2}(-[1-5][0-9]{2})?", "200-299");
    let status = OneOfBuilder::new().item(number(100, 599)).item(range);
    let headers = Schema::Object(whatever().build());
    vec![
        ("interval_ms", intervals().into()),
        (
            "timeout_ms",
            times(*TIMEOUTS.start(), *TIMEOUTS.end()).into(),
        ),
        (
            "warmup_ms",
            times(std::time::Duration::ZERO, MAX_WARMUP).into(),
        ),
        ("fast_interval_ms", intervals().into()),
        ("rise", number(1, MAX_IN_A_ROW).into()),
        ("fall", number(1, MAX_IN_A_ROW).into()),
        ("port", number(1, u16::MAX.into()).into()),
        ("via", word(Via::ALL.map(Via::name)).into()),
        ("alpha", flag().into()),
        ("omega", flag().into()),
        (
            "on_failure",
            word(OnFailure::ALL.map(OnFailure::name)).into(),
        ),
        ("path", path.into()),
        ("method", text("[A-Z]+", "HEAD").into()),
        (
            "host",
            text(r"[0-9A-Za-z._:\[\]-]+", "www.example.com").into(),
        ),
        (
            "headers",
            ObjectBuilder::new()
                .schema_type(Type::Object)
                .additional_properties(Some(headers))
                .into(),
        ),
        (
            "status",
            ArrayBuilder::new().items(status).min_items(Some(1)).into(),
        ),
        ("body_regex", whatever().into()),
        (
            "body_sha256",
            text("[0-9A-Fa-f]{64}", &"0".repeat(64)).into(),
        ),
        ("body_md5", text("[0-9A-Fa-f]{32}", &"0".repeat(32)).into()),
        ("verify", flag().into()),
        ("sni", text(DOMAIN, "www.example.com").into()),
        ("send", whatever().into()),
        ("expect", whatever().min_length(Some(1)).into()),
        ("expect_regex", whatever().into()),
        ("command", command().min_items(Some(1)).into()),
        ("dynamic", flag().into()),
        ("query", text(DOMAIN, "example.com").into()),
        ("record", word(Record::ALL.map(Record::name)).into()),
        ("service", whatever().into()),
    ]
}

/// In requests: one, or an array of them, or null.
pub(super) fn one_or_more() -> OneOfBuilder {
    let null = ObjectBuilder::new().schema_type(Type::Null);
    OneOfBuilder::new()
        .item(utoipa::openapi::Ref::from_schema_name("HealthCheck"))
        .item(super::values::checks())
        .item(null)
}
