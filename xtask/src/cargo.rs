//! Running cargo on this workspace.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::setup::programs;

/// The workspace's top directory.
pub(crate) fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Cargo's target directory, wherever that is: cargo has put us in it.
pub(crate) fn target() -> Result<PathBuf> {
    let ourselves = env::current_exe().context("finding our own program")?;
    let target = ourselves.ancestors().nth(2);
    Ok(target
        .context("we are not in cargo's target directory")?
        .to_owned())
}

/// The directory of a profile's programs: `release` or `debug`.
pub(crate) fn programs_of(profile: &str) -> Result<PathBuf> {
    Ok(target()?.join(profile))
}

/// The cargo that started us.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(arguments)
        .current_dir(workspace())
        .env("PATH", programs::search_path());
    command
}

/// Runs cargo; says which command that is.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    execute(&mut command(arguments))
}

/// Runs a command with its output going where ours goes, after saying what it is.
pub(crate) fn execute(command: &mut Command) -> Result<()> {
    let shown = show(command);
    eprintln!("xtask: {shown}");
    let status = command
        .status()
        .with_context(|| format!("starting {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// The command line, without the path of the program.
fn show(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut shown = program.file_name().unwrap_or_default().to_owned();
    for argument in command.get_args() {
        shown.push(" ");
        shown.push(argument);
    }
    shown.to_string_lossy().into_owned()
}
