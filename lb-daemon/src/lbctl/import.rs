//! `lbctl import`: the files, and where the result goes. [`crate::import`] reads
//! them. Needs no daemon.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::{Args as Flags, ValueEnum};
use serde_json::json;

use super::commands::write;
use crate::import::{
    self, Format, glob,
    source::{Files, Included},
};

/// A longer file is refused.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// `lbctl import`.
#[derive(Debug, Flags)]
pub struct ImportArgs {
    /// Whose configuration it is
    #[arg(value_name = "FORMAT")]
    format: FormatWord,
    /// keepalived.conf; what ipvsadm -S prints or a script that calls ipvsadm; Piranha's lvs.cf
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Interfaces that the services' packets come in by; default: those that the file names
    #[arg(long, value_name = "IF", num_args = 1.., value_delimiter = ',')]
    interface: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatWord {
    Keepalived,
    Ipvsadm,
    LvsCf,
}

/// TOML on standard output, warnings on standard error.
pub(super) fn run(args: &ImportArgs, json: bool) -> Result<()> {
    let format = match args.format {
        FormatWord::Keepalived => Format::Keepalived,
        FormatWord::Ipvsadm => Format::Ipvsadm,
        FormatWord::LvsCf => Format::LvsCf,
    };
    let file = args.file.display().to_string();
    let text = read(&args.file).with_context(|| format!("cannot read {file}"))?;
    let imported = import::import(format, &text, &file, &Disk, &args.interface)?;
    if json {
        let warnings = imported.warnings.iter().map(|warning| {
            json!({"file": &*warning.place.file, "line": warning.place.line, "text": warning.text})
        });
        let warnings: Vec<_> = warnings.collect();
        return write(&format!(
            "{}\n",
            json!({"toml": imported.toml, "warnings": warnings})
        ));
    }
    for warning in &imported.warnings {
        eprintln!("lbctl: warning: {warning}");
    }
    write(&imported.toml)
}

/// What is not UTF-8, such as an old comment, is replaced.
fn read(path: &Path) -> Result<String> {
    let bytes = fs::metadata(path)?.len();
    anyhow::ensure!(
        bytes <= MAX_FILE_BYTES,
        "longer than {} MiB",
        MAX_FILE_BYTES >> 20
    );
    Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
}

/// Included files, from where they are.
struct Disk;

impl Files for Disk {
    fn included(&self, from: &str, pattern: &str) -> Result<Vec<Included>, String> {
        let directory = Path::new(from).parent().unwrap_or(Path::new(""));
        let mut files = Vec::new();
        for pattern in glob::alternatives(pattern) {
            for path in matching(directory, &pattern)? {
                let text = read(&path).map_err(|error| format!("{}: {error:#}", path.display()))?;
                files.push(Included {
                    path: path.display().to_string(),
                    text,
                });
            }
        }
        Ok(files)
    }
}

/// The files that one pattern means, sorted.
fn matching(directory: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let start = if pattern.starts_with('/') {
        PathBuf::from("/")
    } else {
        directory.to_owned()
    };
    let mut found = vec![start];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for path in found {
            if glob::is_pattern(part) {
                next.extend(in_directory(&path, part)?);
            } else if path.join(part).exists() {
                next.push(path.join(part));
            }
        }
        found = next;
    }
    found.retain(|path| path.is_file());
    Ok(found)
}

fn in_directory(path: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let directory = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let error = |error: std::io::Error| format!("{}: {error}", directory.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(error)? {
        let name = entry.map_err(error)?.file_name();
        if glob::matches(pattern, &name.to_string_lossy()) {
            found.push(path.join(name));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn included_files_are_found_beside_their_includer() {
        let directory = tempfile::tempdir().unwrap();
        let sub = directory.path().join("conf.d");
        fs::create_dir_all(sub.join("x.conf")).unwrap();
        for name in ["b.conf", "a.conf", "c.txt", ".hidden.conf"] {
            fs::write(sub.join(name), format!("in {name}\n\u{e9}")).unwrap();
        }
        fs::write(sub.join("latin.conf"), b"\xe9").unwrap();
        let from = directory.path().join("keepalived.conf");
        let from = from.to_str().unwrap();
        let names = |pattern: &str| -> Vec<String> {
            let files = Disk.included(from, pattern).unwrap();
            let names = files.iter().map(|file| {
                let name = Path::new(&file.path).file_name().unwrap();
                name.to_str().unwrap().to_owned()
            });
            names.collect()
        };
        assert_eq!(names("conf.d/*.conf"), ["a.conf", "b.conf", "latin.conf"]);
        assert_eq!(names("*/{c,a}.*"), ["c.txt", "a.conf"]);
        assert_eq!(names("conf.d/a.conf"), ["a.conf"]);
        assert_eq!(names(&format!("{}/?.txt", sub.display())), ["c.txt"]);
        assert!(names("conf.d/none").is_empty() && names("none/*").is_empty());
        let files = Disk.included(from, "conf.d/latin.conf").unwrap();
        assert_eq!(files[0].text, "\u{fffd}");
    }
}
