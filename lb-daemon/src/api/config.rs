//! `/v1/config`: what runs, as `lbd.toml` says it, and another in its place.

use std::time::Duration;

use axum::{
    Json,
    body::Bytes,
    extract::Query,
    http::header,
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{
    commands::check_commands,
    extract::{Caller, Document},
    problem::Problem,
    wire::{Checked, Diff},
};
use crate::{
    config::{file, model::Config},
    state::handle::ReloadReport,
};

/// How long a confirmation may take, at most.
pub const MAX_CONFIRM_WITHIN_S: u64 = 86_400;

/// `?confirm_within_s=60`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirmation {
    confirm_within_s: Option<u64>,
}

pub(super) async fn save(Caller(handle): Caller) -> Result<Response, Problem> {
    let text = handle.save_config().await?;
    Ok(([(header::CONTENT_TYPE, "application/toml")], text).into_response())
}

pub(super) async fn diff(Caller(handle): Caller) -> Result<Json<Diff>, Problem> {
    let changes = handle.diff().await?;
    Ok(Json(Diff { changes }))
}

pub(super) async fn check(Document(body): Document) -> Result<Json<Checked>, Problem> {
    Ok(Json(Checked::from(&parse(&body).await?)))
}

pub(super) async fn replace(
    Caller(handle): Caller,
    query: Result<Query<Confirmation>, axum::extract::rejection::QueryRejection>,
    Document(body): Document,
) -> Result<Json<ReloadReport>, Problem> {
    let Query(Confirmation { confirm_within_s }) =
        query.map_err(|rejection| Problem::invalid(rejection.body_text()))?;
    if confirm_within_s.is_some_and(|time| !(1..=MAX_CONFIRM_WITHIN_S).contains(&time)) {
        return Err(Problem::invalid(format!(
            "confirm_within_s: not from 1 to {MAX_CONFIRM_WITHIN_S}"
        )));
    }
    let config = parse(&body).await?;
    check_commands(&config, handle.asker())?;
    let time = confirm_within_s.map(Duration::from_secs);
    Ok(Json(handle.replace(config, time).await?))
}

pub(super) async fn confirm(
    Caller(handle): Caller,
) -> Result<Json<serde_json::Map<String, serde_json::Value>>, Problem> {
    handle.confirm().await?;
    Ok(Json(serde_json::Map::new()))
}

pub(super) async fn undo(Caller(handle): Caller) -> Result<Json<Diff>, Problem> {
    let changes = handle.undo().await?;
    Ok(Json(Diff { changes }))
}

/// The body as a configuration; it is called "body" in messages. A large one takes
/// a while.
async fn parse(body: &Bytes) -> Result<Config, Problem> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Problem::invalid("the body is not UTF-8"))?
        .to_owned();
    tokio::task::spawn_blocking(move || file::parse(&text, "body"))
        .await
        .map_err(|error| Problem::invalid(error.to_string()))?
        .map_err(|error| Problem::invalid(error.to_string()))
}
