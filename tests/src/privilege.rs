//! May we do what a test needs? Where not, the test is skipped with its reason;
//! with `CI=true` that is a failure, so that nothing is skipped unseen.

use std::env;
use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context, Error, Result, bail};

use crate::namespace::Namespace;
use crate::{process, python, scratch, xdp_pass};

/// Whether XDP programs can be loaded: what packet tests need. To be asked at
/// the head of each: `if !privilege::bpf() { return; }`.
///
/// # Panics
/// With `CI=true` where they cannot.
pub fn bpf() -> bool {
    granted(xdp_pass::load().map(drop))
}

/// Whether namespaces can be made, XDP programs attached and the servers found:
/// what end-to-end tests need.
///
/// # Panics
/// With `CI=true` where this is not so.
pub fn network() -> bool {
    // The answer does not change, and finding it takes a moment.
    static CHECKED: OnceLock<Result<(), String>> = OnceLock::new();
    let checked = CHECKED.get_or_init(|| check_network().map_err(|error| format!("{error:#}")));
    granted(checked.clone().map_err(Error::msg))
}

/// Whether a program of ours is installed; to be asked after [`network`].
///
/// # Panics
/// With `CI=true` where it is not.
pub fn program(path: &Path) -> bool {
    let missing = || {
        let path = path.display();
        Error::msg(format!("no {path}; `cargo xtask setup` installs it"))
    };
    granted(if path.exists() {
        Ok(())
    } else {
        Err(missing())
    })
}

/// Whether the system's Python has a module; to be asked after [`network`].
///
/// # Panics
/// With `CI=true` where it has not.
pub fn python(module: &str) -> bool {
    granted(if python::has(module) {
        Ok(())
    } else {
        Err(Error::msg(format!(
            "{} has no {module}; `cargo xtask setup` installs it",
            python::PROGRAM
        )))
    })
}

/// Says what is missing for [`network`].
pub fn check_network() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("network namespaces need root");
    }
    let programs = [
        ("ip", "-V"),
        ("ethtool", "--version"),
        ("nginx", "-v"),
        ("curl", "--version"),
        ("named", "-v"),
        ("dig", "-v"),
        ("vsftpd", "-v"),
        ("lftp", "--version"),
        ("smtpd", "-h"),
        ("redis-server", "--version"),
        ("redis-cli", "--version"),
        ("mariadbd", "--version"),
        ("mariadb", "--version"),
        ("openssl", "version"),
        ("tcpdump", "--version"),
        ("tshark", "--version"),
    ];
    for (program, version) in programs {
        process::capture(process::command(program).arg(version))
            .context("a program is missing; `cargo xtask setup` installs it")?;
    }
    xdp_pass::load()?;
    let name = scratch::namespace_name(scratch::next_number(), "probe");
    Namespace::create(&name).map(drop)
}

fn granted(check: Result<()>) -> bool {
    let Err(error) = check else { return true };
    let ci = env::var("CI").is_ok_and(|value| value == "true");
    assert!(!ci, "missing privilege with CI=true: {error:#}");
    eprintln!("skipped: {error:#}");
    false
}
