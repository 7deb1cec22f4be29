//! MariaDB on a real: a variable holds the name of the real. Without tables, which
//! nobody asks for.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::Path;

use anyhow::{Context, Result};

use crate::namespace::Namespace;
use crate::process::{self, Process};
use crate::topology::Host;
use crate::wait;

/// The port of the service.
pub const PORT: u16 = 3306;

/// Who comes when so many and one are there is refused (error 1040). There is no smaller number.
const MOST_CLIENTS: usize = 10;

/// A running database.
#[derive(Debug)]
pub struct Database {
    process: Process,
    occupants: Vec<TcpStream>,
}

impl Database {
    /// Starts mariadbd on `real` on every address, with its files in a new directory
    /// under `scratch`; returns when it answers.
    pub fn start(real: &Host, scratch: &Path) -> Result<Self> {
        let name = real.name();
        let directory = scratch.join(format!("{name}-database"));
        fs::create_dir_all(&directory)?;
        let mut command = real.command("mariadbd");
        // No settings of the machine's: the first of all.
        command.args(["--no-defaults", "--user=root", "--skip-grant-tables"]);
        command.args(["--innodb=OFF", "--default-storage-engine=Aria"]);
        command.args(["--skip-name-resolve", "--connect-timeout=60"]);
        command.arg(format!("--max-connections={MOST_CLIENTS}"));
        command.arg(format!("--port={PORT}"));
        command.arg(format!("--report-host={name}"));
        let file =
            |option: &str, name: &str| format!("--{option}={}", directory.join(name).display());
        command.args([
            file("datadir", ""),
            file("socket", "socket"),
            file("pid-file", "pid"),
        ]);
        let what = format!("mariadbd on {name}");
        let mut process = Process::spawn(&what, &mut command, &directory.join("mariadbd.log"))?;
        wait::try_until(&format!("{what} to answer"), wait::START_LIMIT, || {
            process.check_running()?;
            Ok(ask(real, Ipv4Addr::LOCALHOST.into()).is_ok())
        })?;
        Ok(Self {
            process,
            occupants: Vec::new(),
        })
    }

    /// Takes all connections that it allows.
    pub fn occupy(&mut self, real: &Host) -> Result<()> {
        for _ in 0..=MOST_CLIENTS {
            let stream = real.enter(|| TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)))?;
            self.occupants.push(stream.context("occupying a database")?);
        }
        Ok(())
    }

    /// Gives them back.
    pub fn vacate(&mut self) {
        self.occupants.clear();
    }

    /// The process: to stop it, kill it, look at its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// Asks `server` from `client`: the name of who answered.
pub fn ask(client: &Namespace, server: IpAddr) -> Result<String> {
    let mut command = client.command("mariadb");
    command.args(["--no-defaults", "--connect-timeout=5", "--batch"]);
    command.args([
        "--skip-column-names",
        "--skip-ssl",
        "--host",
        &server.to_string(),
    ]);
    command.args(["--port", &PORT.to_string()]);
    let answer = process::output(command.args(["--execute", "SELECT @@report_host"]))?;
    Ok(answer.trim_end().to_owned())
}
