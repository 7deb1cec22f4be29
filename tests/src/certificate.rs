//! A certificate of our own for web servers, valid for the addresses that clients
//! ask for.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::process;

/// A self-signed certificate and its key.
#[derive(Debug)]
pub struct Certificate {
    /// The certificate, which is also what clients trust.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

impl Certificate {
    /// Makes one for `addresses`, with its files under `scratch`.
    pub fn create(addresses: &[IpAddr], scratch: &Path) -> Result<Self> {
        let made = Self {
            certificate: scratch.join("certificate.pem"),
            key: scratch.join("key.pem"),
        };
        let names: Vec<_> = addresses
            .iter()
            .map(|address| format!("IP:{address}"))
            .collect();
        let mut command = process::command("openssl");
        command.args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=lbd"]);
        command.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        command.args(["-addext", &format!("subjectAltName={}", names.join(","))]);
        command.arg("-keyout").arg(&made.key);
        command.arg("-out").arg(&made.certificate);
        process::output(&mut command)?;
        Ok(made)
    }
}
