//! What a handler gets from a request: the objects that its path names, its
//! query, its body. Whatever is wrong with them is a [`Problem`].

use std::{collections::HashMap, net::IpAddr, time::Duration};

use axum::{
    body::{Bytes, to_bytes},
    extract::{ConnectInfo, FromRequest, FromRequestParts, Path, Query, Request},
    http::{StatusCode, header, request::Parts},
};
use tokio::net::UnixStream;

use super::{fields::Fields, problem::Problem};
use crate::{
    config::{
        mark::{self, MarkRule},
        vocabulary,
    },
    state::{
        etag::IfMatch,
        handle::{By, Handle, ServiceRef},
    },
};

/// Largest body that is read.
const MAX_BODY_BYTES: usize = 1 << 20;

/// The same of a configuration, as of the file.
const MAX_DOCUMENT_BYTES: usize = 64 << 20;

/// How long a client may take to send its body.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// The process at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(By);

impl Peer {
    pub(super) fn of(stream: &UnixStream) -> Self {
        // The kernel knows it of every connected socket; who is not known may
        // do what everybody may who can open the socket.
        let credentials = stream.peer_cred();
        Self(credentials.map_or(
            By::Peer {
                uid: u32::MAX,
                pid: None,
            },
            |peer| By::Peer {
                uid: peer.uid(),
                pid: peer.pid(),
            },
        ))
    }
}

/// The state task, as the peer asks it.
#[derive(Clone, Debug)]
pub(super) struct Caller(pub(super) Handle);

impl FromRequestParts<Handle> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Handle) -> Result<Self, Problem> {
        let ConnectInfo(Peer(by)) = ConnectInfo::from_request_parts(parts, state)
            .await
            .map_err(|rejection| {
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, rejection.body_text())
            })?;
        let mut if_match = IfMatch::default();
        if let Some(value) = parts.headers.get(header::IF_MATCH) {
            let text = value.to_str().unwrap_or_default();
            if_match = IfMatch::parse(text)
                .map_err(|problem| Problem::new(StatusCode::BAD_REQUEST, problem))?;
        }
        Ok(Self(state.of(by, if_match)))
    }
}

/// `{service}` of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServicePath(pub(super) ServiceRef);

/// `{service}` and `{real}` of the path; the port `None` is the service's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RealPath {
    pub(super) service: ServiceRef,
    pub(super) address: IpAddr,
    pub(super) port: Option<u16>,
}

/// `?now=true`: cut the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Now(pub(super) bool);

/// `?mark=80&protocol=tcp&destination=192.0.2.10&ports=80,443`: a rule of the
/// firewall marks, in the words of the command line. No ports: all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MarkQuery(pub(super) MarkRule);

/// The body, whatever it is: a whole configuration is larger than an object.
#[derive(Debug)]
pub(super) struct Document(pub(super) Bytes);

/// The body, a JSON object.
#[derive(Debug)]
pub(super) struct Object(pub(super) Fields);

/// A service as the command line names it.
pub fn service_ref(text: &str) -> Result<ServiceRef, String> {
    if text.contains(':') {
        vocabulary::service_id(text).map(ServiceRef::Id)
    } else {
        vocabulary::service_name(text).map(ServiceRef::Name)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ServicePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let names = path_names(parts, state).await?;
        service_ref(&names["service"])
            .map(Self)
            .map_err(Problem::invalid)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RealPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let names = path_names(parts, state).await?;
        let service = service_ref(&names["service"]).map_err(Problem::invalid)?;
        let (address, port) = vocabulary::real(&names["real"]).map_err(Problem::invalid)?;
        Ok(Self {
            service,
            address,
            port,
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Now {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(query) = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Problem::new(StatusCode::BAD_REQUEST, rejection.body_text()))?;
        let mut now = Self(false);
        for (key, value) in query {
            now = match (&*key, &*value) {
                ("now", "true") => Self(true),
                ("now", "false") => Self(false),
                ("now", _) => {
                    return Err(Problem::invalid(format!(
                        "now: {value:?} is not true or false"
                    )));
                }
                _ => {
                    return Err(Problem::invalid(format!(
                        "{key}: unknown query parameter; there is now=true"
                    )));
                }
            };
        }
        Ok(now)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for MarkQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(query) = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Problem::new(StatusCode::BAD_REQUEST, rejection.body_text()))?;
        mark_rule(&query).map(Self).map_err(Problem::invalid)
    }
}

fn mark_rule(query: &[(String, String)]) -> Result<MarkRule, String> {
    const KEYS: [&str; 4] = ["mark", "protocol", "destination", "ports"];
    if let Some((key, _)) = query.iter().find(|(key, _)| !KEYS.contains(&&**key)) {
        let keys = KEYS.join(", ");
        return Err(format!("{key}: unknown query parameter; there are {keys}"));
    }
    let value = |wanted: &str| query.iter().rev().find(|(key, _)| key == wanted);
    let required = |key: &'static str| {
        let found = value(key).map(|(_, value)| value.as_str());
        found.ok_or_else(|| format!("{key}: missing; the query names the rule"))
    };
    let at = |key: &'static str| move |problem: String| format!("{key}: {problem}");
    Ok(MarkRule {
        mark: mark::mark(required("mark")?).map_err(at("mark"))?,
        protocol: vocabulary::protocol(required("protocol")?).map_err(at("protocol"))?,
        destination: mark::destination(required("destination")?).map_err(at("destination"))?,
        ports: value("ports").map_or(Ok(Vec::new()), |(_, ports)| {
            mark::ports(ports).map_err(at("ports"))
        })?,
    })
}

async fn body(request: Request, most: usize) -> Result<Bytes, Problem> {
    let late = |_| {
        Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not arrive in time",
        )
    };
    let too_large = |_| {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {most} bytes"),
        )
    };
    tokio::time::timeout(BODY_PATIENCE, to_bytes(request.into_body(), most))
        .await
        .map_err(late)?
        .map_err(too_large)
}

impl<S: Send + Sync> FromRequest<S> for Document {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        body(request, MAX_DOCUMENT_BYTES).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for Object {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let body = body(request, MAX_BODY_BYTES).await?;
        let value = serde_json::from_slice(&body).map_err(|error| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                format!("the body is not JSON: {error}"),
            )
        })?;
        Fields::new(value).map(Self)
    }
}

async fn path_names<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
) -> Result<HashMap<String, String>, Problem> {
    let Path(names) = Path::from_request_parts(parts, state)
        .await
        .map_err(|rejection| Problem::new(StatusCode::BAD_REQUEST, rejection.body_text()))?;
    Ok(names)
}
