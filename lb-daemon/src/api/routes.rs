//! The paths of the API and their handlers. Each asks the state task and puts
//! the answer into HTTP.

use axum::{
    Json, Router,
    extract::State,
    http::{Method, StatusCode, Uri},
    routing::{get, post},
};

use super::{
    connections,
    extract::{MarkQuery, Now, Object, RealPath, ServicePath},
    problem::Problem,
    requests, timeouts, wire,
};
use crate::{
    config::{
        model::{RealId, ServiceId},
        vocabulary,
    },
    state::handle::{Handle, ReloadReport, ServicePatch, ServiceRef},
};

type Reply<T> = Result<Json<T>, Problem>;
type Created<T> = Result<(StatusCode, Json<T>), Problem>;

/// Every path of the API, answered by the state task behind `handle`.
pub(super) fn router(handle: Handle) -> Router {
    Router::new()
        .route("/v1/services", get(list_services).post(add_service))
        .route(
            "/v1/services/{service}",
            get(show_service)
                .patch(patch_service)
                .put(put_service)
                .delete(delete_service),
        )
        .route(
            "/v1/services/{service}/reals",
            get(list_reals).post(add_real),
        )
        .route(
            "/v1/services/{service}/reals/{real}",
            get(show_real)
                .patch(patch_real)
                .put(put_real)
                .delete(delete_real),
        )
        .route(
            "/v1/marks",
            get(list_marks).post(add_mark).delete(delete_mark),
        )
        .route(
            "/v1/connections",
            get(connections::list).delete(connections::flush),
        )
        .route("/v1/status", get(status))
        .route("/v1/stats", get(stats))
        .route(
            "/v1/timeouts",
            get(timeouts::show)
                .patch(timeouts::patch)
                .put(timeouts::put),
        )
        .route("/v1/reload", post(reload))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(handle)
}

async fn list_services(State(handle): State<Handle>) -> Reply<Vec<wire::Service>> {
    Ok(Json(handle.services().await?))
}

async fn add_service(
    State(handle): State<Handle>,
    Object(fields): Object,
) -> Created<wire::Service> {
    let service = requests::new_service(fields)?;
    let at = ServiceRef::Id(service.id);
    handle.add_service(service).await?;
    Ok((StatusCode::CREATED, Json(find_service(&handle, &at).await?)))
}

async fn show_service(
    State(handle): State<Handle>,
    ServicePath(at): ServicePath,
) -> Reply<wire::Service> {
    Ok(Json(find_service(&handle, &at).await?))
}

async fn patch_service(
    State(handle): State<Handle>,
    ServicePath(at): ServicePath,
    Object(fields): Object,
) -> Reply<wire::Service> {
    edit_service(&handle, at, requests::service_patch(fields)?).await
}

async fn put_service(
    State(handle): State<Handle>,
    ServicePath(at): ServicePath,
    Object(fields): Object,
) -> Reply<wire::Service> {
    edit_service(&handle, at, requests::service_replacement(fields)?).await
}

async fn edit_service(
    handle: &Handle,
    at: ServiceRef,
    patch: ServicePatch,
) -> Reply<wire::Service> {
    // A new name takes effect at once: the service answers to it from here on.
    let at_afterwards = match (&at, &patch.name) {
        (ServiceRef::Name(_), Some(name)) => ServiceRef::Name(name.clone()),
        _ => at.clone(),
    };
    handle.edit_service(at, patch).await?;
    Ok(Json(find_service(handle, &at_afterwards).await?))
}

async fn delete_service(
    State(handle): State<Handle>,
    ServicePath(at): ServicePath,
    Now(now): Now,
) -> Result<StatusCode, Problem> {
    handle.delete_service(at, now).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list_reals(
    State(handle): State<Handle>,
    ServicePath(at): ServicePath,
) -> Reply<Vec<wire::Real>> {
    Ok(Json(find_service(&handle, &at).await?.reals))
}

async fn add_real(
    State(handle): State<Handle>,
    ServicePath(at): ServicePath,
    Object(fields): Object,
) -> Created<wire::Real> {
    let id = handle
        .add_real(at.clone(), requests::new_real(fields)?)
        .await?;
    let at = RealPath {
        service: at,
        address: id.address,
        port: Some(id.port),
    };
    Ok((StatusCode::CREATED, Json(find_real(&handle, &at).await?)))
}

async fn show_real(State(handle): State<Handle>, at: RealPath) -> Reply<wire::Real> {
    Ok(Json(find_real(&handle, &at).await?))
}

async fn patch_real(
    State(handle): State<Handle>,
    at: RealPath,
    Object(fields): Object,
) -> Reply<wire::Real> {
    let patch = requests::real_patch(fields)?;
    handle
        .edit_real(at.service.clone(), at.address, at.port, patch)
        .await?;
    Ok(Json(find_real(&handle, &at).await?))
}

async fn put_real(
    State(handle): State<Handle>,
    at: RealPath,
    Object(fields): Object,
) -> Reply<wire::Real> {
    let service = find_service(&handle, &at.service).await?;
    let forward = vocabulary::forwarding_method(&service.forward).map_err(Problem::invalid)?;
    let patch = requests::real_replacement(fields, forward)?;
    handle
        .edit_real(at.service.clone(), at.address, at.port, patch)
        .await?;
    Ok(Json(find_real(&handle, &at).await?))
}

async fn delete_real(
    State(handle): State<Handle>,
    at: RealPath,
    Now(now): Now,
) -> Result<StatusCode, Problem> {
    handle
        .delete_real(at.service, at.address, at.port, now)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list_marks(State(handle): State<Handle>) -> Reply<Vec<wire::Mark>> {
    Ok(Json(handle.marks().await?))
}

async fn add_mark(State(handle): State<Handle>, Object(fields): Object) -> Created<wire::Mark> {
    let rule = requests::new_mark(fields)?;
    let made = wire::Mark::of(&rule, wire::Owner::Runtime);
    handle.add_mark(rule).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

async fn delete_mark(
    State(handle): State<Handle>,
    MarkQuery(rule): MarkQuery,
) -> Result<StatusCode, Problem> {
    handle.delete_mark(rule).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn status(State(handle): State<Handle>) -> Reply<wire::Status> {
    Ok(Json(handle.status().await?))
}

async fn stats(State(handle): State<Handle>) -> Reply<Vec<wire::ServiceStats>> {
    let services = handle.services().await?;
    let real_stats = |real: wire::Real| wire::RealStats {
        real: real.real,
        stats: real.stats,
    };
    let service_stats = |service: wire::Service| wire::ServiceStats {
        service: service.service,
        name: service.name,
        stats: service.stats,
        reals: service.reals.into_iter().map(real_stats).collect(),
    };
    Ok(Json(services.into_iter().map(service_stats).collect()))
}

async fn reload(State(handle): State<Handle>) -> Reply<ReloadReport> {
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

async fn find_service(handle: &Handle, at: &ServiceRef) -> Result<wire::Service, Problem> {
    let mut services = handle.services().await?;
    let wanted = match at {
        ServiceRef::Id(id) => id.to_string(),
        ServiceRef::Name(name) => name.clone(),
    };
    let is_it = |service: &wire::Service| match at {
        ServiceRef::Id(_) => service.service == wanted,
        ServiceRef::Name(_) => service.name.as_ref() == Some(&wanted),
    };
    let Some(index) = services.iter().position(is_it) else {
        let names = services
            .iter()
            .flat_map(|service| [Some(service.service.clone()), service.name.clone()]);
        let hint = vocabulary::did_you_mean(&wanted, names.flatten());
        return Err(Problem::unknown(format!("no service {wanted}{hint}")));
    };
    Ok(services.swap_remove(index))
}

async fn find_real(handle: &Handle, at: &RealPath) -> Result<wire::Real, Problem> {
    let service = find_service(handle, &at.service).await?;
    let of: ServiceId = service
        .service
        .parse()
        .map_err(|problem| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, problem))?;
    let wanted = RealId {
        address: at.address,
        port: at.port.unwrap_or(of.default_real_port()),
    }
    .to_string();
    service
        .reals
        .into_iter()
        .find(|real| real.real == wanted)
        .ok_or_else(|| Problem::unknown(format!("service {of} has no real {wanted}")))
}
