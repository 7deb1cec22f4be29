//! `lbctl`: the command line. It knows nothing that the API does not tell it;
//! only `check` and `simulate` work without a daemon.

pub mod args;
mod client;
mod columns;
mod commands;
mod connections;
mod list;
mod marks;
mod names;
mod pages;
mod persistence;
mod simulate;
mod timeouts;

use std::process::ExitCode;

use self::args::Args;

/// Exit code for wrong usage; clap's own is the same.
const WRONG_USAGE: u8 = 2;

/// The arguments are well formed and make no sense together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(&'static str);

/// Runs the command and reports a failure in one line.
#[must_use]
pub fn main(args: Args) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(commands::run(args)),
        Err(error) => Err(error.into()),
    };
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    eprintln!("lbctl: {error:#}");
    if error.is::<Usage>() || error.is::<simulate::Unusable>() {
        ExitCode::from(WRONG_USAGE)
    } else {
        ExitCode::FAILURE
    }
}
