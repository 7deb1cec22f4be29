//! vsftpd on a real: anonymous, passive FTP as from the VIP, and a log that
//! tells which sessions and files were its.

use std::fs::{self, Permissions};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::http;
use crate::namespace::Namespace;
use crate::process::{self, Process};
use crate::topology::{Family, Host};
use crate::wait;

/// Where clients begin.
pub const CONTROL_PORT: u16 = 21;

/// Where the server listens for passive data connections.
pub const PASSIVE_PORTS: RangeInclusive<u16> = 30_000..=30_100;

/// Who comes when so many are there is turned away (status 421).
pub const MOST_CLIENTS: usize = 20;

/// The directory that clients may write to.
pub const INCOMING: &str = "incoming";

/// A running FTP server.
#[derive(Debug)]
pub struct FtpServer {
    process: Process,
    directory: PathBuf,
}

impl FtpServer {
    /// Starts vsftpd on `real` at `address`, with its files in a new directory under
    /// `scratch`; in answer to PASV it names `vip`.
    pub fn start(real: &Host, address: IpAddr, vip: Ipv4Addr, scratch: &Path) -> Result<Self> {
        let (name, family) = (real.name(), Family::of(address));
        let directory = scratch.join(format!("{name}-ftp-{family:?}"));
        fs::create_dir_all(directory.join("root").join(INCOMING))?;
        // The server's user has to get there, and may write in one place alone.
        for (path, mode) in [
            (scratch.to_owned(), 0o711),
            (directory.join("root").join(INCOMING), 0o777),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(mode))
                .with_context(|| format!("opening {} to the server", path.display()))?;
        }
        let configuration = directory.join("vsftpd.conf");
        fs::write(&configuration, vsftpd_conf(name, address, vip, &directory))?;
        let mut command = real.command("vsftpd");
        command.arg(&configuration);
        let what = format!("vsftpd on {name}");
        let mut process = Process::spawn(&what, &mut command, &directory.join("vsftpd.out"))?;
        wait::try_until(&format!("{what} to listen"), wait::START_LIMIT, || {
            process.check_running()?;
            real.enter(|| TcpStream::connect((address, CONTROL_PORT)).is_ok())
        })?;
        Ok(Self { process, directory })
    }

    /// Puts a copy of `file` where clients find it.
    pub fn publish(&self, name: &str, file: &Path) -> Result<()> {
        let to = self.directory.join("root").join(name);
        fs::copy(file, &to).with_context(|| format!("publishing {}", file.display()))?;
        fs::set_permissions(&to, Permissions::from_mode(0o644))?;
        Ok(())
    }

    /// Where an uploaded file is.
    pub fn uploaded(&self, name: &str) -> PathBuf {
        self.directory.join("root").join(INCOMING).join(name)
    }

    /// The lines of its log that hold all of `parts`: `CONNECT`, `OK UPLOAD`,
    /// `OK DOWNLOAD`, the client's address in quotation marks.
    pub fn logged(&self, parts: &[&str]) -> usize {
        let log = fs::read_to_string(self.directory.join("vsftpd.log")).unwrap_or_default();
        let fits = |line: &&str| parts.iter().all(|part| line.contains(part));
        log.lines().filter(fits).count()
    }

    /// The process: to stop it, kill it, look at its output.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// Logs in from `client`: the name of who let it in.
pub fn log_in(client: &Namespace, server: IpAddr) -> Result<String> {
    let mut command = http::curl(client);
    // The head of a directory takes no data connection.
    command.args(["--verbose", "--head", "--max-time", http::REQUEST_LIMIT]);
    let output = process::capture(command.arg(format!("ftp://{server}/")))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    let name = said.lines().find_map(|line| line.strip_prefix("< 220 "));
    Ok(name.context("no greeting")?.trim_end().to_owned())
}

/// Nothing of the machine's own vsftpd. A server for each family: one that listens for
/// both takes `pasv_address` for an IPv4-mapped address, and names another.
fn vsftpd_conf(name: &str, address: IpAddr, vip: Ipv4Addr, directory: &Path) -> String {
    let listen = match address {
        IpAddr::V4(address) => format!("listen=YES\nlisten_address={address}"),
        IpAddr::V6(address) => format!("listen=NO\nlisten_ipv6=YES\nlisten_address6={address}"),
    };
    let directory = directory.display();
    let (first, last) = (PASSIVE_PORTS.start(), PASSIVE_PORTS.end());
    format!(
        "background=NO\n\
         {listen}\n\
         listen_port={CONTROL_PORT}\n\
         anonymous_enable=YES\n\
         no_anon_password=YES\n\
         anon_root={directory}/root\n\
         anon_upload_enable=YES\n\
         anon_umask=022\n\
         write_enable=YES\n\
         local_enable=NO\n\
         ftpd_banner={name}\n\
         max_clients={MOST_CLIENTS}\n\
         secure_chroot_dir={directory}\n\
         port_enable=NO\n\
         pasv_enable=YES\n\
         pasv_address={vip}\n\
         pasv_min_port={first}\n\
         pasv_max_port={last}\n\
         idle_session_timeout=60\n\
         data_connection_timeout=60\n\
         isolate=NO\n\
         isolate_network=NO\n\
         seccomp_sandbox=NO\n\
         xferlog_enable=YES\n\
         vsftpd_log_file={directory}/vsftpd.log\n"
    )
}
