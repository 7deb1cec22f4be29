//! Installing on Debian and its kin: packages by apt, bpf-linker by cargo.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::requirement::Requirement;
use super::{kernel, programs, schemathesis};
use crate::cargo;

/// The version that goes with the compilers of [`super::compiler`]: the linker's
/// LLVM must read what the compiler's LLVM writes.
const BPF_LINKER: [&str; 6] = [
    "bpf-linker",
    "--version",
    "0.13.0",
    "--no-default-features",
    "--features",
    "llvm-22",
];

/// How llvm-sys is told where LLVM is.
const LLVM_VARIABLES: [(&str, &str); 2] = [
    ("LLVM_PREFIX", "/usr/lib/llvm-22"),
    ("LLVM_SYS_221_PREFIX", "/usr/lib/llvm-22"),
];

/// Packages that bring a service, and its name.
const SERVICES: [(&str, &str); 7] = [
    ("nginx-light", "nginx"),
    ("bind9", "named"),
    ("vsftpd", "vsftpd"),
    ("opensmtpd", "opensmtpd"),
    ("redis-server", "redis-server"),
    ("mariadb-server", "mariadb"),
    ("haproxy", "haproxy"),
];

/// Where Debian asks whether a service may be started.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// The second line of a policy of ours.
const OUR_POLICY: &str = "# written by cargo xtask setup";

/// Whether this is such a system.
pub(crate) fn is_here() -> bool {
    Path::new("/etc/debian_version").exists() && programs::find("apt-get").is_some()
}

/// Whether we may install what is missing: packages take root, the rest does not.
pub(crate) fn may_install(missing: &[Requirement]) -> bool {
    packages(missing).is_empty() || is_root()
}

/// Installs it.
pub(crate) fn install(missing: &[Requirement]) -> Result<()> {
    let packages = packages(missing);
    if !packages.is_empty() {
        install_packages(&packages)?;
    }
    if needs(missing, Requirement::BpfLinker) {
        println!("setup: compiling bpf-linker (about a minute)");
        let mut command = cargo::command(&["install"]);
        command.args(BPF_LINKER).envs(LLVM_VARIABLES);
        cargo::execute(&mut command)?;
    }
    if needs(missing, Requirement::Schemathesis) {
        schemathesis::install()?;
    }
    if needs(missing, Requirement::VmKernel) {
        kernel::fetch()?;
    }
    Ok(())
}

/// The same as commands to type.
pub(crate) fn commands(missing: &[Requirement]) -> Vec<String> {
    let mut commands = Vec::new();
    let packages = packages(missing);
    if !packages.is_empty() {
        commands.push("sudo apt-get update".to_owned());
        commands.push(format!(
            "sudo apt-get install --no-install-recommends {}",
            packages.join(" ")
        ));
    }
    if needs(missing, Requirement::BpfLinker) {
        let variables = LLVM_VARIABLES.map(|(name, value)| format!("{name}={value}"));
        commands.push(format!(
            "{} cargo install {}",
            variables.join(" "),
            BPF_LINKER.join(" ")
        ));
    }
    if needs(missing, Requirement::Schemathesis) {
        commands.push(Requirement::Schemathesis.elsewhere());
    }
    if needs(missing, Requirement::VmKernel) {
        commands.push("cargo xtask setup    # unpacks a kernel in the target directory".to_owned());
    }
    commands
}

fn needs(missing: &[Requirement], what: Requirement) -> bool {
    let is_it = |of: &Requirement| std::mem::discriminant(of) == std::mem::discriminant(&what);
    missing.iter().any(is_it)
}

/// The packages that are not installed yet.
fn packages(missing: &[Requirement]) -> Vec<&'static str> {
    let mut packages: Vec<_> = missing
        .iter()
        .flat_map(|requirement| requirement.packages())
        .filter(|package| !is_installed(package))
        .collect();
    packages.dedup();
    packages
}

fn is_installed(package: &str) -> bool {
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output();
    output.is_ok_and(|output| output.stdout == b"installed")
}

pub(super) fn is_root() -> bool {
    let output = Command::new("id").arg("--user").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn install_packages(packages: &[&str]) -> Result<()> {
    println!("setup: installing {}", packages.join(" "));
    let services: Vec<_> = SERVICES
        .iter()
        .filter(|(package, _)| packages.contains(package))
        .map(|(_, service)| *service)
        .collect();
    let policy = match services.as_slice() {
        [] => None,
        services => Some(NoServices::enforce(services)?),
    };
    // The package lists may be absent or too old for the archive: only then are
    // they fetched.
    if apt_get(&["install"], packages).is_err() {
        println!("setup: once more with new package lists");
        update()?;
        apt_get(&["install"], packages).with_context(|| {
            format!(
                "installing {}; for the compiler there is also `{}`",
                packages.join(" "),
                Requirement::BpfCompiler.elsewhere()
            )
        })?;
    }
    drop(policy);
    keep_off_at_boot(&services)
}

fn apt_get(verb: &[&str], packages: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command
        .args(["--yes", "--quiet", "--no-install-recommends"])
        .args(verb)
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null());
    cargo::execute(&mut command)
}

/// Fetches the package lists.
pub(super) fn update() -> Result<()> {
    apt_get(&["update"], &[])
}

/// Downloads packages into a directory, without installing them: anybody may.
pub(super) fn download(packages: &[&str], directory: &Path) -> Result<()> {
    let mut command = Command::new("apt-get");
    command
        .args(["--quiet", "download"])
        .args(packages)
        // Only root may fetch as somebody else, who may not write into our directory.
        .args(["--option", "APT::Sandbox::User=root"])
        .current_dir(directory)
        .stdin(Stdio::null());
    cargo::execute(&mut command)
}

/// The servers are for our namespaces only: what we brought does not start at
/// the next boot either. Without systemd nothing would start it.
fn keep_off_at_boot(services: &[&str]) -> Result<()> {
    if services.is_empty() || programs::find("systemctl").is_none() {
        return Ok(());
    }
    let mut command = Command::new("systemctl");
    command.args(["--quiet", "disable"]).args(services);
    cargo::execute(&mut command).context("keeping the new servers from starting at boot")
}

/// While this lives, installing a package starts no service (policy-rc.d, see
/// /usr/share/doc/init-system-helpers/README.policy-rc.d.gz).
struct NoServices;

impl NoServices {
    /// Puts a policy of ours in place. A policy that is there is not touched: it
    /// must forbid `services` by itself. Ours forbids nothing once we are gone,
    /// even if nobody takes it away.
    fn enforce(services: &[&str]) -> Result<Option<Self>> {
        let ours = fs::read_to_string(POLICY).is_ok_and(|text| text.contains(OUR_POLICY));
        if ours {
            fs::remove_file(POLICY).with_context(|| format!("removing our old {POLICY}"))?;
        }
        if Path::new(POLICY).exists() {
            return Self::trust_theirs(services).map(|()| None);
        }
        let text = format!(
            "#!/bin/sh\n{OUR_POLICY}: until it has ended, no service is started\n\
             [ -d /proc/{} ] && exit 101\nexit 0\n",
            std::process::id()
        );
        let mut file = fs::File::options()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(POLICY)
            .with_context(|| format!("creating {POLICY}"))?;
        file.write_all(text.as_bytes())?;
        Ok(Some(Self))
    }

    fn trust_theirs(services: &[&str]) -> Result<()> {
        for service in services {
            let status = Command::new(POLICY)
                .args([service, "start"])
                .stdout(Stdio::null())
                .status()
                .with_context(|| format!("asking {POLICY}"))?;
            if status.code() != Some(101) {
                bail!(
                    "{POLICY} would let {service} start on this machine; \
                     install the packages by hand"
                );
            }
        }
        Ok(())
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(POLICY) {
            eprintln!("xtask: cannot remove {POLICY}: {error}");
        }
    }
}
