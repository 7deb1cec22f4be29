//! `cargo xtask test`: every test of the workspace.
//!
//! All of it in the development profile: xtask itself has just been built in
//! it, so that no dependency is compiled twice, and arithmetic overflows panic.
//! The XDP programs are optimised all the same: their build has its own profile.

use std::num::NonZero;
use std::process::Command;
use std::{env, thread};

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
    if env::var_os("RUST_TEST_THREADS").is_none() {
        command.env("RUST_TEST_THREADS", threads().to_string());
    }
    command.args(["--no-fail-fast", "--"]).args(arguments);
    cargo::execute(&mut command)
}

/// Half as many again as processors: the end-to-end tests, which take longest, wait most of
/// the time.
fn threads() -> usize {
    let processors = thread::available_parallelism().map_or(2, NonZero::get);
    processors + processors.div_ceil(2)
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
