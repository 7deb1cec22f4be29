//! `exec`: a program of the operator's says how the real is, by its exit code
//! and perhaps by its output.
//!
//! In its arguments `%h` stands for the real's address, `%p` for its port and
//! `%v` for the service's address. Its environment is `PATH` and
//!
//! ```text
//! LBD_SERVICE          tcp:192.0.2.10:80
//! LBD_PROTOCOL         tcp                  empty with a firewall mark, as are
//! LBD_VIRTUAL_ADDRESS  192.0.2.10           these two
//! LBD_VIRTUAL_PORT     80
//! LBD_REAL             10.0.0.2:80
//! LBD_REAL_ADDRESS     10.0.0.2
//! LBD_REAL_PORT        8080                 the check's, where it has one
//! ```
//!
//! Its input is empty, its directory `/`; what it says on standard error is
//! not looked at. It and all that it starts are one process group, of which
//! nothing outlives the question.

use std::{
    io::{self, ErrorKind},
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::process::{Child, Command};

use super::{Target, answer::Answer, expect::Expectation, load::Load, pidfd::PidFd, reason};
use crate::{config::health::Exec, health::PROGRAMS};

const MAX_OUTPUT: usize = 65_536;

#[derive(Debug)]
pub(super) struct Question {
    program: String,
    arguments: Vec<String>,
    expect: Option<Expectation>,
    dynamic: bool,
}

/// A process that leads a group of its own, and has not been reaped: its
/// number is nobody else's, nor is the group's.
struct Group {
    leader: Child,
    pid: Pid,
}

impl Question {
    /// # Errors
    /// There is no program.
    pub(super) fn new(exec: Exec) -> Result<Self, String> {
        let mut words = exec.command.into_iter();
        Ok(Self {
            program: words.next().ok_or("command has no program")?,
            arguments: words.collect(),
            expect: exec.expect.as_ref().map(Expectation::new).transpose()?,
            dynamic: exec.dynamic,
        })
    }

    pub(super) async fn ask(&self, target: &Target) -> Result<Option<Load>, String> {
        let mut group = Group::start(self.command(target)).map_err(|error| unstarted(&error))?;
        let stdout = group.leader.stdout.take();
        let output = async {
            let Some(stdout) = stdout else {
                return Ok(Vec::new());
            };
            let mut output = Answer::new(stdout, MAX_OUTPUT);
            while output.more().await? {}
            Ok(output.so_far().to_vec())
        };
        // What the leader has left behind may hold the output open: it ends
        // with the leader.
        let ended = async { group.end().await.map_err(|_| "program is lost".to_owned()) };
        let (output, status) = tokio::try_join!(output, ended)?;
        let load = self.judge(status)?;
        if let Some(expect) = &self.expect {
            expect
                .of_whole(&output)
                .map_err(|_| "output does not match")?;
        }
        Ok(load)
    }

    fn command(&self, target: &Target) -> Command {
        let service = target.service;
        let address = target.address.ip().to_string();
        let port = target.address.port().to_string();
        let vip = service.address().map(|vip| vip.to_string());
        let vip = vip.unwrap_or_default();
        let vport = service.port().map(|port| port.to_string());
        let protocol = service.protocol().map_or("", |protocol| protocol.name());
        let mut command = Command::new(&self.program);
        for argument in &self.arguments {
            command.arg(filled_in(argument, &address, &port, &vip));
        }
        command
            .env_clear()
            .env("PATH", PROGRAMS)
            .env("LBD_SERVICE", service.to_string())
            .env("LBD_PROTOCOL", protocol)
            .env("LBD_VIRTUAL_ADDRESS", vip)
            .env("LBD_VIRTUAL_PORT", vport.unwrap_or_default())
            .env("LBD_REAL", target.real.to_string())
            .env("LBD_REAL_ADDRESS", address)
            .env("LBD_REAL_PORT", port)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        // Without an expectation there is nothing to read, nor a limit.
        command.stdout(if self.expect.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        command
    }

    /// A signal is a failure, whatever `dynamic` says.
    fn judge(&self, status: ExitStatus) -> Result<Option<Load>, String> {
        match (status.code(), status.signal()) {
            (Some(0), _) => Ok(None),
            (Some(code @ 2..), _) if self.dynamic => {
                Ok(Some(Load::Weight(code.unsigned_abs() - 2)))
            }
            (Some(code), _) => Err(format!("exit code {code}")),
            (None, Some(signal)) => Err(format!("program is killed by signal {signal}")),
            (None, None) => Err("program is lost".into()),
        }
    }
}

impl Group {
    fn start(mut command: Command) -> io::Result<Self> {
        let leader = command.spawn()?;
        let pid = leader.id().and_then(|id| i32::try_from(id).ok());
        // No child is reaped before it is waited for.
        let pid = pid.ok_or(ErrorKind::NotFound)?;
        let pid = Pid::from_raw(pid);
        Ok(Self { leader, pid })
    }

    /// Waits for the leader, ends what it has left behind, and only then reaps
    /// it: until then the group's number is safe.
    async fn end(&mut self) -> io::Result<ExitStatus> {
        PidFd::open(self.pid)?.ended().await?;
        self.kill();
        self.leader.wait().await
    }

    /// Nothing, once the leader is reaped: the group may be another's by then.
    fn kill(&self) {
        if self.leader.id().is_some() {
            // The group has nobody left to kill: that is as wished.
            let _ = killpg(self.pid, Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    /// The leader is reaped by tokio, which keeps those that are not waited
    /// for.
    fn drop(&mut self) {
        self.kill();
    }
}

/// In one pass, so that nothing that is filled in is taken for a placeholder.
fn filled_in(argument: &str, address: &str, port: &str, vip: &str) -> String {
    let mut filled = String::with_capacity(argument.len());
    let mut rest = argument;
    while let Some(at) = rest.find('%') {
        filled.push_str(&rest[..at]);
        let (with, length) = match rest.as_bytes().get(at + 1) {
            Some(b'h') => (address, 2),
            Some(b'p') => (port, 2),
            Some(b'v') => (vip, 2),
            _ => ("%", 1),
        };
        filled.push_str(with);
        rest = &rest[at + length..];
    }
    filled.push_str(rest);
    filled
}

fn unstarted(error: &io::Error) -> String {
    if let Some(ours) = reason::shortage(error) {
        return ours.into();
    }
    match error.kind() {
        ErrorKind::NotFound => "no such program".into(),
        ErrorKind::PermissionDenied => "program is not executable".into(),
        _ => "program does not start".into(),
    }
}

#[cfg(test)]
mod tests;
