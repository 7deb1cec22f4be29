//! `/v1/openapi.json`: the API as an OpenAPI 3.1 document. Replies are described
//! where they are defined, in [`wire`]; what requests may have is put together from
//! the same words and bounds that the parsers go by.

mod bodies;
mod checks;
mod operations;
mod patterns;
pub(super) mod values;

use std::sync::LazyLock;

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use utoipa::{
    ToSchema,
    openapi::{Components, ComponentsBuilder, Info, OpenApi, PathItem, Paths, RefOr, Schema},
};

use super::wire;
use crate::state::handle::ReloadReport;

pub(super) async fn show() -> Response {
    static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| {
        // Maps with texts for keys always are JSON.
        serde_json::to_vec(&document()).unwrap_or_default()
    });
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (content_type, TEXT.as_slice()).into_response()
}

fn document() -> OpenApi {
    let mut paths = Paths::new();
    for (path, operations) in operations::all() {
        let mut item = PathItem::default();
        for (method, operation) in operations {
            item.merge_operations(PathItem::new(method, operation));
        }
        paths.paths.insert(path.to_owned(), item);
    }
    let mut document = OpenApi::new(Info::new("lbd", env!("CARGO_PKG_VERSION")), paths);
    document.components = Some(components());
    document
}

fn components() -> Components {
    let mut replies = Vec::new();
    add::<wire::Service>(&mut replies);
    add::<wire::Mark>(&mut replies);
    add::<wire::Connection>(&mut replies);
    add::<wire::Check>(&mut replies);
    add::<wire::Transition>(&mut replies);
    add::<wire::Status>(&mut replies);
    add::<wire::ServiceStats>(&mut replies);
    add::<wire::Diff>(&mut replies);
    add::<wire::Checked>(&mut replies);
    add::<wire::Event>(&mut replies);
    add::<wire::Problem>(&mut replies);
    add::<ReloadReport>(&mut replies);
    let mut components = ComponentsBuilder::new().schemas_from_iter(replies);
    for (name, value) in values::named() {
        components = components.schema(name, value);
    }
    components = components.schema("HealthCheck", checks::check());
    for (name, body) in bodies::named() {
        components = components.schema(name, body);
    }
    components.build()
}

/// A reply, and what it consists of.
fn add<T: ToSchema>(to: &mut Vec<(String, RefOr<Schema>)>) {
    to.push((T::name().into_owned(), T::schema()));
    T::schemas(to);
}

#[cfg(test)]
pub(super) mod tests;
