//! The virtual machine's kernel: Debian 12's, and a static busybox for its first
//! steps. Both packages are unpacked in cargo's target directory, not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::debian;
use crate::cargo;

/// The kernel's series: the oldest that lbd supports.
pub(super) const SERIES: &str = "6.1";

/// What is unpacked beside the kernel.
const BUSYBOX: &str = "busybox-static";

/// The directory for `tests/vm/run`.
pub(crate) fn directory() -> Result<PathBuf> {
    Ok(cargo::target()?.join(format!("vm/linux-{SERIES}")))
}

/// Whether it is there.
pub(super) fn is_unpacked() -> bool {
    directory().is_ok_and(|directory| directory.is_dir())
}

/// Downloads the packages and unpacks them; all or nothing.
pub(super) fn fetch() -> Result<()> {
    let directory = directory()?;
    let parts = directory.with_file_name("parts");
    if parts.exists() {
        fs::remove_dir_all(&parts).with_context(|| format!("removing {}", parts.display()))?;
    }
    fs::create_dir_all(&parts).with_context(|| format!("creating {}", parts.display()))?;
    download(&parts)?;
    let root = parts.join("root");
    for entry in fs::read_dir(&parts)? {
        let archive = entry?.path();
        if archive
            .extension()
            .is_some_and(|extension| extension == "deb")
        {
            unpack(&archive, &root)?;
        }
    }
    fs::rename(&root, &directory).with_context(|| format!("making {}", directory.display()))?;
    fs::remove_dir_all(&parts).with_context(|| format!("removing {}", parts.display()))
}

/// The package lists may be absent, or name what the archive no longer has: then
/// they are fetched, which takes root.
fn download(parts: &Path) -> Result<()> {
    let attempt = || -> Result<()> {
        let Some(package) = newest()? else {
            bail!(
                "the package lists have no Linux {SERIES}: Debian 12's have, after `apt-get \
                 update`; on another system unpack its linux-image-{SERIES}.*-amd64 and name \
                 the directory: cargo xtask vm --kernel DIR"
            );
        };
        println!("setup: fetching {package} and {BUSYBOX} for the virtual machine");
        debian::download(&[&package, BUSYBOX], parts)
    };
    match attempt() {
        Err(_) if debian::is_root() => {
            println!("setup: once more with new package lists");
            debian::update()?;
            attempt()
        }
        result => result,
    }
}

/// The newest kernel of the series in the archive.
fn newest() -> Result<Option<String>> {
    let prefix = format!("linux-image-{SERIES}.");
    let names = Command::new("apt-cache")
        .args(["pkgnames", &prefix])
        .output()
        .context("starting apt-cache")?;
    let names = String::from_utf8_lossy(&names.stdout).into_owned();
    let newest = names
        .lines()
        .filter_map(|name| Some((version(name.strip_prefix(&prefix)?)?, name)))
        .max();
    Ok(newest.map(|(_, name)| name.to_owned()))
}

/// `0-56-amd64` is the plain kernel's 56th interface; others (`0-56-cloud-amd64`,
/// `0-56-amd64-dbg`) have none.
fn version(rest: &str) -> Option<(u32, u32)> {
    let (patch, interface) = rest.strip_suffix("-amd64")?.split_once('-')?;
    Some((patch.parse().ok()?, interface.parse().ok()?))
}

fn unpack(archive: &Path, root: &Path) -> Result<()> {
    let mut command = Command::new("dpkg-deb");
    command.arg("--extract").arg(archive).arg(root);
    cargo::execute(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_kernels_have_a_version() {
        assert_eq!(version("0-56-amd64"), Some((0, 56)));
        assert!(version("0-9-amd64") < version("0-56-amd64"));
        for other in [
            "0-56-cloud-amd64",
            "0-56-amd64-dbg",
            "0-56-rt-amd64",
            "0-56-arm64",
        ] {
            assert_eq!(version(other), None, "{other}");
        }
    }
}
