//! `cargo xtask test`: every test of the workspace.
//!
//! All of it in the development profile: xtask itself has just been built in
//! it, so that no dependency is compiled twice, and arithmetic overflows panic.
//! The XDP programs are optimised all the same: their build has its own profile.

use std::process::Command;

use anyhow::Result;

use crate::cargo;
use crate::setup::{self, Purpose};

/// Always the same packages, so that their dependencies' features, and with them
/// the compiled dependencies, are the same.
const PACKAGES: [&str; 3] = ["--workspace", "--exclude", "lb-ebpf"];

/// A test program that fails does not keep the others from running.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    setup::ensure(&[Purpose::Build, Purpose::Run])?;
    build_binaries()?;
    let mut command = command(&[])?;
    command.args(["--no-fail-fast", "--"]).args(arguments);
    cargo::execute(&mut command)
}

/// Builds lbd and lbctl, which the end-to-end tests start.
pub(crate) fn build_binaries() -> Result<()> {
    build(&["--bins"])
}

/// Builds some of the workspace's targets.
pub(crate) fn build(targets: &[&str]) -> Result<()> {
    cargo::run(&[&["build"], &PACKAGES[..], targets].concat())
}

/// `cargo OPTIONS test`, for further arguments.
pub(crate) fn command(options: &[&str]) -> Result<Command> {
    let mut command = cargo::command(&[options, &["test"], &PACKAGES[..]].concat());
    command.env("LBD_BIN_DIR", cargo::programs_of("debug")?);
    Ok(command)
}
