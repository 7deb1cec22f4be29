//! Programs that the harness starts: each is known by its process id, writes to
//! a log of its own, and ends when its value is dropped.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{interrupt, wait};

/// How long a program may take to follow a SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// How soon a program that we wait for learns of an interruption.
const INTERRUPT_PAUSE: Duration = Duration::from_millis(50);

/// A running program.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output going to `log`, which is appended to,
    /// so that a program's several lives share one log.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening the log {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {name} ({command:?})"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it has written so far.
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// An error with its log if it has ended.
    pub fn check_running(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended with {status}:\n{}", self.name, self.log());
        }
        Ok(())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.nix_pid()?, signal).with_context(|| format!("sending {signal} to {}", self.name))
    }

    /// Sends a signal to it and to all that it has started.
    pub fn signal_all(&self, signal: Signal) -> Result<()> {
        self.signal(signal)?;
        for pid in descendants(self.pid()) {
            // Who has ended meanwhile needs none.
            let _ = kill(Pid::from_raw(i32::try_from(pid)?), signal);
        }
        Ok(())
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let mut status = None;
        let what = format!("{} to end", self.name);
        wait::try_until(&what, limit, || {
            status = self.child.try_wait()?;
            Ok(status.is_some())
        })?;
        status.context("a process that ended has a status")
    }

    /// Waits for its end, which must be a success.
    pub fn wait_success(&mut self, limit: Duration) -> Result<()> {
        let status = self.wait(limit)?;
        if !status.success() {
            bail!("{} ended with {status}:\n{}", self.name, self.log());
        }
        Ok(())
    }

    /// SIGTERM, and SIGKILL if that has no effect for five seconds, which is an error.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.signal(Signal::SIGTERM)?;
        let result = self.wait(STOP_LIMIT);
        if result.is_err() {
            self.kill();
        }
        result
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        // Both fail only if the process has already been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn nix_pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id())?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The children of a process and theirs (proc_pid_tid_children(5)).
pub(crate) fn descendants(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        let tasks = fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten();
        let children: Vec<u32> = tasks
            .filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok())
            .flat_map(|list| {
                let pids = list.split_whitespace().filter_map(|pid| pid.parse().ok());
                pids.collect::<Vec<u32>>()
            })
            .collect();
        found.extend(children);
        next += 1;
    }
    found.split_off(1)
}

/// A command whose program is also looked for where administrators' programs
/// are: `su` alone leaves root with a user's `PATH`.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    let mut command = Command::new(program);
    command.env("PATH", path);
    command
}

/// Runs `command` to its end and returns what it printed; an error, with what
/// it said, if it failed.
pub fn output(command: &mut Command) -> Result<String> {
    let output = capture(command)?;
    if !output.status.success() {
        bail!(
            "{command:?} ended with {}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end(),
            String::from_utf8_lossy(&output.stdout).trim_end(),
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `command` to its end, however it ends. An interruption kills it.
pub fn capture(command: &mut Command) -> Result<Output> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {command:?}"))?;
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        scope.spawn(move || sender.send(child.wait_with_output()));
        loop {
            match receiver.recv_timeout(INTERRUPT_PAUSE) {
                Ok(result) => return result.with_context(|| format!("running {command:?}")),
                Err(RecvTimeoutError::Timeout) if interrupt::requested() => {
                    let _ = kill(pid, Signal::SIGKILL);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("lost sight of {command:?}"),
            }
        }
    })
}

/// Makes a command's process die with the thread that starts it, even if we are
/// killed before any `Drop` runs. The kernel ties this to the *thread* (prctl(2),
/// `PR_SET_PDEATHSIG`), so start long-lived programs from the test's own thread.
pub(crate) fn die_with_parent(
    command: &mut Command,
    mut before: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) {
    let prepare = move || {
        before()?;
        prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from)
    };
    // SAFETY: between fork and exec only async-signal-safe functions may run:
    // `before` makes system calls at most (its only caller passes setns), as
    // does prctl; neither allocates nor takes a lock.
    unsafe { command.pre_exec(prepare) };
}
