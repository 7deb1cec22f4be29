//! Schemas of what requests bring. `requests` reads them by hand; what it does not
//! take is an additional property, which is refused.

use serde_json::json;
use utoipa::openapi::{
    ArrayBuilder, ObjectBuilder,
    schema::{AdditionalProperties, SchemaType, Type},
};

use super::{
    checks::one_or_more,
    values::{
        self, address, command, flag, forwarding_method, number, on_down, real_ref, scheduler,
        scheduler_flag, service_name, tunnel_type,
    },
};
use crate::config::{
    defence::MAX_RATE,
    persistence::MAX_TIMEOUT_S as MAX_PERSISTENCE_S,
    scheduling::{MAX_SLOW_START_S, TABLE_SIZES},
    timeouts::{KEYS, MAX_TIMEOUT_S},
};
use lb_common::limits::{MAX_WEIGHT, POOL_ADDRESSES};

/// Each with its name in the document.
pub(super) fn named() -> Vec<(&'static str, ObjectBuilder)> {
    vec![
        ("NewService", new_service()),
        ("ServiceEdit", service_edit()),
        ("NewReal", new_real()),
        ("RealEdit", real_settings(object())),
        ("NewMark", new_mark()),
        ("TimeoutsEdit", timeouts(object(), 0)),
        ("Timeouts", shown_timeouts()),
        ("Zero", object().property("service", values::service_ref())),
    ]
}

/// A configuration in place of a schema: TOML is a text to JSON Schema.
pub(super) fn configuration() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .examples(["[director]\ninterfaces = [\"eth0\"]\n"])
}

/// An object that has no other properties than those that are added to it.
fn object() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

/// Makes `null` as good as what `schema` has.
fn or_null(schema: ObjectBuilder, kind: Type) -> ObjectBuilder {
    schema.schema_type(SchemaType::from_iter([kind, Type::Null]))
}

fn new_service() -> ObjectBuilder {
    let reals = ArrayBuilder::new().items(utoipa::openapi::Ref::from_schema_name("NewReal"));
    service_settings(object())
        .property("service", values::service_id())
        .required("service")
        .property("reals", reals)
        .examples([json!({
            "service": "tcp:192.0.2.10:443", "name": "shop", "scheduler": "wrr",
            "reals": [{"real": "192.0.2.3", "weight": 2}],
        })])
}

fn service_edit() -> ObjectBuilder {
    service_settings(object())
        .property("reals", nothing())
        .examples([json!({"scheduler": "mh", "scheduler_flags": ["mh-port"]})])
}

fn service_settings(object: ObjectBuilder) -> ObjectBuilder {
    object
        .property("name", service_name())
        .property("scheduler", scheduler())
        .property("scheduler_flags", list(scheduler_flag()).unique_items(true))
        .property(
            "mh_table_size",
            number(*TABLE_SIZES.start(), *TABLE_SIZES.end()),
        )
        .property(
            "slow_start_s",
            or_null(number(1, MAX_SLOW_START_S), Type::Integer),
        )
        .property("forward", forwarding_method())
        .property(
            "masquerade",
            list(address()).max_items(Some(POOL_ADDRESSES)),
        )
        .property("persistence", or_null(persistence(), Type::Object))
        .property("one_packet", flag())
        .property("on_down", on_down())
        .property("rate_limit", or_null(rate_limit(), Type::Object))
        .property("health", one_or_more())
        .property("require", values::require())
        .property("quorum", quorum())
        .property("sorry_server", or_null(sorry_server(), Type::Object))
}

fn persistence() -> ObjectBuilder {
    object()
        .property("timeout_s", number(1, MAX_PERSISTENCE_S))
        .property("netmask", number(1, 32))
        .property("netmask_v6", number(1, 128))
}

fn rate_limit() -> ObjectBuilder {
    object()
        .property("connections", number(1, MAX_RATE))
        .required("connections")
        .property("burst", number(1, MAX_RATE))
}

fn quorum() -> ObjectBuilder {
    object()
        .property("up", number(1, u32::MAX))
        .property("hysteresis", number(0, u32::MAX))
        .property("notify_up", command())
        .property("notify_down", command())
}

fn sorry_server() -> ObjectBuilder {
    object()
        .property("real", real_ref())
        .required("real")
        .property("forward", forwarding_method())
}

fn new_real() -> ObjectBuilder {
    real_settings(object())
        .property("real", real_ref())
        .required("real")
}

fn real_settings(object: ObjectBuilder) -> ObjectBuilder {
    object
        .property("weight", number(0, MAX_WEIGHT))
        .property("forward", forwarding_method())
        .property("tunnel", tunnel())
        .property("upper_threshold", number(0, u32::MAX))
        .property("lower_threshold", number(0, u32::MAX))
        .property("state", values::real_state())
        .property("health", one_or_more())
        .property("notify_up", command())
        .property("notify_down", command())
}

fn tunnel() -> ObjectBuilder {
    object()
        .property("type", tunnel_type())
        .property("port", number(0, u16::MAX.into()))
        .property("checksum", flag())
}

fn new_mark() -> ObjectBuilder {
    object()
        .property("mark", number(1, u32::MAX))
        .property("protocol", values::protocol())
        .property("destination", values::destination())
        .property("ports", values::port_list())
        .required("mark")
        .required("protocol")
        .required("destination")
}

/// Seconds of each state, and of ipvsadm's names for two of them.
fn timeouts(object: ObjectBuilder, least: u32) -> ObjectBuilder {
    timeout_fields().fold(object, |object, field| {
        object.property(field, number(least, MAX_TIMEOUT_S))
    })
}

fn shown_timeouts() -> ObjectBuilder {
    let object = timeouts(ObjectBuilder::new().schema_type(Type::Object), 1);
    timeout_fields().fold(object, ObjectBuilder::required)
}

fn timeout_fields() -> impl Iterator<Item = &'static str> {
    let alias = |key: &crate::config::timeouts::Key| key.alias.map(|(_, field)| field);
    KEYS.iter()
        .flat_map(move |key| [Some(key.field), alias(key)])
        .flatten()
}

fn list(of: utoipa::openapi::Ref) -> ArrayBuilder {
    ArrayBuilder::new().items(of)
}

/// An array with nothing in it.
fn nothing() -> ArrayBuilder {
    ArrayBuilder::new().max_items(Some(0))
}
