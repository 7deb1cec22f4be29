//! `/v1/connections`: a bare array, a page at a time (`Link: <…>; rel="next"`,
//! RFC 8288), and their end.

use std::net::IpAddr;

use axum::{
    extract::{FromRequestParts, Query},
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};

use super::{
    extract::{Caller, service_ref},
    problem::Problem,
};
use crate::{
    config::{mark, vocabulary},
    connections::{self, Cursor, Filter, state_name},
    state::handle::Scope,
};

const PATH: &str = "/v1/connections";

/// Rows of a page, where the query does not say, and at most.
const DEFAULT_LIMIT: usize = 1000;
pub const MAX_LIMIT: usize = 10_000;

/// What a page is to have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ListQuery {
    of: Scope,
    filter: Filter,
    limit: usize,
    cursor: Cursor,
    /// As it came, without the cursor.
    text: String,
}

/// `?service=web&real=10.0.0.2`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ScopeQuery(pub(super) Scope);

pub(super) async fn list(Caller(handle): Caller, query: ListQuery) -> Result<Response, Problem> {
    let failed = |error: &dyn std::fmt::Display| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("cannot read the connection tables: {error}"),
        )
    };
    let next = query.text;
    let roster = handle.connections(query.of).await?;
    let turn = connections::turn().await;
    let page = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let (rows, cursor) = connections::page(&roster, &query.filter, query.cursor, query.limit)?;
        Ok::<_, std::io::Error>((serde_json::to_vec(&rows)?, cursor))
    });
    let outcome = page.await.map_err(|error| failed(&error))?;
    let (body, cursor) = outcome.map_err(|error| failed(&error))?;
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    let mut response = (content_type, body).into_response();
    if let Some(cursor) = cursor {
        let link = HeaderValue::try_from(link(&next, cursor)).map_err(|error| failed(&error))?;
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

pub(super) async fn flush(
    Caller(handle): Caller,
    ScopeQuery(of): ScopeQuery,
) -> Result<StatusCode, Problem> {
    handle.flush(of).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The same question again, from `cursor` on.
fn link(query: &str, cursor: Cursor) -> String {
    let and = if query.is_empty() { "" } else { "&" };
    format!("<{PATH}?{query}{and}cursor={cursor}>; rel=\"next\"")
}

impl<S: Send + Sync> FromRequestParts<S> for ListQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = without_cursor(parts.uri.query().unwrap_or_default());
        let query = pairs(parts, state).await?;
        list_query(&query, text).map_err(Problem::invalid)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ScopeQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = pairs(parts, state).await?;
        scope_query(&query).map(Self).map_err(Problem::invalid)
    }
}

async fn pairs<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
) -> Result<Vec<(String, String)>, Problem> {
    let Query(query) = Query::from_request_parts(parts, state)
        .await
        .map_err(|rejection| Problem::new(StatusCode::BAD_REQUEST, rejection.body_text()))?;
    Ok(query)
}

fn without_cursor(query: &str) -> String {
    let others = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
    others.collect::<Vec<_>>().join("&")
}

fn list_query(query: &[(String, String)], text: String) -> Result<ListQuery, String> {
    const KEYS: [&str; 6] = ["service", "real", "client", "state", "limit", "cursor"];
    refuse_others(query, &KEYS)?;
    Ok(ListQuery {
        of: scope(query)?,
        filter: Filter {
            client: value(query, "client", mark::destination)?,
            state: value(query, "state", state_name)?,
        },
        limit: value(query, "limit", limit)?.unwrap_or(DEFAULT_LIMIT),
        cursor: value(query, "cursor", str::parse)?.unwrap_or(Cursor::START),
        text,
    })
}

fn scope_query(query: &[(String, String)]) -> Result<Scope, String> {
    refuse_others(query, &["service", "real"])?;
    let of = scope(query)?;
    if of.service.is_none() && of.real.is_some() {
        return Err("service: missing; the real is one of its reals".into());
    }
    Ok(of)
}

fn scope(query: &[(String, String)]) -> Result<Scope, String> {
    Ok(Scope {
        service: value(query, "service", service_ref)?,
        real: value::<(IpAddr, Option<u16>)>(query, "real", vocabulary::real)?,
    })
}

fn limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok();
    limit
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
        .ok_or_else(|| format!("{text:?} is not a number from 1 to {MAX_LIMIT}"))
}

/// The last of a name counts.
fn value<T>(
    query: &[(String, String)],
    name: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    let found = query.iter().rev().find(|(key, _)| key == name);
    let parsed = found.map(|(_, text)| parse(text)).transpose();
    parsed.map_err(|problem| format!("{name}: {problem}"))
}

fn refuse_others(query: &[(String, String)], keys: &[&str]) -> Result<(), String> {
    match query.iter().find(|(key, _)| !keys.contains(&&**key)) {
        Some((key, _)) => {
            let keys = keys.join(", ");
            Err(format!("{key}: unknown query parameter; there are {keys}"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_the_same_question() {
        let cursor: Cursor = "v4.7.ab".parse().unwrap();
        for (query, expected) in [
            ("", "</v1/connections?cursor=v4.7.ab>; rel=\"next\""),
            (
                "service=tcp%3A192.0.2.10%3A80&cursor=v4.1&limit=2",
                "</v1/connections?service=tcp%3A192.0.2.10%3A80&limit=2&cursor=v4.7.ab>; rel=\"next\"",
            ),
        ] {
            assert_eq!(link(&without_cursor(query), cursor), expected);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let read = |key: &str, text: &str| {
            let query = [(key.to_owned(), text.to_owned())];
            list_query(&query, String::new()).unwrap_err()
        };
        assert!(read("limit", "0").starts_with("limit: \"0\" is not a number from 1 to 10000"));
        assert!(read("limit", "10001").starts_with("limit: "));
        assert!(read("client", "www").starts_with("client: \"www\" is not an address or prefix"));
        assert!(read("state", "ESTABLISHDE").ends_with("did you mean ESTABLISHED?"));
        assert!(read("cursor", "7").starts_with("cursor: "));
        assert!(read("real", "www:80").starts_with("real: "));
        assert!(read("clients", "10.0.0.1").starts_with("clients: unknown query parameter"));
        let real = [("real".to_owned(), "10.0.0.2".to_owned())];
        assert!(
            scope_query(&real)
                .unwrap_err()
                .starts_with("service: missing")
        );
        assert_eq!(scope_query(&[]), Ok(Scope::default()));
    }
}
