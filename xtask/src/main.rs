//! `cargo xtask`: the project's chores. On a fresh machine each of them first
//! installs what it needs (`setup`), so that one command is enough.

mod bench;
mod cargo;
mod ci;
mod demo;
mod setup;
mod test;
mod verify;
mod vm;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use setup::Purpose;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's chores")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Make this machine able to build, show and test: install what is missing.
    Setup {
        /// Only say what is missing; exit 1 if anything is.
        #[arg(long)]
        check: bool,
    },
    /// Build lbd and lbctl, optimised, into target/release.
    Build,
    /// Write the manual's pages, one for each command, into target/man.
    Man,
    /// Show load balancing in a network of namespaces: dr, nat and tun.
    Demo,
    /// Run every test: unit, packet and end to end, on this machine's kernel.
    Test {
        /// Passed on to the test programs: a name to filter by, --nocapture …
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measure the data plane, pure code, what speed downloads keep under a flood, the daemon with
    /// 10,000 services, or lbd beside others.
    Bench {
        /// Passed on to the bench: names of cases and groups, --json FILE … (docs/performance.md)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Load every XDP program and hold what the verifier made of it to its budget.
    Verify {
        /// Write new budgets: what is now, and room.
        #[arg(long)]
        record: bool,
    },
    /// Run the tests that are for it on the oldest kernel supported, in a virtual machine.
    Vm {
        /// A directory with another kernel: an unpacked Debian package, or / for this machine's.
        #[arg(long)]
        kernel: Option<PathBuf>,
        /// Instead of the tests, run this there, as root, in the current directory.
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Run what every change must pass: test, verify, vm, formatting, lints.
    Ci,
}

fn main() -> ExitCode {
    match run(Arguments::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> Result<()> {
    match chore {
        Chore::Setup { check: true } => setup::check(),
        Chore::Setup { check: false } => setup::setup(),
        Chore::Build => build(),
        Chore::Man => man(),
        Chore::Demo => demo::run(),
        Chore::Test { arguments } => test::run(&arguments),
        Chore::Bench { arguments } => bench::run(&arguments),
        Chore::Verify { record } => verify::run(record),
        Chore::Vm { kernel, command } => vm::run(kernel, &command),
        Chore::Ci => ci::run(),
    }
}

/// Builds the release binaries.
fn build() -> Result<()> {
    setup::ensure(&[Purpose::Build])?;
    cargo::run(&["build", "--release", "--package", "lb-daemon"])
}

/// lbd(8), lbctl(8) and one page for each of lbctl's commands.
fn man() -> Result<()> {
    setup::ensure(&[Purpose::Build])?;
    let example = ["run", "--package", "lb-daemon", "--example", "man", "--"];
    cargo::run(&[&example[..], &["target/man"]].concat())
}
