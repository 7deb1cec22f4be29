//! The paths of the API and their handlers. Each asks the state task and puts
//! the answer into HTTP.

use axum::{
    Json, Router,
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};

use super::{
    commands::check_commands,
    config, connections, events,
    extract::{Caller, MarkQuery, Now, Object, RealPath, ServicePath, service_ref},
    health, openapi,
    problem::Problem,
    requests, timeouts, wire,
};
use crate::{
    config::{
        model::{RealId, ServiceId},
        vocabulary,
    },
    state::{
        handle::{Handle, ReloadReport, ServiceRef, Show, unknown_real},
        patch::{RealPatch, ServicePatch},
    },
};

type Reply<T> = Result<Json<T>, Problem>;
/// A body with the version of what it shows.
struct Tagged<T>(String, T);

impl<T: IntoResponse> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let Self(etag, body) = self;
        ([(header::ETAG, etag)], body).into_response()
    }
}

impl From<wire::Service> for Tagged<Json<wire::Service>> {
    fn from(service: wire::Service) -> Self {
        Self(service.etag.clone(), Json(service))
    }
}

impl From<wire::Real> for Tagged<Json<wire::Real>> {
    fn from(real: wire::Real) -> Self {
        Self(real.etag.clone(), Json(real))
    }
}

/// A service, or all that have a group's name.
struct Meant(Vec<wire::Service>);

impl IntoResponse for Meant {
    fn into_response(mut self) -> Response {
        match self.0.pop() {
            Some(service) if self.0.is_empty() => Tagged::from(service).into_response(),
            last => {
                self.0.extend(last);
                Json(self.0).into_response()
            }
        }
    }
}

type OneReal = Result<Tagged<Json<wire::Real>>, Problem>;
type Created<T> = Result<(StatusCode, Tagged<Json<T>>), Problem>;

/// Every path of the API, answered by the state task behind `handle`.
pub(super) fn router(handle: Handle) -> Router {
    let routes = paths().into_iter();
    routes
        .fold(Router::new(), |router, (path, methods)| {
            router.route(path, methods)
        })
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(handle)
}

/// The paths, each with its methods; `openapi` describes the same ones.
pub(super) fn paths() -> Vec<(&'static str, MethodRouter<Handle>)> {
    vec![
        (
            "/v1/services",
            get(list_services).post(add_service).delete(delete_services),
        ),
        (
            "/v1/services/{service}",
            get(show_service)
                .patch(patch_service)
                .put(put_service)
                .delete(delete_service),
        ),
        (
            "/v1/services/{service}/reals",
            get(list_reals).post(add_real),
        ),
        (
            "/v1/services/{service}/reals/{real}",
            get(show_real)
                .patch(patch_real)
                .put(put_real)
                .delete(delete_real),
        ),
        (
            "/v1/marks",
            get(list_marks).post(add_mark).delete(delete_mark),
        ),
        (
            "/v1/connections",
            get(connections::list).delete(connections::flush),
        ),
        ("/v1/health", get(health::list)),
        ("/v1/health/history", get(health::history)),
        ("/v1/status", get(status)),
        ("/v1/stats", get(stats)),
        (
            "/v1/timeouts",
            get(timeouts::show)
                .patch(timeouts::patch)
                .put(timeouts::put),
        ),
        ("/v1/config", get(config::save).put(config::replace)),
        ("/v1/config/check", post(config::check)),
        ("/v1/config/confirm", post(config::confirm)),
        ("/v1/config/diff", get(config::diff)),
        ("/v1/config/undo", post(config::undo)),
        ("/v1/events", get(events::listen)),
        ("/v1/openapi.json", get(openapi::show)),
        ("/v1/zero", post(zero)),
        ("/v1/reload", post(reload)),
    ]
}

async fn list_services(Caller(handle): Caller) -> Result<Response, Problem> {
    Ok(json(handle.services(Show::Everything).await?))
}

fn json(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn add_service(Caller(handle): Caller, Object(fields): Object) -> Created<wire::Service> {
    // With its reals it may have thousands of patterns to compile.
    let service = tokio::task::spawn_blocking(|| requests::new_service(fields))
        .await
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))??;
    check_commands(&service, handle.asker())?;
    let at = ServiceRef::Id(service.id);
    handle.add_service(service).await?;
    Ok((StatusCode::CREATED, handle.service(at).await?.into()))
}

async fn show_service(
    Caller(handle): Caller,
    ServicePath(at): ServicePath,
) -> Result<Meant, Problem> {
    Ok(Meant(handle.some_services(at).await?))
}

async fn patch_service(
    Caller(handle): Caller,
    ServicePath(at): ServicePath,
    Object(fields): Object,
) -> Result<Meant, Problem> {
    edit_service(&handle, at, requests::service_patch(fields)?).await
}

async fn put_service(
    Caller(handle): Caller,
    ServicePath(at): ServicePath,
    Object(fields): Object,
) -> Result<Meant, Problem> {
    edit_service(&handle, at, requests::service_replacement(fields)?).await
}

async fn edit_service(
    handle: &Handle,
    at: ServiceRef,
    patch: ServicePatch,
) -> Result<Meant, Problem> {
    check_commands(&patch, handle.asker())?;
    // A new name takes effect at once: the service answers to it from here on.
    let at_afterwards = match (&at, &patch.name) {
        (ServiceRef::Name(_), Some(name)) => ServiceRef::Name(name.clone()),
        _ => at.clone(),
    };
    handle.edit_service(at, patch).await?;
    Ok(Meant(handle.some_services(at_afterwards).await?))
}

async fn delete_service(
    Caller(handle): Caller,
    ServicePath(at): ServicePath,
    Now(now): Now,
) -> Result<StatusCode, Problem> {
    handle.delete_service(at, now).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete_services(Caller(handle): Caller, Now(now): Now) -> Result<StatusCode, Problem> {
    handle.delete_services(now).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list_reals(
    Caller(handle): Caller,
    ServicePath(at): ServicePath,
) -> Reply<Vec<wire::Real>> {
    Ok(Json(handle.service(at).await?.reals))
}

async fn add_real(
    Caller(handle): Caller,
    ServicePath(at): ServicePath,
    Object(fields): Object,
) -> Created<wire::Real> {
    let real = requests::new_real(fields)?;
    check_commands(&real.health, handle.asker())?;
    let id = handle.add_real(at.clone(), real).await?;
    let at = RealPath {
        service: at,
        address: id.address,
        port: Some(id.port),
    };
    Ok((StatusCode::CREATED, find_real(&handle, &at).await?.into()))
}

async fn show_real(Caller(handle): Caller, at: RealPath) -> OneReal {
    Ok(find_real(&handle, &at).await?.into())
}

async fn patch_real(Caller(handle): Caller, at: RealPath, Object(fields): Object) -> OneReal {
    edit_real(&handle, &at, requests::real_patch(fields)?).await
}

async fn put_real(Caller(handle): Caller, at: RealPath, Object(fields): Object) -> OneReal {
    let service = handle.service(at.service.clone()).await?;
    let forward = vocabulary::forwarding_method(&service.forward).map_err(Problem::invalid)?;
    edit_real(&handle, &at, requests::real_replacement(fields, forward)?).await
}

async fn edit_real(handle: &Handle, at: &RealPath, patch: RealPatch) -> OneReal {
    check_commands(&patch.health, handle.asker())?;
    handle
        .edit_real(at.service.clone(), at.address, at.port, patch)
        .await?;
    Ok(find_real(handle, at).await?.into())
}

async fn delete_real(
    Caller(handle): Caller,
    at: RealPath,
    Now(now): Now,
) -> Result<StatusCode, Problem> {
    handle
        .delete_real(at.service, at.address, at.port, now)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list_marks(Caller(handle): Caller) -> Reply<Vec<wire::Mark>> {
    Ok(Json(handle.marks().await?))
}

async fn add_mark(
    Caller(handle): Caller,
    Object(fields): Object,
) -> Result<(StatusCode, Json<wire::Mark>), Problem> {
    let rule = requests::new_mark(fields)?;
    let made = wire::Mark::of(&rule, wire::Owner::Runtime);
    handle.add_mark(rule).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

async fn delete_mark(
    Caller(handle): Caller,
    MarkQuery(rule): MarkQuery,
) -> Result<StatusCode, Problem> {
    handle.delete_mark(rule).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn status(Caller(handle): Caller) -> Reply<wire::Status> {
    Ok(Json(handle.status().await?))
}

async fn stats(Caller(handle): Caller) -> Result<Response, Problem> {
    Ok(json(handle.services(Show::Stats).await?))
}

/// `{"service": …}`, or `{}`: of all of them.
async fn zero(
    Caller(handle): Caller,
    Object(mut fields): Object,
) -> Reply<serde_json::Map<String, serde_json::Value>> {
    let at = fields.parsed("service", service_ref)?;
    fields.finish()?;
    handle.zero(at).await?;
    Ok(Json(serde_json::Map::new()))
}

async fn reload(Caller(handle): Caller) -> Reply<ReloadReport> {
    Ok(Json(handle.reload().await?))
}

async fn unknown_path(uri: Uri) -> Problem {
    Problem::unknown(format!("there is nothing at {}", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{method} is not possible at {}", uri.path()),
    )
}

async fn find_real(handle: &Handle, at: &RealPath) -> Result<wire::Real, Problem> {
    let service = handle.service(at.service.clone()).await?;
    let of: ServiceId = service
        .service
        .parse()
        .map_err(|problem| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, problem))?;
    let id = RealId {
        address: at.address,
        port: at.port.unwrap_or(of.default_real_port()),
    };
    let wanted = id.to_string();
    let found = service.reals.iter().position(|real| real.real == wanted);
    let mut reals = service.reals;
    match found {
        Some(index) => Ok(reals.swap_remove(index)),
        None => Err(unknown_real(of, id, reals.iter().map(|real| real.real.clone())).into()),
    }
}
