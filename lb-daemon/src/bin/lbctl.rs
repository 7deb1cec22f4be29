//! `lbctl`, the command line of a running `lbd`. The work is in
//! [`lb_daemon::lbctl`].

use std::process::ExitCode;

use clap::Parser;
use lb_daemon::lbctl::{self, args::Args};

fn main() -> ExitCode {
    lbctl::main(Args::parse_from(lbctl::arguments(std::env::args_os())))
}
