//! HTTP over the daemon's unix socket: one connection for each request.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::{api::wire::Problem, state::handle::ObjectKind};

/// Longer than the daemon waits for its own state task.
const PATIENCE: Duration = Duration::from_secs(40);

/// Largest answer: 65,536 reals are about 30 MiB.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// The daemon behind a socket.
#[derive(Clone, Debug)]
pub(super) struct Client {
    socket: PathBuf,
}

/// A body as the daemon sent it.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    body: Bytes,
    /// The `Link` header.
    link: Option<String>,
}

/// The daemon has understood the request and says no.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    /// 404 and 409: what is not there, or is.
    pub(super) object: Option<ObjectKind>,
    detail: String,
}

impl Refused {
    pub(super) fn new(
        status: StatusCode,
        object: Option<ObjectKind>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            status,
            object,
            detail: detail.into(),
        }
    }
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body)
            .context("cannot read lbd's answer; is it of another version?")
    }

    /// The path of the page that follows this one, if there is one.
    pub(super) fn next(&self) -> Result<Option<String>> {
        self.link.as_deref().map(next_of).transpose()
    }
}

impl Client {
    pub(super) fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer> {
        self.request(Method::GET, path, String::new()).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.request(Method::POST, path, body.to_string()).await
    }

    pub(super) async fn patch(&self, path: &str, body: &Value) -> Result<Answer> {
        self.request(Method::PATCH, path, body.to_string()).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Answer> {
        self.request(Method::DELETE, path, String::new()).await
    }

    /// A whole document, which is no JSON.
    pub(super) async fn put(&self, path: &str, document: String) -> Result<Answer> {
        self.request(Method::PUT, path, document).await
    }

    async fn request(&self, method: Method, path: &str, body: String) -> Result<Answer> {
        let exchange = self.exchange(method, path, body);
        let answer = tokio::time::timeout(PATIENCE, exchange).await;
        let (status, answer) =
            answer.map_err(|_| anyhow!("lbd at {} does not answer", self.socket.display()))??;
        if status.is_success() {
            return Ok(answer);
        }
        match answer.parse::<Problem>() {
            Ok(problem) if !problem.detail.is_empty() => {
                bail!(Refused::new(status, problem.object, problem.detail))
            }
            _ => bail!("lbd answered {status}"),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<(StatusCode, Answer)> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.unreachable(&error))?;
        let broken = || format!("the connection to lbd at {} broke", self.socket.display());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .with_context(broken)?;
        // Drives the exchange; it ends with the sender, and its errors come
        // out of the request too.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "lbd")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let response = sender.send_request(request).await.with_context(broken)?;
        let status = response.status();
        let link = response.headers().get(header::LINK);
        let link = link.map(|link| String::from_utf8_lossy(link.as_bytes()).into_owned());
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await;
        let body = body.map_err(|error| anyhow!("{}: {error}", broken()))?;
        let body = body.to_bytes();
        Ok((status, Answer { body, link }))
    }

    fn unreachable(&self, error: &std::io::Error) -> anyhow::Error {
        let hint = match error.kind() {
            ErrorKind::PermissionDenied => "are you root, or in director.socket_group?",
            _ => "is lbd running?",
        };
        anyhow!(
            "cannot reach lbd at {}: {error}; {hint}",
            self.socket.display()
        )
    }
}

/// The target of a `Link` header's `rel="next"`, as the daemon writes it.
fn next_of(link: &str) -> Result<String> {
    let target = link
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix(">; rel=\"next\""));
    target
        .map(str::to_owned)
        .ok_or_else(|| anyhow!("cannot read lbd's answer; is it of another version?"))
}

/// The path of a service, and of one of its reals.
pub(super) fn service_path(service: &str) -> String {
    format!("/v1/services/{}", percent_encoded(service))
}

pub(super) fn reals_path(service: &str) -> String {
    format!("{}/reals", service_path(service))
}

pub(super) fn real_path(service: &str, real: &str) -> String {
    format!("{}/{}", reals_path(service), percent_encoded(real))
}

/// `?service=web&limit=2`, of what is given.
pub(super) fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let mut query = String::new();
    for (key, value) in pairs {
        if let Some(value) = value {
            let separator = if query.is_empty() { '?' } else { '&' };
            query.push_str(&format!("{separator}{key}={}", percent_encoded(value)));
        }
    }
    query
}

/// RFC 3986 section 2: everything but unreserved characters is encoded.
pub(super) fn percent_encoded(segment: &str) -> String {
    let mut encoded = String::new();
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_in_paths() {
        assert_eq!(
            real_path("udp:[2001:db8::1]:53", "10.0.0.2:80"),
            "/v1/services/udp%3A%5B2001%3Adb8%3A%3A1%5D%3A53/reals/10.0.0.2%3A80"
        );
        assert_eq!(reals_path("web-1"), "/v1/services/web-1/reals");
    }

    #[test]
    fn the_next_page_is_where_the_link_leads() {
        let link = "</v1/connections?limit=2&cursor=v4.7>; rel=\"next\"";
        assert_eq!(
            next_of(link).unwrap(),
            "/v1/connections?limit=2&cursor=v4.7"
        );
        assert!(next_of("</v1/connections>").is_err());
    }

    #[tokio::test]
    async fn a_daemon_that_is_not_there_is_said_so() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("lbd.sock");
        let error = Client::new(&socket)
            .get("/v1/status")
            .await
            .unwrap_err()
            .to_string();
        let expected = format!("cannot reach lbd at {}: No such file", socket.display());
        assert!(
            error.starts_with(&expected) && error.ends_with("; is lbd running?"),
            "{error}"
        );
    }
}
