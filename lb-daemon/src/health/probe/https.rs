//! `https`: as `http`, over TLS (RFC 9110 section 4.2.2).

use std::{io, sync::Arc};

use rustls::{
    ClientConfig, Error, RootCertStore,
    client::{Resumption, danger::ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::ServerName,
};
use tokio_rustls::TlsConnector;

use super::{Target, certificate, http, reason, socket};
use crate::config::health::{Http, Tls};

const DEFAULT_PORT: u16 = 443;

pub(super) struct Question {
    http: http::Question,
    connector: TlsConnector,
    /// None: the real's address.
    name: Option<ServerName<'static>>,
}

impl Question {
    /// # Errors
    /// A part of the request cannot be written, or there is nothing to verify
    /// by.
    pub(super) fn new(http: Http, tls: &Tls) -> Result<Self, String> {
        Self::with_roots(http, tls, certificate::host_roots)
    }

    fn with_roots(
        http: Http,
        tls: &Tls,
        roots: impl FnOnce() -> Arc<RootCertStore>,
    ) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let verifier = if tls.verify {
            certificate::verifier(roots(), Arc::clone(&provider))?
        } else {
            Arc::new(certificate::Any(Arc::clone(&provider)))
        };
        Ok(Self {
            connector: connector(provider, verifier)?,
            name: name(tls.sni.as_deref(), http.host.as_deref())?,
            http: http::Question::new(http)?,
        })
    }

    /// Perhaps with a warning.
    pub(super) async fn ask(&self, target: &Target) -> Result<Option<String>, String> {
        let stream = socket::connect(target).await?;
        let by_address = || target.address.ip().into();
        let name = self.name.clone().unwrap_or_else(by_address);
        let stream = self.connector.connect(name, stream).await;
        let stream = stream.map_err(|error| failure(&error))?;
        let (_, session) = stream.get_ref();
        let shown = session.peer_certificates().and_then(<[_]>::first);
        let warning = shown.and_then(|certificate| certificate::warning(certificate));
        self.http.over(stream, target, DEFAULT_PORT).await?;
        Ok(warning)
    }
}

impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Question")
            .field("http", &self.http)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn connector(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<TlsConnector, String> {
    let versions =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = versions
        .map_err(|_| "no version of tls can be spoken")?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session shows no certificate, and a check is to see the
    // present one.
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Whom the certificate must be for: the one or the other's host.
fn name(sni: Option<&str>, host: Option<&str>) -> Result<Option<ServerName<'static>>, String> {
    let Some(name) = sni.or_else(|| host.map(without_port)) else {
        return Ok(None);
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let parsed = ServerName::try_from(bare.to_owned());
    parsed
        .map(Some)
        .map_err(|_| format!("{name:?} is not a name that tls can ask for"))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // A colon before it, too: an IPv6 address, of which this is a part.
        Some((name, _)) if !name.contains(':') || name.ends_with(']') => name,
        _ => host,
    }
}

fn failure(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|error| error.downcast_ref());
    match tls {
        Some(Error::InvalidCertificate(error)) => certificate::refusal(error).into(),
        Some(Error::AlertReceived(alert)) => format!("tls alert {}", u8::from(*alert)),
        Some(Error::InvalidMessage(_)) => "answer is not tls".into(),
        Some(_) => "tls handshake failed".into(),
        None => reason::of(error),
    }
}

#[cfg(test)]
mod tests;
