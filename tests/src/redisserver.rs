//! redis on a real: one key holds the name of the real.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::{Result, ensure};

use crate::namespace::Namespace;
use crate::process::{self, Process};
use crate::topology::Host;
use crate::wait;

/// The port of the service.
pub const PORT: u16 = 6379;

/// The key.
const KEY: &str = "who";

/// A running redis.
#[derive(Debug)]
pub struct RedisServer {
    process: Process,
}

impl RedisServer {
    /// Starts redis on `real` on every address, with its files in a new directory
    /// under `scratch`; returns when it answers.
    pub fn start(real: &Host, scratch: &Path) -> Result<Self> {
        let name = real.name();
        let directory = scratch.join(format!("{name}-redis"));
        fs::create_dir_all(&directory)?;
        let mut command = real.command("redis-server");
        command.args(["--port", &PORT.to_string(), "--protected-mode", "no"]);
        command.args(["--save", "", "--replica-serve-stale-data", "no"]);
        command.arg("--dir").arg(&directory);
        let what = format!("redis on {name}");
        let mut process = Process::spawn(&what, &mut command, &directory.join("redis.log"))?;
        wait::try_until(&format!("{what} to answer"), wait::START_LIMIT, || {
            process.check_running()?;
            Ok(tell(real, Ipv4Addr::LOCALHOST.into(), &["SET", KEY, name]).is_ok())
        })?;
        Ok(Self { process })
    }

    /// Makes it the replica of a server that is not there: it refuses all commands but a
    /// few (MASTERDOWN).
    pub fn follow_nobody(&self, real: &Host) -> Result<()> {
        let answer = tell(
            real,
            Ipv4Addr::LOCALHOST.into(),
            &["REPLICAOF", "127.0.0.1", "1"],
        );
        answer.map(drop)
    }

    /// Makes it its own master again.
    pub fn lead(&self, real: &Host) -> Result<()> {
        tell(
            real,
            Ipv4Addr::LOCALHOST.into(),
            &["REPLICAOF", "NO", "ONE"],
        )
        .map(drop)
    }

    /// The process: to stop it, kill it, look at its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// Asks `server` from `client`: the name of who answered.
pub fn ask(client: &Namespace, server: IpAddr) -> Result<String> {
    tell(client, server, &["GET", KEY])
}

fn tell(client: &Namespace, server: IpAddr, words: &[&str]) -> Result<String> {
    let mut command = client.command("timeout");
    command.args(["5", "redis-cli", "-e", "-h", &server.to_string()]);
    command.args(["-p", &PORT.to_string()]);
    let answer = process::output(command.args(words))?.trim_end().to_owned();
    ensure!(!answer.is_empty(), "redis answers {words:?} with nothing");
    Ok(answer)
}
