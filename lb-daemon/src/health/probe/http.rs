//! `http`: a request by HTTP/1.1 (RFC 9112), and what its answer must be.
//!
//! A redirection is an answer like any other: its status counts. The body is
//! read only where something is expected of it.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri,
    header::{CONNECTION, HOST, USER_AGENT as USER_AGENT_HEADER},
};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use self::body::Body;
use super::{Target, exchange, reason, socket};
use crate::config::health::Http;

mod body;

/// Who asks.
pub(super) const USER_AGENT: &str = concat!("lbd/", env!("CARGO_PKG_VERSION"));
/// In bytes; their number has hyper's own limit of 100.
const MAX_HEADER: usize = 16_384;
const MAX_BODY: usize = 1 << 20;
const DEFAULT_PORT: u16 = 80;

#[derive(Debug)]
pub(super) struct Question {
    method: Method,
    path: Uri,
    /// Host where it is given, and always User-Agent and Connection.
    headers: HeaderMap,
    status: Vec<(u16, u16)>,
    body: Body,
}

impl Question {
    /// # Errors
    /// A part of the request cannot be written.
    pub(super) fn new(http: Http) -> Result<Self, String> {
        let body = Body::new(&http)?;
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT_HEADER, HeaderValue::from_static(USER_AGENT));
        for (name, text) in &http.headers {
            let unfit = || format!("{name:?} cannot be a header");
            let name = name.parse::<HeaderName>().map_err(|_| unfit())?;
            headers.insert(name, value(text)?);
        }
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        if let Some(host) = &http.host {
            headers.insert(HOST, value(host)?);
        }
        let method = http.method.parse::<Method>();
        let path = http.path.parse::<Uri>();
        Ok(Self {
            method: method.map_err(|_| format!("{:?} is not a method", http.method))?,
            path: path.map_err(|_| format!("{:?} is not a path", http.path))?,
            headers,
            status: http.status,
            body,
        })
    }

    pub(super) async fn ask(&self, target: &Target) -> Result<(), String> {
        let stream = socket::connect(target).await?;
        self.over(stream, target, DEFAULT_PORT).await
    }

    /// Over this connection, of a scheme with this default port.
    pub(super) async fn over<S>(
        &self,
        stream: S,
        target: &Target,
        default_port: u16,
    ) -> Result<(), String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = http1::Builder::new()
            .max_buf_size(MAX_HEADER)
            .handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(|error| failure(&error))?;
        let request = self.request(target.address, default_port)?;
        exchange::over(connection, failure, self.exchange(sender, request)).await
    }

    fn request(
        &self,
        address: SocketAddr,
        default_port: u16,
    ) -> Result<Request<Empty<Bytes>>, String> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.clone();
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        if !headers.contains_key(HOST) {
            headers.insert(HOST, value(&authority(address, default_port))?);
        }
        Ok(request)
    }

    async fn exchange(
        &self,
        mut sender: SendRequest<Empty<Bytes>>,
        request: Request<Empty<Bytes>>,
    ) -> Result<(), String> {
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| failure(&error))?;
        let status = response.status().as_u16();
        let mut ranges = self.status.iter();
        if !ranges.any(|(first, last)| (*first..=*last).contains(&status)) {
            return Err(format!("status {status}"));
        }
        if self.body.is_any() {
            return Ok(());
        }
        self.body.judge(&whole(response.into_body()).await?)
    }
}

async fn whole(mut body: Incoming) -> Result<Vec<u8>, String> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| "answer is cut short")?;
        let data = frame.into_data().unwrap_or_default();
        if whole.len() + data.len() > MAX_BODY {
            return Err(reason::too_long(MAX_BODY));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

fn value(text: &str) -> Result<HeaderValue, String> {
    text.parse()
        .map_err(|_| format!("{text:?} cannot be a header's value"))
}

/// As a URL has it (RFC 9110 section 7.2, RFC 3986 section 3.2).
fn authority(address: SocketAddr, default_port: u16) -> String {
    let host = match address {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    };
    if address.port() == default_port {
        host
    } else {
        format!("{host}:{}", address.port())
    }
}

fn failure(error: &hyper::Error) -> String {
    if error.is_parse_too_large() {
        return "header is too large".into();
    }
    if error.is_parse() {
        return "answer is not http".into();
    }
    let source = std::error::Error::source(error);
    source
        .and_then(|source| source.downcast_ref())
        .map_or_else(|| reason::NO_ANSWER.into(), reason::of)
}

#[cfg(test)]
mod tests;
