//! Network namespaces: made by `ip netns add` under a name of ours, gone when
//! dropped.
//!
//! Programs enter by setns(2), as `nsenter --net=…` does, and not by `ip netns
//! exec`, which also remounts /sys: a bpffs mounted there would be out of sight.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};

use crate::process;

/// Where iproute2 keeps named namespaces.
pub(crate) const DIRECTORY: &str = "/run/netns";

/// A network namespace of our own.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    /// Kept open so that entering needs no path; shared with commands, which may outlive us.
    file: Arc<File>,
}

impl Namespace {
    /// Makes the namespace `name`, with its loopback device up, forwarding off
    /// and reverse path filtering off. A new namespace inherits its IPv4
    /// settings from the machine's first one (`net.core.devconf_inherit_init_net`),
    /// so nothing is taken for granted.
    pub fn create(name: &str) -> Result<Self> {
        process::output(process::command("ip").args(["netns", "add", name]))?;
        let path = Path::new(DIRECTORY).join(name);
        let file = match File::open(&path) {
            Ok(file) => Arc::new(file),
            Err(error) => {
                delete(name);
                return Err(error).with_context(|| format!("opening {}", path.display()));
            }
        };
        let namespace = Self {
            name: name.to_owned(),
            file,
        };
        namespace.ip("link set lo up")?;
        namespace.sysctls(&[
            ("net/ipv4/ip_forward", "0"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/default/rp_filter", "0"),
            ("net/ipv4/conf/all/send_redirects", "0"),
            ("net/ipv4/conf/default/send_redirects", "0"),
            ("net/ipv6/conf/default/accept_dad", "0"),
        ])?;
        Ok(namespace)
    }

    /// The name that `ip netns list` shows.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file to give to `nsenter --net=`.
    pub fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(&self.name)
    }

    /// A command that will run in here and die with the thread that starts it.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = process::command(program);
        let file = Arc::clone(&self.file);
        process::die_with_parent(&mut command, move || {
            setns(&*file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
        });
        command
    }

    /// Runs a program in here to its end; returns what it printed.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        process::output(self.command(program).args(args))
            .with_context(|| format!("in namespace {}", self.name))
    }

    /// Runs `ip` commands in here, one a line, without the word `ip`.
    pub fn ip(&self, batch: &str) -> Result<()> {
        let mut command = process::command("ip");
        command
            .args(["-netns", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("starting ip")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(batch.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!(
                "ip in namespace {}: {}in:\n{batch}",
                self.name,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }

    /// Runs a function on a thread in here: sockets that it makes belong to this
    /// namespace for good. Programs that it starts end with it.
    pub fn enter<T: Send>(&self, function: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let worker =
                scope.spawn(|| setns(&*self.file, CloneFlags::CLONE_NEWNET).map(|()| function()));
            match worker.join() {
                Ok(result) => result.with_context(|| format!("entering namespace {}", self.name)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Sets a sysctl of this namespace: `sysctl("net/ipv4/ip_forward", "1")`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        self.sysctls(&[(key, value)])
    }

    /// Sets several at once. What the kernel does not have (no IPv6) is left out.
    pub fn sysctls(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.enter(|| {
            for (key, value) in settings {
                // /proc/sys/net shows the namespace of the thread that opens it.
                match fs::write(Path::new("/proc/sys").join(key), value) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(error).with_context(|| format!("setting {key} to {value}"));
                    }
                    _ => {}
                }
            }
            Ok(())
        })?
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        delete(&self.name);
    }
}

/// Takes the name away; the namespace goes with its last process and socket.
pub(crate) fn delete(name: &str) {
    if let Err(error) = process::output(process::command("ip").args(["netns", "delete", name])) {
        eprintln!("cannot delete namespace {name}: {error:#}");
    }
}
