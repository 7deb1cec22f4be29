//! Certificates of our own for web servers, valid for the addresses that clients ask
//! for: of themselves, or of an authority that lbd trusts.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::process;

/// A certificate and its key.
#[derive(Debug)]
pub struct Certificate {
    /// The certificate; one that is self-signed is also what clients trust.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// Where lbd looks for authorities, in the place of the host's, if the network has it.
pub(crate) const ROOTS: &str = "roots.pem";

/// The options for a new key.
const NEW_KEY: [&str; 5] = [
    "-nodes",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
];

impl Certificate {
    /// Makes one for `addresses`, with its files under `scratch`.
    pub fn create(addresses: &[IpAddr], scratch: &Path) -> Result<Self> {
        let made = Self {
            certificate: scratch.join("certificate.pem"),
            key: scratch.join("key.pem"),
        };
        made.create_self_signed("/CN=lbd", &["-days", "2", "-addext", &names(addresses)])?;
        Ok(made)
    }

    /// Makes an authority of this name. Which is in the network's own directory, an lbd
    /// that is started from then on trusts.
    pub fn create_authority(name: &str, scratch: &Path) -> Result<Self> {
        fs::create_dir_all(scratch)?;
        let made = Self {
            certificate: scratch.join(ROOTS),
            key: scratch.join("authority.pem"),
        };
        made.create_self_signed(&format!("/CN={name}"), &["-days", "400"])?;
        Ok(made)
    }

    /// Makes one by this authority, in the place of an earlier one: for `addresses`,
    /// with its files in `directory`. It ends after so many days; of none it has expired
    /// a second later.
    pub fn issue(&self, addresses: &[IpAddr], days: u32, directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let made = Self {
            certificate: directory.join("certificate.pem"),
            key: directory.join("key.pem"),
        };
        let request = directory.join("request.pem");
        let mut command = process::command("openssl");
        command.args(["req", "-subj", "/CN=lbd"]).args(NEW_KEY);
        command.args(["-addext", &names(addresses)]);
        command.arg("-keyout").arg(&made.key);
        process::output(command.arg("-out").arg(&request))?;
        let mut command = process::command("openssl");
        command.args(["x509", "-req", "-copy_extensions", "copy"]);
        command.args(["-days", &days.to_string()]);
        command.arg("-in").arg(&request);
        command.arg("-CA").arg(&self.certificate);
        command.arg("-CAkey").arg(&self.key);
        process::output(command.arg("-out").arg(&made.certificate))?;
        Ok(made)
    }

    fn create_self_signed(&self, subject: &str, options: &[&str]) -> Result<()> {
        let mut command = process::command("openssl");
        command.args(["req", "-x509", "-subj", subject]);
        command.args(NEW_KEY).args(options);
        command.arg("-keyout").arg(&self.key);
        command.arg("-out").arg(&self.certificate);
        process::output(&mut command).map(drop)
    }
}

/// The extension that says whom a certificate is for.
fn names(addresses: &[IpAddr]) -> String {
    let names: Vec<_> = addresses
        .iter()
        .map(|address| format!("IP:{address}"))
        .collect();
    format!("subjectAltName={}", names.join(","))
}
