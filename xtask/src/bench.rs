//! `cargo xtask bench`: runs the benchmarks of lb-tests.

use anyhow::Result;

use crate::setup::{self, Purpose};
use crate::{cargo, test};

/// Hands the arguments on.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    setup::ensure(&[Purpose::Build, Purpose::Run])?;
    if arguments.iter().any(|argument| argument == "compare") {
        setup::ensure(&[Purpose::Compare])?;
    }
    // For the floods, which lbd itself is to stand.
    test::build_binaries()?;
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
    command
        .env("LBD_BIN_DIR", cargo::programs_of("debug")?)
        .arg("--")
        .args(arguments);
    cargo::execute(&mut command)
}
