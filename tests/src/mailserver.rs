//! OpenSMTPD on a real: its greeting names the real, it takes any mail and passes
//! none on.

use std::fs;
use std::net::{IpAddr, TcpStream};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::http;
use crate::namespace::Namespace;
use crate::process::{self, Process};
use crate::topology::Host;
use crate::wait;

/// The port of the service.
pub const PORT: u16 = 25;

/// The greeting's host is the real's name in here.
const DOMAIN: &str = ".lbd.test";

/// smtpd has its spool, its socket and its resolver at fixed places: they are its own
/// in a mount namespace. `$1` is its directory.
const LAUNCH: &str = "mount -t tmpfs tmpfs /var/spool && mkdir -m 711 /var/spool/smtpd && \
     mount -t tmpfs tmpfs /run && mount --bind \"$1/resolv.conf\" /etc/resolv.conf && \
     exec smtpd -d -f \"$1/smtpd.conf\"";

/// A running mail server.
#[derive(Debug)]
pub struct MailServer {
    process: Process,
}

impl MailServer {
    /// Starts smtpd on `real`, with its files in a new directory under `scratch`;
    /// returns when it listens.
    pub fn start(real: &Host, scratch: &Path) -> Result<Self> {
        Self::launch(real, scratch, "")
    }

    /// As [`Self::start`], but whoever comes is turned away (status 554).
    pub fn start_closed(real: &Host, scratch: &Path) -> Result<Self> {
        Self::launch(real, scratch, "filter \"closed\"")
    }

    fn launch(real: &Host, scratch: &Path, filter: &str) -> Result<Self> {
        let name = real.name();
        let directory = scratch.join(format!("{name}-mail"));
        fs::create_dir_all(&directory)?;
        // Nobody listens there: clients' names are not found, at once.
        fs::write(directory.join("resolv.conf"), "nameserver 127.0.0.1\n")?;
        fs::write(directory.join("smtpd.conf"), smtpd_conf(real, filter))?;
        let mut command = real.command("unshare");
        command.args(["--mount", "sh", "-c", LAUNCH, "sh"]);
        command.arg(&directory);
        let what = format!("smtpd on {name}");
        let mut process = Process::spawn(&what, &mut command, &directory.join("smtpd.log"))?;
        let address = real.address();
        wait::try_until(&format!("{what} to listen"), wait::START_LIMIT, || {
            process.check_running()?;
            real.enter(|| TcpStream::connect((address, PORT)).is_ok())
        })?;
        Ok(Self { process })
    }

    /// The process, which has others do its work: to stop them, look at its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.process.signal_all(Signal::SIGKILL);
    }
}

/// Sends a mail from `client`: the name of who took it.
pub fn send(client: &Namespace, server: IpAddr, scratch: &Path) -> Result<String> {
    let mail = scratch.join("mail");
    fs::write(
        &mail,
        "From: <a@lbd.test>\r\nTo: <b@lbd.test>\r\n\r\nText\r\n",
    )?;
    let mut command = http::curl(client);
    command.args(["--verbose", "--max-time", http::REQUEST_LIMIT]);
    command.args(["--mail-from", "a@lbd.test", "--mail-rcpt", "b@lbd.test"]);
    command.arg("--upload-file").arg(&mail);
    let output = process::capture(command.arg(format!("smtp://{server}/client.lbd.test")))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    let greeting = said.lines().find_map(|line| line.strip_prefix("< 220 "));
    let name = greeting.and_then(|line| line.split_once(DOMAIN));
    Ok(name.context("no greeting of ours")?.0.to_owned())
}

fn smtpd_conf(real: &Host, filter: &str) -> String {
    let (name, address) = (real.name(), real.address());
    format!(
        "filter \"closed\" phase connect match src {{ 0.0.0.0/0 }} disconnect \"554 closed\"\n\
         listen on {address} port {PORT} hostname {name}{DOMAIN} {filter}\n\
         action \"keep\" relay host \"smtp://127.0.0.1:9\"\n\
         match from any for any action \"keep\"\n"
    )
}
