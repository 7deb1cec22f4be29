//! `cargo xtask verify`: runs `tests/verify`, which loads the programs and holds
//! the verifier's counts to their budgets (docs/verifier.md).

use std::process::Command;

use anyhow::Result;

use crate::setup::{self, Purpose};
use crate::{cargo, test};

/// Compares, or writes new budgets.
pub(crate) fn run(record: bool) -> Result<()> {
    setup::ensure(&[Purpose::Build])?;
    test::build(&["--example", "verify"])?;
    let mut command = Command::new(cargo::programs_of("debug")?.join("examples/verify"));
    if record {
        command.arg("--record");
    }
    cargo::execute(&mut command)
}
