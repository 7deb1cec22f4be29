//! Writes the manual's pages into a directory: lbd(8), lbctl(8), and one for
//! each of their commands, `lbctl-real-add.8` for `lbctl real add`.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use lb_daemon::{args, lbctl};

/// System administration.
const SECTION: &str = "8";

fn main() -> Result<()> {
    let directory = env::args_os().nth(1).context("usage: man DIRECTORY")?;
    write_all(Path::new(&directory))
}

fn write_all(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    for mut command in [args::Args::command(), lbctl::args::Args::command()] {
        // Gives each command its whole name.
        command.build();
        write(&command, directory)?;
    }
    Ok(())
}

fn write(command: &Command, directory: &Path) -> Result<()> {
    for below in command.get_subcommands() {
        if below.get_name() != "help" {
            write(below, directory)?;
        }
    }
    let man = Man::new(command.clone()).section(SECTION);
    let path: PathBuf = directory.join(man.get_filename());
    let mut page = Vec::new();
    man.render(&mut page)?;
    fs::write(&path, page).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let directory = tempfile::tempdir().unwrap();
        write_all(directory.path()).unwrap();
        for (name, part) in [
            ("lbd", "lbd\\-unload(8)"),
            ("lbd-unload", "Detach and unpin"),
            ("lbctl", "lbctl\\-real(8)"),
            ("lbctl-real-add", "\\-\\-tun\\-type"),
            ("lbctl-ipvsadm", "ipvsadm 1.31"),
        ] {
            let path = directory.path().join(format!("{name}.{SECTION}"));
            let page = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(page.contains(part), "{name}: {page}");
        }
    }
}
