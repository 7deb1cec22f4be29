//! schemathesis, which asks the API what its document has: from PyPI, with Python
//! packages of its own in cargo's target directory.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cargo;

/// A new one may ask for more, so that the tests would fail on their own.
pub(crate) const VERSION: &str = "4.32.5";

fn directory() -> Result<PathBuf> {
    Ok(cargo::target()?.join("schemathesis"))
}

/// Whether this version of it is there.
pub(crate) fn is_installed() -> bool {
    let installed = || {
        let program = directory()?.join("bin/schemathesis");
        let output = Command::new(program).arg("--version").output()?;
        anyhow::Ok(String::from_utf8_lossy(&output.stdout).contains(VERSION))
    };
    installed().unwrap_or(false)
}

/// Downloads it, with what it needs.
pub(crate) fn install() -> Result<()> {
    let directory = directory()?;
    let mut python = Command::new("python3");
    cargo::execute(python.args(["-m", "venv"]).arg(&directory))
        .context("Debian has Python's venv in python3-venv")?;
    let mut pip = Command::new(directory.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"]);
    cargo::execute(pip.arg(format!("schemathesis=={VERSION}")))
}
