//! Certificates that a real shows: which of them count, and how long.

use std::{
    sync::{Arc, LazyLock},
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// Days before its end, from which a certificate is warned of.
const WARN_DAYS: i64 = 14;
const SECONDS_A_DAY: i64 = 86_400;

/// rustls has no error of its own for a server that shows an authority's certificate, and
/// hands on webpki's. `openssl req -x509` makes nothing else.
const AUTHORITYS: &str = "CaUsedAsEndEntity";

/// The host's, read once: what changes there counts from the next start on.
pub(super) fn host_roots() -> Arc<RootCertStore> {
    static ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
        let mut roots = RootCertStore::empty();
        // One that cannot be read, or is none, is passed over, as everywhere.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    Arc::clone(&ROOTS)
}

/// Takes what comes of these roots, and is for the name.
///
/// # Errors
/// There are none.
pub(super) fn verifier(
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
    let verifier = verifier.map_err(|_| {
        "this host has no root certificates to verify others by: install them, or set verify = false"
    })?;
    Ok(verifier)
}

/// Takes any certificate. That the real has its key is still proven.
#[derive(Debug)]
pub(super) struct Any(pub(super) Arc<CryptoProvider>);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Of a certificate that will be refused before long, or would be now.
pub(super) fn warning(certificate: &[u8]) -> Option<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let now = i64::try_from(now.as_secs()).ok()?;
    let left = parsed.validity().not_after.timestamp() - now;
    warning_of(left)
}

fn warning_of(seconds_left: i64) -> Option<String> {
    match seconds_left.div_euclid(SECONDS_A_DAY) {
        ..0 => Some("certificate has expired".into()),
        1 => Some("certificate expires in 1 day".into()),
        days @ 0..WARN_DAYS => Some(format!("certificate expires in {days} days")),
        _ => None,
    }
}

/// Why a certificate is not taken.
pub(super) fn refusal(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "certificate has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "certificate is not valid yet"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "certificate is for another name"
        }
        CertificateError::UnknownIssuer => "certificate is of an unknown issuer",
        CertificateError::BadSignature => "certificate's signature is wrong",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "certificate is not for servers"
        }
        CertificateError::Other(error) if error.to_string() == AUTHORITYS => {
            "certificate is self-signed, or an authority's"
        }
        _ => "certificate is not valid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings() {
        for (left, text) in [
            (-1, Some("certificate has expired")),
            (0, Some("certificate expires in 0 days")),
            (SECONDS_A_DAY, Some("certificate expires in 1 day")),
            (
                14 * SECONDS_A_DAY - 1,
                Some("certificate expires in 13 days"),
            ),
            (14 * SECONDS_A_DAY, None),
        ] {
            assert_eq!(warning_of(left).as_deref(), text, "{left}");
        }
        assert_eq!(warning(b"garbage"), None);
    }
}
