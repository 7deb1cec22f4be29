//! Schemas of single values: words, names, numbers. Those that have a name in the
//! document have a function that refers to them, for the replies' `schema_with`.

use utoipa::openapi::{
    ArrayBuilder, Object, OneOfBuilder, Ref,
    schema::{ObjectBuilder, Type},
};

use super::patterns::{self, whole};
use crate::config::{
    health::{ProbeType, Require},
    model::{ForwardingMethod, OnDown, Protocol, RealState, Scheduler, TunnelKind},
};
use lb_common::connection_state::ConnectionState;

/// Defines the values that have a name, and [`named`], which has them all.
macro_rules! named_values {
    ($($function:ident, $name:literal, $schema:expr;)*) => {
        $(pub(in crate::api) fn $function() -> Ref {
            Ref::from_schema_name($name)
        })*

        /// Each with its name in the document.
        pub(super) fn named() -> Vec<(&'static str, Object)> {
            vec![$(($name, $schema)),*]
        }
    };
}

named_values! {
    service_id, "ServiceId", text(&patterns::service_id(), "tcp:192.0.2.10:80");
    service_ref, "ServiceRef", text(&patterns::service(), "web");
    service_name, "ServiceName", text(patterns::NAME, "web");
    real_id, "RealId", text(&patterns::socket(), "192.0.2.3:80");
    real_ref, "RealRef", text(&patterns::real(), "192.0.2.3");
    address, "Address", text(&patterns::address(), "10.0.0.250");
    destination, "Destination", text(&patterns::destination(), "192.0.2.0/24");
    port_range, "PortRange", text(&patterns::port_range(), "10000-20000");
    protocol, "Protocol", word(Protocol::ALL.map(Protocol::name));
    scheduler, "Scheduler", word(Scheduler::ALL.iter().map(|of| of.name()));
    scheduler_flag, "SchedulerFlag", word(flags_of_all());
    forwarding_method, "ForwardingMethod", word(ForwardingMethod::ALL.map(ForwardingMethod::name));
    tunnel_type, "TunnelType", word(TunnelKind::ALL.map(TunnelKind::name));
    real_state, "RealState", word(RealState::ALL.map(RealState::name));
    on_down, "OnDown", word(OnDown::ALL.map(OnDown::name));
    require, "Require", word(Require::ALL.map(Require::name));
    connection_state, "ConnectionState", word(connection_states());
}

/// Of a reply, a service's address and port, or the mark of its persistent clients.
pub(in crate::api) fn virtual_end() -> Object {
    text(
        &format!("{}|{}", patterns::socket(), patterns::service_id()),
        "192.0.2.10:80",
    )
}

/// As [`protocol`], and `ip` for whatever a mark has.
pub(in crate::api) fn connection_protocol() -> Object {
    word(Protocol::ALL.map(Protocol::name).into_iter().chain(["ip"]))
}

pub(in crate::api) fn scheduler_flags() -> ArrayBuilder {
    ArrayBuilder::new()
        .items(scheduler_flag())
        .unique_items(true)
}

/// Ports and ranges of them.
pub(in crate::api) fn port_list() -> ArrayBuilder {
    let port = number(1, u16::MAX.into());
    ArrayBuilder::new().items(OneOfBuilder::new().item(port).item(port_range()))
}

pub(in crate::api) fn addresses() -> ArrayBuilder {
    ArrayBuilder::new().items(address())
}

pub(in crate::api) fn checks() -> ArrayBuilder {
    ArrayBuilder::new().items(Ref::from_schema_name("HealthCheck"))
}

/// A program, by its absolute path, and its arguments; or nothing.
pub(in crate::api) fn command() -> ArrayBuilder {
    let argument = text("[^\\x00]*", "--quick");
    ArrayBuilder::new()
        .prefix_items([text("/[^\\x00]*", "/usr/lib/lbd/check")])
        .items(argument)
}

pub(in crate::api) fn interface_mode() -> Object {
    word(["native", "generic", "detached"])
}

pub(in crate::api) fn probe_type() -> Object {
    word(ProbeType::ALL.map(ProbeType::name))
}

pub(in crate::api) fn health() -> Object {
    word(["up", "down"])
}

/// One of these words.
pub(super) fn word(words: impl IntoIterator<Item = &'static str>) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words))
        .build()
}

/// A text that is `pattern` from end to end, for example `example`.
pub(super) fn text(pattern: &str, example: &str) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(whole(pattern)))
        .examples([example])
        .build()
}

/// A whole number.
pub(super) fn number(least: u32, most: u32) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(least))
        .maximum(Some(most))
}

pub(super) fn flag() -> Object {
    Object::with_type(Type::Boolean)
}

/// Those of all schedulers.
fn flags_of_all() -> Vec<&'static str> {
    let flags = Scheduler::ALL.iter().flat_map(|of| of.layout().flags());
    flags.map(|(name, _)| *name).collect()
}

fn connection_states() -> Vec<&'static str> {
    let mut names: Vec<_> = ConnectionState::ALL.iter().map(|of| of.name()).collect();
    names.sort_unstable();
    names.dedup();
    names
}
