//! Servers with certificates made for the purpose.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::super::{
    Outcome, Prober,
    testing::{closing, flooding, refused, saying, serving, waits_and_can_be_dropped},
};
use super::*;
use crate::config::health::Probe;

const DAY: Duration = Duration::from_secs(86_400);

/// An authority, and what a server of its shows.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let of = rcgen::DnType::CommonName;
        params.distinguished_name.push(of, name);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        Self { issuer }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        Arc::new(roots)
    }

    /// Serves a page with a certificate for this name, which ends then.
    async fn server(&self, name: &str, end: SystemTime) -> Target {
        let mut params = params(name);
        params.not_before = (SystemTime::now() - 400 * DAY).into();
        params.not_after = end.into();
        self.server_of(params).await
    }

    /// Serves a page with a certificate of these.
    async fn server_of(&self, params: CertificateParams) -> Target {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        serving(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut heard = [0; 4096];
                let length = stream.read(&mut heard).await.unwrap_or(0);
                let asked = String::from_utf8_lossy(&heard[..length]).into_owned();
                let sni = stream
                    .get_ref()
                    .1
                    .server_name()
                    .unwrap_or("none")
                    .to_owned();
                let status = if asked.starts_with("GET ") { 200 } else { 405 };
                let says = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n\r\nsni {sni}");
                let _ = stream.write_all(says.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        })
        .await
    }
}

fn params(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).unwrap()
}

fn in_days(days: u32) -> SystemTime {
    SystemTime::now() + days * DAY + DAY / 2
}

fn asking(host: Option<&str>, body: &str) -> Http {
    Http {
        host: host.map(str::to_owned),
        body_regex: Some(body.parse().unwrap()),
        ..Http::default()
    }
}

async fn ask(
    authority: &Authority,
    http: Http,
    tls: Tls,
    target: &Target,
) -> Result<Option<String>, String> {
    let question = Question::with_roots(http, &tls, || authority.roots());
    question.unwrap().ask(target).await
}

fn unverified() -> Tls {
    Tls {
        verify: false,
        sni: None,
    }
}

#[tokio::test]
async fn names() {
    let authority = Authority::new("one");
    let web = authority.server("web.example", in_days(100)).await;
    let http = asking(Some("web.example:8443"), "^sni web.example$");
    assert_eq!(ask(&authority, http, Tls::default(), &web).await, Ok(None));
    let sni = Tls {
        sni: Some("web.example".into()),
        ..Tls::default()
    };
    let http = asking(Some("other.example"), "^sni web.example$");
    assert_eq!(ask(&authority, http, sni, &web).await, Ok(None));
    let address = authority.server("127.0.0.1", in_days(100)).await;
    let http = asking(None, "^sni none$");
    let answered = ask(&authority, http, Tls::default(), &address).await;
    assert_eq!(answered, Ok(None));
    for host in [None, Some("other.example")] {
        let answered = ask(&authority, asking(host, ""), Tls::default(), &web).await;
        assert_eq!(answered.unwrap_err(), "certificate is for another name");
        let answered = ask(&authority, asking(host, ""), unverified(), &web).await;
        assert_eq!(answered, Ok(None));
    }
}

#[tokio::test]
async fn issuers() {
    let web = Authority::new("one")
        .server("web.example", in_days(100))
        .await;
    let http = asking(Some("web.example"), "");
    let answered = ask(&Authority::new("another"), http, Tls::default(), &web).await;
    assert_eq!(answered.unwrap_err(), "certificate is of an unknown issuer");
}

#[tokio::test]
async fn purposes() {
    let authority = Authority::new("one");
    // What `openssl req -x509` makes says that it is an authority's.
    let mut authoritys = params("web.example");
    authoritys.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let mut clients = params("web.example");
    clients.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    for (params, error) in [
        (authoritys, "certificate is self-signed, or an authority's"),
        (clients, "certificate is not for servers"),
    ] {
        let web = authority.server_of(params).await;
        let http = || asking(Some("web.example"), "");
        let answered = ask(&authority, http(), Tls::default(), &web).await;
        assert_eq!(answered.unwrap_err(), error);
        ask(&authority, http(), unverified(), &web).await.unwrap();
    }
}

#[tokio::test]
async fn ends() {
    let authority = Authority::new("one");
    let http = || asking(Some("web.example"), "");
    let soon = authority.server("web.example", in_days(3)).await;
    for tls in [Tls::default(), unverified()] {
        let answered = ask(&authority, http(), tls, &soon).await;
        let warning = "certificate expires in 3 days".to_owned();
        assert_eq!(answered, Ok(Some(warning)));
    }
    let past = SystemTime::now() - DAY;
    let past = authority.server("web.example", past).await;
    let expired = "certificate has expired".to_owned();
    let answered = ask(&authority, http(), Tls::default(), &past).await;
    assert_eq!(answered, Err(expired.clone()));
    let answered = ask(&authority, http(), unverified(), &past).await;
    assert_eq!(answered, Ok(Some(expired)));
}

#[tokio::test]
async fn answers_over_tls_are_judged() {
    let authority = Authority::new("one");
    let web = authority.server("web.example", in_days(100)).await;
    let post = Http {
        method: "POST".into(),
        ..asking(Some("web.example"), "")
    };
    let answered = ask(&authority, post, Tls::default(), &web).await;
    assert_eq!(answered.unwrap_err(), "status 405");
    let other = asking(Some("web.example"), "never");
    let answered = ask(&authority, other, Tls::default(), &web).await;
    assert_eq!(answered.unwrap_err(), "body does not match");
}

#[tokio::test]
async fn others() {
    let authority = Authority::new("one");
    let error = async |target: Target| {
        let asked = ask(&authority, Http::default(), unverified(), &target).await;
        asked.unwrap_err()
    };
    let http = saying(&[b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"]).await;
    assert_eq!(error(http).await, "answer is not tls");
    assert_eq!(error(flooding(b"").await).await, "answer is not tls");
    assert_eq!(error(closing().await).await, "no answer");
    assert_eq!(error(refused().await).await, "connection refused");
    // handshake_failure
    let alert = saying(&[b"", b"\x15\x03\x03\0\x02\x02\x28"]).await;
    assert_eq!(error(alert).await, "tls alert 40");
}

#[test]
fn names_of_certificates() {
    let text = |sni, host| name(sni, host).map(|name| name.map(|name| name.to_str().into_owned()));
    for (host, bare) in [
        ("web.example", "web.example"),
        ("web.example:8443", "web.example"),
        ("192.0.2.1:8443", "192.0.2.1"),
        ("[2001:db8::1]:8443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
    ] {
        assert_eq!(text(None, Some(host)), Ok(Some(bare.to_owned())));
    }
    assert_eq!(text(Some("a.b"), Some("c.d")), Ok(Some("a.b".into())));
    assert_eq!(text(None, None), Ok(None));
    assert!(text(Some("-"), None).is_err());
}

#[test]
fn nothing_to_verify_by() {
    let none = || Arc::new(RootCertStore::empty());
    let asked = Question::with_roots(Http::default(), &Tls::default(), none);
    assert!(asked.unwrap_err().contains("no root certificates"));
    Question::with_roots(Http::default(), &unverified(), none).unwrap();
}

#[tokio::test]
async fn silent() {
    waits_and_can_be_dropped(async |target: Target| -> Outcome {
        let probe = Probe::Https(Http::default(), unverified());
        Prober::new(probe).unwrap().ask(&target).await
    })
    .await;
}
