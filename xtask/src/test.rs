//! `cargo xtask test`: every test of the workspace.
//!
//! All of it in the development profile: xtask itself has just been built in
//! it, so that no dependency is compiled twice, and arithmetic overflows panic.
//! The XDP programs are optimised all the same: their build has its own profile.

use anyhow::Result;

use crate::cargo;
use crate::setup::{self, Purpose};

/// Builds lbd and lbctl, which the end-to-end tests start, then runs the tests.
/// A test program that fails does not keep the others from running.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    setup::ensure(&[Purpose::Build, Purpose::Run])?;
    // The same packages as below, so that their dependencies' features, and
    // with them the compiled dependencies, are the same.
    cargo::run(&["build", "--workspace", "--exclude", "lb-ebpf", "--bins"])?;
    let mut command = cargo::command(&["test", "--workspace", "--exclude", "lb-ebpf"]);
    command.args(["--no-fail-fast", "--"]).args(arguments);
    command.env("LBD_BIN_DIR", cargo::programs_of("debug")?);
    cargo::execute(&mut command)
}
