//! `cargo xtask setup`: makes a machine able to build, show and test.
//!
//! What is there already is left alone, by whatever way it came; what is missing
//! is installed on Debian (see [`debian`]) and named elsewhere.

mod compiler;
mod debian;
pub(crate) mod kernel;
pub(crate) mod programs;
mod requirement;
mod schemathesis;

use anyhow::{Result, bail};
pub(crate) use requirement::Purpose;
use requirement::Requirement;

/// Installs what is missing for every purpose.
pub(crate) fn setup() -> Result<()> {
    let missing = missing(&Purpose::ALL);
    if missing.is_empty() {
        println!("setup: nothing is missing");
        return Ok(());
    }
    install(&missing)
}

/// Says what is missing; an error if anything is.
pub(crate) fn check() -> Result<()> {
    for requirement in Requirement::all() {
        let state = if requirement.is_met() {
            "found"
        } else {
            "missing"
        };
        println!("{state:8} {}", requirement.what());
    }
    let missing = missing(&Purpose::ALL);
    if missing.is_empty() {
        return Ok(());
    }
    explain(&missing);
    bail!("{} missing", count(&missing))
}

/// Installs what is missing for these purposes, and is silent if nothing is.
pub(crate) fn ensure(purposes: &[Purpose]) -> Result<()> {
    let missing = missing(purposes);
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)
}

fn missing(purposes: &[Purpose]) -> Vec<Requirement> {
    Requirement::all()
        .into_iter()
        .filter(|requirement| purposes.contains(&requirement.purpose()))
        .filter(|requirement| !requirement.is_met())
        .collect()
}

fn install(missing: &[Requirement]) -> Result<()> {
    for requirement in missing {
        println!("setup: missing: {}", requirement.what());
    }
    if !debian::is_here() || !debian::may_install(missing) {
        explain(missing);
        bail!("{} missing", count(missing));
    }
    debian::install(missing)?;
    let left: Vec<_> = missing.iter().filter(|need| !need.is_met()).collect();
    if let Some(requirement) = left.first() {
        bail!(
            "still missing after the installation: {}; {}",
            requirement.what(),
            requirement.elsewhere()
        );
    }
    println!("setup: done");
    Ok(())
}

/// How to get what is missing, for the reader to do.
fn explain(missing: &[Requirement]) {
    println!("\nTo get what is missing:");
    if debian::is_here() {
        for line in debian::commands(missing) {
            println!("  {line}");
        }
        println!("or, as root: cargo xtask setup");
    } else {
        for requirement in missing {
            println!("  {}: {}", requirement.what(), requirement.elsewhere());
        }
    }
}

fn count(missing: &[Requirement]) -> String {
    match missing.len() {
        1 => "1 thing is".to_owned(),
        many => format!("{many} things are"),
    }
}
