//! `cargo xtask bench`: runs the data plane's benchmark of lb-tests.

use anyhow::Result;

use crate::cargo;
use crate::setup::{self, Purpose};

/// Hands the arguments on.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    setup::ensure(&[Purpose::Build, Purpose::Run])?;
    // What is measured runs in the kernel, and is optimised in every profile.
    let mut command = cargo::command(&[
        "bench",
        "--profile",
        "dev",
        "-p",
        "lb-tests",
        "--bench",
        "dataplane",
    ]);
    command.arg("--").args(arguments);
    cargo::execute(&mut command)
}
