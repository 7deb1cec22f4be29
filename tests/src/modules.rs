//! Does the kernel have what a test is about?

use std::env;
use std::process::{Command, Stdio};

use crate::privilege;

/// Whether all these modules are there, or built in, and end-to-end tests can run at
/// all. To be asked at the head of each: `if !modules::are_there(&["8021q"]) { return; }`.
///
/// # Panics
/// In the virtual machine, whose kernel is there for these tests, if one is missing.
#[track_caller]
pub fn are_there(modules: &[&str]) -> bool {
    if !privilege::network() {
        return false;
    }
    let missing: Vec<_> = modules.iter().filter(|module| !is_there(module)).collect();
    if missing.is_empty() {
        return true;
    }
    let in_vm = env::var_os("LBD_VM").is_some();
    assert!(!in_vm, "the kernel has no {missing:?}");
    eprintln!("skipped: this kernel has no {missing:?}; `cargo xtask vm` brings one that has");
    false
}

fn is_there(module: &str) -> bool {
    let mut modprobe = Command::new("/sbin/modprobe");
    modprobe.args(["--dry-run", "--quiet", module]);
    modprobe.stdout(Stdio::null()).stderr(Stdio::null());
    modprobe.status().is_ok_and(|status| status.success())
}
