//! `grpc`: the health service of gRPC answers SERVING, over HTTP/2 in clear
//! text (grpc.health.v1.Health/Check; gRPC's "PROTOCOL-HTTP2").

use bytes::Bytes;
use h2::{RecvStream, client};
use http::{HeaderMap, Method, Request, Version, header};
use tokio::net::TcpStream;

use super::{Target, exchange, http::USER_AGENT, reason, socket};

const PATH: &str = "/grpc.health.v1.Health/Check";
const MAX_HEADER: u32 = 16_384;
/// Of the answer's message; its only field takes two bytes.
const MAX_MESSAGE: usize = 4096;
/// A byte for compression, four for the length.
const FRAME_HEADER: usize = 5;

/// HealthCheckResponse.ServingStatus
const UNKNOWN: u64 = 0;
const SERVING: u64 = 1;
const NOT_SERVING: u64 = 2;
const SERVICE_UNKNOWN: u64 = 3;

const NOT_GRPC: &str = "answer is not grpc";

#[derive(Debug)]
pub(super) struct Question {
    frame: Bytes,
}

impl Question {
    pub(super) fn new(service: &str) -> Self {
        Self {
            frame: frame(&request(service)).into(),
        }
    }

    pub(super) async fn ask(&self, target: &Target) -> Result<(), String> {
        let stream = socket::connect(target).await?;
        let handshake = client::Builder::new()
            .max_header_list_size(MAX_HEADER)
            .enable_push(false)
            .handshake::<TcpStream, Bytes>(stream);
        let (sender, connection) = handshake.await.map_err(|error| failure(&error))?;
        exchange::over(connection, failure, self.exchange(target, sender)).await
    }

    async fn exchange(
        &self,
        target: &Target,
        sender: client::SendRequest<Bytes>,
    ) -> Result<(), String> {
        let request = Request::builder()
            .method(Method::POST)
            .version(Version::HTTP_2)
            .uri(format!("http://{}{PATH}", target.address))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .header(header::USER_AGENT, USER_AGENT)
            .body(());
        let request = request.map_err(|_| "request cannot be written")?;
        let mut sender = sender.ready().await.map_err(|error| failure(&error))?;
        let (response, mut body) = sender
            .send_request(request, false)
            .map_err(|error| failure(&error))?;
        body.send_data(self.frame.clone(), true)
            .map_err(|error| failure(&error))?;
        let response = response.await.map_err(|error| failure(&error))?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(format!("status {status}"));
        }
        let (head, mut body) = response.into_parts();
        // Without a message, the status may come in the header already.
        if head.headers.contains_key("grpc-status") {
            ok(&head.headers)?;
        }
        let message = message(&mut body).await?;
        let trailers = body.trailers().await.map_err(|error| failure(&error))?;
        ok(trailers.as_ref().unwrap_or(&head.headers))?;
        serving(&message)
    }
}

/// The call itself has come off.
fn ok(headers: &HeaderMap) -> Result<(), String> {
    let status = headers.get("grpc-status").ok_or(NOT_GRPC)?;
    let status = status.to_str().ok().and_then(|status| status.parse().ok());
    match status {
        Some(0_u32) => Ok(()),
        Some(5) => Err("service is unknown to the real".into()),
        // The server is there, and nobody has given it the service that answers us.
        Some(12) => Err("real has no grpc.health.v1.Health".into()),
        Some(status) => Err(format!("grpc status {status}")),
        None => Err(NOT_GRPC.into()),
    }
}

/// All that comes before the trailers, which may be nothing.
async fn message(body: &mut RecvStream) -> Result<Vec<u8>, String> {
    let mut message = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(|error| failure(&error))?;
        if message.len() + data.len() > FRAME_HEADER + MAX_MESSAGE {
            return Err(reason::too_long(MAX_MESSAGE));
        }
        message.extend_from_slice(&data);
        let released = body.flow_control().release_capacity(data.len());
        released.map_err(|error| failure(&error))?;
    }
    Ok(message)
}

fn frame(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u32).to_be_bytes();
    [&[0], &length[..], message].concat()
}

/// HealthCheckRequest: field 1, a string, which is left out if empty.
fn request(service: &str) -> Vec<u8> {
    if service.is_empty() {
        return Vec::new();
    }
    let mut request = vec![1 << 3 | 2];
    let mut length = service.len();
    while length >= 0x80 {
        request.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    request.push(length as u8);
    request.extend_from_slice(service.as_bytes());
    request
}

fn serving(framed: &[u8]) -> Result<(), String> {
    let (header, message) = framed.split_at_checked(FRAME_HEADER).ok_or(NOT_GRPC)?;
    let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
    // Compression is for those who have asked for it.
    if header[0] != 0 || length as usize != message.len() {
        return Err(NOT_GRPC.into());
    }
    match status(message).ok_or(NOT_GRPC)? {
        SERVING => Ok(()),
        UNKNOWN => Err("service's state is unknown".into()),
        NOT_SERVING => Err("service is not serving".into()),
        SERVICE_UNKNOWN => Err("service is unknown to the real".into()),
        other => Err(format!("service's state is {other}")),
    }
}

/// Field 1 of HealthCheckResponse; fields of later versions are passed over.
fn status(mut message: &[u8]) -> Option<u64> {
    let mut status = UNKNOWN;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let length = match key & 7 {
            0 => {
                let value = varint(&mut message)?;
                if key >> 3 == 1 {
                    status = value;
                }
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        message = message.get(length..)?;
    }
    Some(status)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn failure(error: &h2::Error) -> String {
    match error.get_io() {
        Some(error) => reason::of(error),
        None if error.is_reset() => "connection reset".into(),
        None => NOT_GRPC.into(),
    }
}

#[cfg(test)]
mod tests;
