//! Compiles the BPF programs of `lb-ebpf` and leaves their objects in
//! `OUT_DIR`, from where `dataplane::object` includes them.
//!
//! The BPF target has no prebuilt `core`, so it takes a compiler that comes
//! with its own library source. In this order: `$LBD_BPF_RUSTC`, the rustup
//! nightly with `rust-src`, Debian's `rustc-web` with `rust-web-src`.

use std::{
    env,
    ffi::OsString,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

const TARGET: &str = "bpfel-unknown-none";

/// Rust flags of the BPF build: `v3` instructions (32-bit and compare-and-swap
/// operations, Linux 5.12), BTF, and the architecture that aya-ebpf's register
/// access is for.
const FLAGS: [&str; 5] = [
    "--cfg=bpf_target_arch=\"x86_64\"",
    "-Cdebuginfo=2",
    "-Ctarget-cpu=v3",
    "-Clink-arg=--btf",
    "-Clink-arg=--cpu-features=+allows-misaligned-mem-access",
];

fn main() -> Result<()> {
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let workspace = manifest.parent().context("lb-daemon has a parent folder")?;
    for path in [
        "lb-ebpf/src",
        "lb-ebpf/Cargo.toml",
        "lb-common/src",
        "Cargo.toml",
    ] {
        println!("cargo:rerun-if-changed={}", workspace.join(path).display());
    }
    println!("cargo:rerun-if-env-changed=LBD_BPF_RUSTC");

    let rustc = compiler()?;
    ensure!(
        which::which("bpf-linker").is_ok(),
        "bpf-linker is not installed: run `cargo xtask setup`"
    );
    let out = PathBuf::from(env::var("OUT_DIR")?);
    build(workspace, &rustc, &out)
}

/// The compiler that can build `core` for the BPF target.
fn compiler() -> Result<OsString> {
    if let Some(rustc) = env::var_os("LBD_BPF_RUSTC") {
        ensure!(
            has_library_source(&rustc),
            "LBD_BPF_RUSTC has no library source beside it"
        );
        return Ok(rustc);
    }
    let nightly = Command::new("rustup")
        .args(["which", "--toolchain", "nightly", "rustc"])
        .output();
    if let Ok(output) = nightly
        && output.status.success()
    {
        let rustc = String::from_utf8(output.stdout)?.trim().into();
        if has_library_source(&rustc) {
            return Ok(rustc);
        }
    }
    let debian = OsString::from("/usr/bin/rustc");
    if has_library_source(&debian) {
        return Ok(debian);
    }
    bail!(
        "no Rust compiler with its library source for the BPF target: run `cargo xtask setup`, \
         or `rustup toolchain install nightly -c rust-src`"
    )
}

fn has_library_source(rustc: &OsString) -> bool {
    let Ok(output) = Command::new(rustc).args(["--print", "sysroot"]).output() else {
        return false;
    };
    let sysroot = String::from_utf8_lossy(&output.stdout);
    output.status.success()
        && Path::new(sysroot.trim())
            .join("lib/rustlib/src/rust/library/core")
            .is_dir()
}

fn build(workspace: &Path, rustc: &OsString, out: &Path) -> Result<()> {
    let target_dir = out.join("bpf");
    let mut cargo = Command::new(env::var_os("CARGO").context("CARGO is set by cargo")?);
    cargo
        .current_dir(workspace)
        .args([
            "build",
            "--package",
            "lb-ebpf",
            "--profile",
            "bpf",
            "--target",
            TARGET,
        ])
        .args(["-Z", "build-std=core"])
        .arg("--target-dir")
        .arg(&target_dir)
        // The outer build's flags and wrappers are for the host.
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("CARGO_TARGET_DIR")
        .env("RUSTC", rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    let status = cargo.status().context("run cargo for the BPF target")?;
    ensure!(status.success(), "building the BPF programs failed");
    for object in [
        "lbd-xdp",
        "lbd-decap",
        "lbd-probe-path",
        "lbd-bench",
        "lbd-traffic",
    ] {
        let built = target_dir.join(TARGET).join("bpf").join(object);
        std::fs::copy(&built, out.join(format!("{object}.o")))
            .with_context(|| format!("copy {}", built.display()))?;
    }
    let director = std::fs::read(out.join("lbd-xdp.o")).context("read the director's object")?;
    let mut hasher = DefaultHasher::new();
    director.hash(&mut hasher);
    println!(
        "cargo:rustc-env=LBD_DIRECTOR_STAMP={:016x}",
        hasher.finish()
    );
    Ok(())
}
