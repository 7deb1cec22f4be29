//! `lbctl`: the command line. It knows nothing that the API does not tell it;
//! only `check`, `import` and `simulate` work without a daemon.

pub mod args;
mod client;
mod columns;
mod commands;
mod completions;
mod config;
mod connections;
mod health;
mod import;
mod ipvsadm;
mod list;
mod marks;
mod names;
mod pages;
mod persistence;
mod simulate;
mod timeouts;

use std::{
    ffi::{OsStr, OsString},
    path::Path,
    process::ExitCode,
};

use self::args::Args;

/// Exit code for wrong usage; clap's own is the same.
const WRONG_USAGE: u8 = 2;

/// The arguments are well formed and make no sense together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(&'static str);

/// What the program was called with; under the name `ipvsadm`, which a link
/// gives it, that is `lbctl ipvsadm`.
#[must_use]
pub fn arguments(given: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<_> = given.into_iter().collect();
    let name = arguments.first().map(Path::new).and_then(Path::file_name);
    if name == Some(OsStr::new("ipvsadm")) {
        // Behind "--" nothing is an option of lbctl's own.
        let lead = ["lbctl", "ipvsadm", "--"].map(OsString::from);
        arguments.splice(..1, lead);
    }
    arguments
}

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
    let error = match result {
        Ok(code) => return code,
        Err(error) => error,
    };
    eprintln!("lbctl: {error:#}");
    if error.is::<Usage>() || error.is::<simulate::Unusable>() {
        ExitCode::from(WRONG_USAGE)
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{args::Command, *};

    fn of_ipvsadm(line: &str) -> Vec<String> {
        let given = arguments(line.split(' ').map(OsString::from));
        match Args::try_parse_from(given).unwrap().command {
            Command::Ipvsadm { arguments } => arguments,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn ipvsadms_options_are_its_own() {
        for (line, expected) in [
            ("lbctl ipvsadm -Ln", "-Ln"),
            (
                "lbctl --socket /tmp/s ipvsadm -A -t 192.0.2.10:80 -s rr -p",
                "-A -t 192.0.2.10:80 -s rr -p",
            ),
            ("lbctl ipvsadm -h", "-h"),
            ("lbctl ipvsadm --help", "--help"),
            ("lbctl ipvsadm --version", "--version"),
            ("lbctl ipvsadm --set 1 2 3", "--set 1 2 3"),
            ("ipvsadm -j", "-j"),
            ("/sbin/ipvsadm -- -L", "-- -L"),
        ] {
            assert_eq!(of_ipvsadm(line).join(" "), expected, "{line}");
        }
        assert!(of_ipvsadm("lbctl ipvsadm").is_empty());
        assert!(of_ipvsadm("/sbin/ipvsadm").is_empty());
    }
}
