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

/// Packet tests of what the kernel has a part in: maps, iterators, next hops, frames in several
/// buffers, several processors, traffic control. Each loads every program. The processor is
/// emulated, and what the others ask is up to the programs' instructions alone.
const PACKET_TESTS: [&str; 17] = [
    "adoption::",
    "counters::",
    "cutting::",
    "direct::",
    "expiry::",
    "fragments::",
    "local::",
    "nat::",
    "next_hop::",
    "path_mtu::",
    "persistence::",
    "probe_path::",
    "races::",
    "segments::",
    "sweep::",
    "tunnel::",
    "vlan::",
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
    run_test(kernel, "packet", &PACKET_TESTS)?;
    run_test(kernel, "vm", &[])
}

/// Builds outside and runs inside: cargo starts the test program by `tests/vm/run`,
/// as it would start an emulator for another processor.
fn run_test(kernel: &Path, name: &str, filters: &[&str]) -> Result<()> {
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
    command.args(["--test", name, "--"]).args(filters);
    cargo::execute(&mut command)
}

fn runner() -> PathBuf {
    cargo::workspace().join("tests/vm/run")
}
