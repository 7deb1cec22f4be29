//! The system's Python, which has the system's modules.

use crate::process;

/// Another one may come first in `PATH`.
pub const PROGRAM: &str = "/usr/bin/python3";

/// Whether it has this module.
pub fn has(module: &str) -> bool {
    let mut command = process::command(PROGRAM);
    let output = process::capture(command.args(["-c", &format!("import {module}")]));
    output.is_ok_and(|output| output.status.success())
}
