//! One mail handed to the server, in plain SMTP (RFC 5321). What goes wrong is told
//! without an address of mail: a server's answer has them, so that only its code is
//! taken.

use std::{error::Error, fmt, io, time::Duration};

use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{
        Mailbox,
        header::{ContentType, HeaderName, HeaderValue},
    },
    transport::smtp::{self, extension::ClientId},
};
use tokio::time;

use crate::config::alerts::Alerts;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Another time it may go.
    Transient(String),
    /// RFC 5321 section 4.2.1 on 5yz: "The SMTP client SHOULD NOT repeat the exact
    /// request".
    Permanent(String),
}

pub(super) async fn deliver(
    alerts: &Alerts,
    host: &str,
    subject: &str,
    body: &str,
    limit: Duration,
) -> Result<(), Failure> {
    let message = message(alerts, host, subject, body)
        .map_err(|error| Failure::Permanent(error.to_string()))?;
    let server = &alerts.smtp;
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.host)
        .port(server.port)
        .hello_name(ClientId::Domain(host.to_owned()))
        .timeout(Some(limit))
        .build();
    // The builder's limit is the connection's alone.
    match time::timeout(limit, transport.send(message)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(failure(&error)),
        Err(_) => Err(Failure::Transient(format!("no end within {limit:?}"))),
    }
}

fn message(
    alerts: &Alerts,
    host: &str,
    subject: &str,
    body: &str,
) -> Result<Message, Box<dyn Error + Send + Sync>> {
    let mailbox = |address: &String| -> Result<Mailbox, &'static str> {
        let address: Address = address
            .parse()
            .map_err(|_| "an address in [alerts] is none that can be mailed to")?;
        Ok(Mailbox::new(None, address))
    };
    let mut builder = Message::builder()
        .from(mailbox(&alerts.from)?)
        .subject(subject)
        .message_id(Some(format!("<{:032x}@{host}>", fastrand::u128(..))))
        // RFC 3834: nobody's holiday answers it.
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".into(),
        ))
        .header(ContentType::TEXT_PLAIN);
    for to in &alerts.to {
        builder = builder.to(mailbox(to)?);
    }
    Ok(builder.body(body.to_owned())?)
}

fn failure(error: &smtp::Error) -> Failure {
    let told = match (error.status(), cause(error)) {
        (Some(code), _) => format!("the server answers {code}"),
        (None, Some(io)) => io.to_string(),
        (None, None) if error.is_timeout() => "timed out".into(),
        (None, None) if error.is_response() => "the server does not speak SMTP".into(),
        (None, None) => "the dialogue failed".into(),
    };
    if error.is_permanent() || error.is_client() {
        Failure::Permanent(told)
    } else {
        Failure::Transient(told)
    }
}

fn cause(error: &smtp::Error) -> Option<&io::Error> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref() {
            return Some(io);
        }
        source = error.source();
    }
    None
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Transient(told) | Self::Permanent(told)) = self;
        f.write_str(told)
    }
}
