//! `/v1/config`: what runs, as `lbd.toml` says it, and another in its place.

use std::time::Duration;

use axum::{
    Json,
    body::Bytes,
    extract::Query,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use nix::unistd::geteuid;
use serde::Deserialize;

use super::{
    extract::{Caller, Document},
    problem::Problem,
    wire::{Checked, Diff},
};
use crate::{
    config::{commands, file, model::Config},
    state::handle::{By, ReloadReport},
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

/// Who may open the socket may change services, and only root and lbd's own user what lbd
/// runs: it runs it as itself.
fn check_commands(config: &Config, by: By) -> Result<(), Problem> {
    let is_trusted = match by {
        By::Peer { uid, .. } => uid == 0 || uid == geteuid().as_raw(),
        By::Signal | By::Timeout => true,
    };
    match commands::first_key(config) {
        Some(key) if !is_trusted => Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!(
                "{key}: only root may have lbd run commands; leave the key out, or put it into lbd's file"
            ),
        )),
        _ => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A group member's command that is let in runs as root.
    #[test]
    fn commands_are_roots_alone() {
        let text = "[director]\ninterfaces = ['eth0']\n[[service]]\nprotocol = 'tcp'\n\
                    address = '192.0.2.10'\nport = 80\n";
        let plain = file::parse(text, "body").unwrap();
        let text = format!("{text}quorum = {{ notify_up = ['/bin/true'] }}\n");
        let with_command = file::parse(&text, "body").unwrap();
        let peer = |uid| By::Peer { uid, pid: None };
        let own = geteuid().as_raw();
        let stranger = own.wrapping_add(1).max(1);
        for trusted in [peer(0), peer(own), By::Signal] {
            assert_eq!(check_commands(&with_command, trusted), Ok(()));
        }
        for other in [peer(stranger), peer(u32::MAX)] {
            assert_eq!(check_commands(&plain, other), Ok(()));
            let problem = check_commands(&with_command, other).unwrap_err();
            assert_eq!(problem.status, StatusCode::FORBIDDEN);
            let key = "service tcp:192.0.2.10:80: quorum.notify_up: only root";
            assert!(problem.detail.starts_with(key), "{problem:?}");
        }
    }
}
