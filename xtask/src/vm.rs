//! `cargo xtask vm`: the oldest kernel that lbd supports, in a virtual machine.
//!
//! `tests/vm/run` makes the machine, and its root is this machine's: what was
//! built here runs there, at the same paths.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::cargo;
use crate::setup::{self, Purpose, kernel};
use crate::test;

/// How long either may take, in seconds.
const LIMIT: &str = "1200";

/// Packet tests that load the programs for themselves, which takes the emulated processor a
/// quarter of a minute each time, and ask the kernel for nothing that others do not.
const LEFT_OUT: [&str; 16] = [
    "localities::",
    "replay::",
    "schedulers::",
    "turns::",
    "eligible::",
    "firewall_marks::",
    "next_hop::",
    "segments::",
    "adoption::a_migration",
    "adoption::connections",
    "adoption::every_plan",
    "adoption::other_layouts",
    "adoption::smaller",
    "adoption::the_image",
    "adoption::the_turn",
    "adoption::what_happens",
];

/// Runs a command; without one, the tests.
pub(crate) fn run(given: Option<PathBuf>, command: &[String]) -> Result<()> {
    let kernel = match given {
        Some(kernel) => {
            setup::ensure(&[Purpose::Vm])?;
            kernel.canonicalize()?
        }
        None => {
            setup::ensure(&[Purpose::Vm, Purpose::VmKernel])?;
            kernel::directory()?
        }
    };
    if command.is_empty() {
        return run_tests(&kernel);
    }
    let mut machine = Command::new(runner());
    machine.arg("--kernel").arg(kernel).arg("--").args(command);
    cargo::execute(&mut machine)
}

/// The packet tests, and the end-to-end tests of `tests/vm`.
fn run_tests(kernel: &Path) -> Result<()> {
    setup::ensure(&[Purpose::Build, Purpose::Run])?;
    test::build_binaries()?;
    run_test(kernel, "packet", &LEFT_OUT)?;
    run_test(kernel, "vm", &[])
}

/// Builds outside and runs inside: cargo starts the test program by `tests/vm/run`,
/// as it would start an emulator for another processor.
fn run_test(kernel: &Path, name: &str, left_out: &[&str]) -> Result<()> {
    let mut words = String::new();
    for word in [
        &runner().to_string_lossy(),
        "--timeout",
        LIMIT,
        "--kernel",
        &kernel.to_string_lossy(),
        "--",
    ] {
        // Rust quotes as TOML does, but for characters that no path has.
        write!(words, "{word:?}, ")?;
    }
    let runner = format!("target.'cfg(all())'.runner = [{words}]");
    let mut command = test::command(&["--config", &runner])?;
    command.args(["--test", name, "--"]);
    for tests in left_out {
        command.args(["--skip", tests]);
    }
    cargo::execute(&mut command)
}

fn runner() -> PathBuf {
    cargo::workspace().join("tests/vm/run")
}
