//! `/v1/health`: what every check thinks of its real, and what became of reals by that.

use axum::Json;

use super::{connections::ScopeQuery, extract::Caller, problem::Problem, wire};

pub(super) async fn list(
    Caller(handle): Caller,
    ScopeQuery(of): ScopeQuery,
) -> Result<Json<Vec<wire::Check>>, Problem> {
    Ok(Json(handle.health(of).await?))
}

pub(super) async fn history(
    Caller(handle): Caller,
    ScopeQuery(of): ScopeQuery,
) -> Result<Json<Vec<wire::Transition>>, Problem> {
    Ok(Json(handle.health_history(of).await?))
}
