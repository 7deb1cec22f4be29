//! `cargo xtask ci`: what every change must pass; `.ci/run` runs just this.

use std::{fs, process::Command};

use anyhow::Result;

use crate::{cargo, test, verify, vm};

/// Tests, the verifier's counts, tests on the oldest kernel, formatting, lints.
pub(crate) fn run() -> Result<()> {
    test::run(&[])?;
    verify::run(false)?;
    vm::run(None, &[])?;
    cargo::run(&["fmt", "--all", "--", "--check"])?;
    format_schedulers()?;
    lint_host()?;
    lint_bpf()
}

/// Schedulers are declared by a macro, which `cargo fmt` does not look into.
fn format_schedulers() -> Result<()> {
    let mut files = Vec::new();
    for directory in ["lb-common/src/scheduler", "lb-ebpf/src/schedule"] {
        for entry in fs::read_dir(cargo::workspace().join(directory))? {
            files.push(entry?.path());
        }
    }
    let mut command = Command::new("rustfmt");
    command.args(["--edition", "2024", "--check"]).args(files);
    cargo::execute(&mut command)
}

/// Lints all that runs on the host, in the profile that the tests were built in.
fn lint_host() -> Result<()> {
    let mut command = cargo::command(&["clippy", "--workspace", "--exclude", "lb-ebpf"]);
    command.args(["--all-targets", "--", "-D", "warnings"]);
    cargo::execute(&mut command)
}

/// Lints the XDP programs, type-checked for the host: the compiler that builds
/// them for the BPF target need not have a clippy, and the one that we have has
/// no core library for that target. `RUSTC_BOOTSTRAP` lets it accept the nightly
/// features; the profile is the one without unwinding, and keeps the artifacts
/// of this odd build to itself.
fn lint_bpf() -> Result<()> {
    let mut command = cargo::command(&["clippy", "--package", "lb-ebpf", "--bins"]);
    command
        .args(["--profile", "bpf", "--", "-D", "warnings"])
        .env("RUSTC_BOOTSTRAP", "1");
    cargo::execute(&mut command)
}
