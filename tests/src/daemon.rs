//! lbd on the director of a network, and lbctl beside it.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;

use crate::certificate;
use crate::process::{self, Process};
use crate::topology::{Method, PORT, Topology};
use crate::wait;

/// How long lbd may take to reload.
const RELOAD_LIMIT: Duration = Duration::from_secs(10);

/// Where lbd and lbctl are.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The daemon.
    pub lbd: PathBuf,
    /// The command line.
    pub lbctl: PathBuf,
}

impl Binaries {
    /// In `LBD_BIN_DIR`, else beside the running test or xtask (`target/PROFILE`,
    /// or `target/PROFILE/deps`), else in `target/release`.
    pub fn locate() -> Result<Self> {
        if let Some(directory) = env::var_os("LBD_BIN_DIR") {
            return Self::inside(Path::new(&directory));
        }
        let program = env::current_exe().context("finding our own program")?;
        let nearby = program.ancestors().skip(1).take(2);
        let release = program.ancestors().skip(2).take(2);
        nearby
            .map(Path::to_owned)
            .chain(release.map(|directory| directory.join("release")))
            .find_map(|directory| Self::inside(&directory).ok())
            .context("lbd and lbctl are not built: cargo build --release -p lb-daemon")
    }

    /// In this directory.
    pub fn inside(directory: &Path) -> Result<Self> {
        let find = |name| {
            let path = directory.join(name);
            path.canonicalize()
                .with_context(|| format!("no {}", path.display()))
        };
        Ok(Self {
            lbd: find("lbd")?,
            lbctl: find("lbctl")?,
        })
    }
}

/// A configuration for `network`: director and capacity sections, then
/// `services` (see [`service`]). Everything lbd writes goes into the network's
/// own directory and bpffs.
///
/// `reuse_fin_wait`: networks with the same addresses share the kernel's counter
/// of client ports (`table_perturb` in net/ipv4/inet_hashtables.c), which may
/// step back when two use it at once. A port that comes again so soon would, by
/// dr and tun, belong to its old connection, and exact spreads would not be.
pub fn configuration(network: &Topology, services: &str) -> Result<String> {
    let directory = network.directory().display();
    let pins = network.scratch().bpffs()?.join("lbd");
    let mode = if network.spec().native {
        "native"
    } else {
        "generic"
    };
    Ok(format!(
        "[director]\n\
         interfaces = {:?}\n\
         xdp_mode = \"{mode}\"\n\
         pin_dir = \"{}\"\n\
         state_dir = \"{directory}/state\"\n\
         socket = \"{directory}/lbd.sock\"\n\
         \n\
         [capacity]\n\
         services = 64\n\
         reals = 1024\n\
         connections = 16384\n\
         persistence = 4096\n\
         \n\
         [options]\n\
         reuse_fin_wait = true\n\
         \n\
         {services}",
        network.interfaces(),
        pins.display(),
    ))
}

/// A TCP service on the network's VIP with its first reals, which have the
/// given weights: `service(&network, "wrr", &[1, 2, 3])`.
pub fn service(network: &Topology, scheduler: &str, weights: &[u32]) -> String {
    service_at(network, "web", "tcp", PORT, scheduler, weights)
}

/// As [`service`], of any name, protocol and port; the reals have the same port.
pub fn service_at(
    network: &Topology,
    name: &str,
    protocol: &str,
    port: u16,
    scheduler: &str,
    weights: &[u32],
) -> String {
    let mut text = format!(
        "[[service]]\n\
         name = \"{name}\"\n\
         protocol = \"{protocol}\"\n\
         address = \"{}\"\n\
         port = {port}\n\
         scheduler = \"{scheduler}\"\n\
         forward = \"{}\"\n",
        network.vip(),
        network.spec().method.name(),
    );
    for (real, weight) in network.reals.iter().zip(weights) {
        let port = match network.spec().method {
            Method::Nat => format!("port = {port}\n"),
            Method::Dr | Method::Tun => String::new(),
        };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n[[service.real]]\naddress = \"{}\"\n{port}weight = {weight}\n",
            real.address()
        );
    }
    text
}

/// A running lbd. Dropping it kills it; what it pinned goes with the network.
#[derive(Debug)]
pub struct Daemon<'network> {
    network: &'network Topology,
    binaries: Binaries,
    process: Process,
    notifications: UnixDatagram,
}

impl<'network> Daemon<'network> {
    /// Writes the configuration, starts lbd on the director and waits until it
    /// says that it is ready.
    pub fn start(
        network: &'network Topology,
        binaries: &Binaries,
        configuration: &str,
    ) -> Result<Self> {
        fs::write(config_path(network), configuration)?;
        let (process, notifications) = launch(network, binaries)?;
        let mut daemon = Self {
            network,
            binaries: binaries.clone(),
            process,
            notifications,
        };
        daemon.wait_for("READY=1", wait::START_LIMIT)?;
        Ok(daemon)
    }

    /// Runs lbd with this configuration to its end, for starts that must fail:
    /// its exit status and all that it said.
    pub fn fail_to_start(
        network: &Topology,
        binaries: &Binaries,
        configuration: &str,
    ) -> Result<(ExitStatus, String)> {
        let path = network.directory().join("failing.toml");
        let log = network.directory().join("failing.log");
        fs::write(&path, configuration)?;
        let _ = fs::remove_file(&log);
        let mut command = network.director.command(&binaries.lbd);
        command.arg("--config").arg(path);
        let mut process = Process::spawn("lbd", &mut command, &log)?;
        let status = process.wait(wait::START_LIMIT)?;
        Ok((status, process.log()))
    }

    /// Its log since the first start in this network.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The process: to send signals, to kill it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// How many processes it has started, and they have, that are there.
    pub fn descendants(&self) -> usize {
        process::descendants(self.process.pid()).len()
    }

    /// The path of its configuration.
    pub fn config_path(&self) -> PathBuf {
        config_path(self.network)
    }

    /// The path of its API socket.
    pub fn socket(&self) -> PathBuf {
        self.network.directory().join("lbd.sock")
    }

    /// Writes a new configuration, sends SIGHUP and waits until the reload is
    /// over, whatever came of it.
    pub fn reload(&mut self, configuration: &str) -> Result<()> {
        self.write_config(configuration)?;
        self.process.signal(Signal::SIGHUP)?;
        self.wait_for("RELOADING=1", RELOAD_LIMIT)?;
        self.wait_for("READY=1", RELOAD_LIMIT)
    }

    /// SIGTERM; the data plane goes on forwarding.
    pub fn stop(&mut self) -> Result<()> {
        let status = self.process.stop()?;
        ensure!(status.success(), "lbd ended with {status}:\n{}", self.log());
        Ok(())
    }

    /// SIGKILL; the data plane goes on forwarding.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts a new lbd with the same configuration, which adopts what is pinned.
    pub fn restart(&mut self) -> Result<()> {
        self.relaunch()?;
        self.wait_for("READY=1", wait::START_LIMIT)
    }

    /// As [`Self::restart`], but does not wait until it is ready: to kill it on its way there.
    pub fn relaunch(&mut self) -> Result<()> {
        self.process.kill();
        (self.process, self.notifications) = launch(self.network, &self.binaries)?;
        Ok(())
    }

    /// Writes a new configuration, for the next start or `lbctl reload`.
    pub fn write_config(&self, configuration: &str) -> Result<()> {
        // What earlier reloads, by lbctl too, have said is not about this one;
        // and lbd waits when ten messages lie unread (net.unix.max_dgram_qlen).
        while self.notifications.recv(&mut [0; 4096]).is_ok() {}
        let path = self.config_path();
        fs::write(&path, configuration).with_context(|| format!("writing {}", path.display()))
    }

    /// Runs lbctl with these arguments and returns what it printed.
    pub fn lbctl(&self, arguments: &[&str]) -> Result<String> {
        process::output(self.lbctl_command().args(arguments))
    }

    /// lbctl on this daemon's socket, for the arguments and the caller's own judgement of the end.
    pub fn lbctl_command(&self) -> Command {
        let mut command = self.network.director.command(&self.binaries.lbctl);
        command.arg("--socket").arg(self.socket());
        command
    }

    /// Waits until lbd has said `line` to its service manager.
    pub fn wait_for(&mut self, line: &str, limit: Duration) -> Result<()> {
        let Self {
            process,
            notifications,
            ..
        } = self;
        wait::try_until(&format!("lbd to say {line}"), limit, || {
            process.check_running()?;
            let mut message = [0; 4096];
            match notifications.recv(&mut message) {
                Ok(length) => Ok(String::from_utf8_lossy(&message[..length])
                    .lines()
                    .any(|said| said == line)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
                Err(error) => bail!(error),
            }
        })
        .with_context(|| format!("lbd's log:\n{}", self.log()))
    }
}

fn config_path(network: &Topology) -> PathBuf {
    network.directory().join("lbd.toml")
}

/// Starts lbd with a socket of ours in the service manager's place (`sd_notify(3)`).
fn launch(network: &Topology, binaries: &Binaries) -> Result<(Process, UnixDatagram)> {
    let directory = network.directory();
    let socket = directory.join("notify.sock");
    // A predecessor's last words must not be taken for ours.
    let _ = fs::remove_file(&socket);
    let notifications =
        UnixDatagram::bind(&socket).with_context(|| format!("binding {}", socket.display()))?;
    notifications.set_nonblocking(true)?;
    let mut command = network.director.command(&binaries.lbd);
    command
        .arg("--config")
        .arg(config_path(network))
        .env("NOTIFY_SOCKET", &socket);
    // Read by rustls-native-certs, as by OpenSSL.
    let roots = directory.join(certificate::ROOTS);
    if roots.exists() {
        command.env("SSL_CERT_FILE", roots);
    }
    let process = Process::spawn("lbd", &mut command, &directory.join("lbd.log"))?;
    Ok((process, notifications))
}
