//! `cargo xtask bench`: runs the benchmarks, of lb-tests or, by `pure`, of
//! lb-common.

use std::env;
use std::ffi::OsString;

use anyhow::{Context, Result};

use crate::setup::{self, Purpose};
use crate::{cargo, test};

/// Hands the arguments on.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    match arguments {
        [first, others @ ..] if first == "pure" => pure(others),
        _ => data_plane(arguments),
    }
}

/// By criterion, on the host.
fn pure(arguments: &[String]) -> Result<()> {
    setup::ensure(&[Purpose::Build])?;
    let mut command = cargo::command(&["bench", "-p", "lb-common", "--features", "user"]);
    command.args(["--bench", "pure", "--"]).args(arguments);
    cargo::execute(&mut command)
}

fn data_plane(arguments: &[String]) -> Result<()> {
    setup::ensure(&[Purpose::Build, Purpose::Run])?;
    if arguments.iter().any(|argument| argument == "compare") {
        setup::ensure(&[Purpose::Compare])?;
    }
    // For the floods, which lbd itself is to stand, and for its own times, which are those
    // of the optimised one.
    let is_of_lbd = |argument: &String| ["scale", "checks"].contains(&argument.as_str());
    let binaries = if arguments.iter().any(is_of_lbd) {
        cargo::run(&["build", "--release", "--package", "lb-daemon", "--bins"])?;
        "release"
    } else {
        test::build_binaries()?;
        "debug"
    };
    // What is measured runs in the kernel, and is optimised in every profile, but for
    // the walk over the tables.
    let is_of_daemon = |argument: &String| ["walk", "all"].contains(&argument.as_str());
    let profile = if arguments.iter().any(is_of_daemon) {
        "bench"
    } else {
        "dev"
    };
    let mut command = cargo::command(&[
        "bench",
        "--profile",
        profile,
        "-p",
        "lb-tests",
        "--bench",
        "dataplane",
    ]);
    command
        .env("LBD_BIN_DIR", cargo::programs_of(binaries)?)
        .arg("--")
        .args(with_whole_paths(arguments)?);
    cargo::execute(&mut command)
}

/// The arguments, with files where the caller means them: cargo runs a bench in its
/// package's directory.
fn with_whole_paths(arguments: &[String]) -> Result<Vec<OsString>> {
    let here = env::current_dir().context("finding the current directory")?;
    let mut is_path = false;
    let whole = arguments.iter().map(|argument| {
        let is_this_one =
            std::mem::replace(&mut is_path, argument == "--json" || argument == "--svg");
        if is_this_one {
            here.join(argument).into_os_string()
        } else {
            argument.into()
        }
    });
    Ok(whole.collect())
}
