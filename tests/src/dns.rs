//! DNS, our UDP service: named on a real, dig on a client. The one record says
//! which real answered.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::Result;
use nix::sys::signal::Signal;

use crate::http::Tally;
use crate::namespace::Namespace;
use crate::process::{self, Process};
use crate::wait;

/// The port of the service.
pub const PORT: u16 = 53;

/// The next client port: below the range that kernels choose from.
static NEXT_PORT: AtomicU16 = AtomicU16::new(20_000);

/// The name whose TXT record is the answering server's name.
const QUESTION: &str = "who.lbd.test";

/// A running name server.
#[derive(Debug)]
pub struct NameServer {
    process: Process,
    directory: PathBuf,
}

impl NameServer {
    /// Starts named in `namespace` on all addresses that it has by now, with its
    /// files in a new directory under `scratch`; returns when it answers.
    pub fn start(namespace: &Namespace, name: &str, scratch: &Path) -> Result<Self> {
        let directory = scratch.join(format!("{name}-dns"));
        fs::create_dir_all(&directory)?;
        let configuration = directory.join("named.conf");
        fs::write(&configuration, named_conf(&directory, true))?;
        fs::write(directory.join("zone"), zone(name))?;
        let mut command = namespace.command("named");
        command.args(["-g", "-n", "1", "-c"]).arg(&configuration);
        let mut process = Process::spawn(
            &format!("named on {name}"),
            &mut command,
            &directory.join("named.log"),
        )?;
        wait::try_until(
            &format!("named on {name} to answer"),
            wait::START_LIMIT,
            || {
                process.check_running()?;
                let tally = ask_many(namespace, IpAddr::from([127, 0, 0, 1]), 1)?;
                Ok(tally.of(name) == 1)
            },
        )?;
        Ok(Self { process, directory })
    }

    /// Whether it has the zone from now on; without it, it refuses to answer.
    pub fn set_zone(&self, is_there: bool) -> Result<()> {
        let text = named_conf(&self.directory, is_there);
        fs::write(self.directory.join("named.conf"), text)?;
        self.process.signal(Signal::SIGHUP)
    }

    /// The process: to stop it, kill it, look at its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// Asks `server` so many times over UDP, without a second try. Each question
/// comes from a port that no other came from: the ports that the kernel would
/// choose repeat now and then, and a repeated one is no new connection.
pub fn ask_many(client: &Namespace, server: IpAddr, times: usize) -> Result<Tally> {
    let mut tally = Tally::default();
    for _ in 0..times {
        match ask(client, server, next_port())? {
            Some(name) => *tally.answers.entry(name).or_default() += 1,
            None => tally.failures += 1,
        }
    }
    Ok(tally)
}

/// A client port that no question has come from yet.
pub fn next_port() -> u16 {
    NEXT_PORT.fetch_add(1, Ordering::Relaxed)
}

/// Asks `server` once from `port`: the name of who answered. None without an answer
/// from the address that was asked.
pub fn ask(client: &Namespace, server: IpAddr, port: u16) -> Result<Option<String>> {
    let any = if server.is_ipv4() { "0.0.0.0" } else { "::" };
    let mut command = client.command("dig");
    // -r: no settings of the user's.
    command.args(["-r", "-b", &format!("{any}#{port}"), &format!("@{server}")]);
    command.args(["+short", "+tries=1", "+time=2", QUESTION, "TXT"]);
    let output = process::capture(&mut command)?;
    let text = String::from_utf8_lossy(&output.stdout);
    // Comments say what went wrong.
    let answer = text
        .lines()
        .find_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    Ok(answer.map(str::to_owned))
}

/// A server of one zone, or none, and nothing else, with all its files in `directory`.
fn named_conf(directory: &Path, has_zone: bool) -> String {
    let directory = directory.display();
    let zone = match has_zone {
        true => format!("zone \"lbd.test\" {{ type master; file \"{directory}/zone\"; }};"),
        false => String::new(),
    };
    format!(
        r#"options {{
    directory "{directory}";
    pid-file "{directory}/named.pid";
    session-keyfile "{directory}/session.key";
    managed-keys-directory "{directory}";
    lock-file none;
    listen-on {{ any; }};
    listen-on-v6 {{ any; }};
    recursion no;
    dnssec-validation no;
    notify no;
}};
controls {{ }};
{zone}
"#
    )
}

fn zone(name: &str) -> String {
    format!(
        "$TTL 60\n\
         @ SOA ns.lbd.test. root.lbd.test. 1 3600 600 86400 60\n\
         @ NS ns\n\
         ns A 127.0.0.1\n\
         who TXT \"{name}\"\n"
    )
}
