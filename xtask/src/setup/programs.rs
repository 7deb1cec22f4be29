//! Finding programs.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The first file of this name in [`search_path`].
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&search_path())
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// `PATH`, then where cargo installs programs and where administrators' programs
/// are, which not every user has in it.
pub(crate) fn search_path() -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = env::split_paths(&path).collect();
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cargo")));
    let more = cargo_home
        .map(|home| home.join("bin"))
        .into_iter()
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    for directory in more {
        if !directories.contains(&directory) {
            directories.push(directory);
        }
    }
    // Only a directory with a colon in its name cannot be joined, and none came out of PATH.
    env::join_paths(directories).unwrap_or(path)
}
