//! Is there a compiler for the XDP programs?
//!
//! They are built for a target without a ready-made core library (`-Z
//! build-std=core`), which takes a compiler with its library's source. The
//! search is the one of `lb-daemon/build.rs`: `LBD_BPF_RUSTC`, then rustup's nightly, then
//! `/usr/bin/rustc`, which on Debian the package rustc-web brings, not bound to
//! be a nightly (`RUSTC_BOOTSTRAP=1`).

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use super::programs;

/// Whether one is found.
pub(crate) fn is_found() -> bool {
    if let Some(rustc) = env::var_os("LBD_BPF_RUSTC") {
        return has_source(&rustc);
    }
    nightly_has_source() || has_source("/usr/bin/rustc".as_ref())
}

fn nightly_has_source() -> bool {
    let output = Command::new("rustup")
        .args(["which", "--toolchain", "nightly", "rustc"])
        .env("PATH", programs::search_path())
        // Asking must not install anything.
        .env("RUSTUP_AUTO_INSTALL", "0")
        .output();
    output
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .is_some_and(|rustc| has_source(rustc.trim_end().as_ref()))
}

/// Whether this compiler's library source lies where build-std looks for it.
fn has_source(rustc: &OsStr) -> bool {
    let output = Command::new(rustc).args(["--print", "sysroot"]).output();
    output
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .is_some_and(|sysroot| {
            Path::new(sysroot.trim_end())
                .join("lib/rustlib/src/rust/library/core")
                .is_dir()
        })
}
