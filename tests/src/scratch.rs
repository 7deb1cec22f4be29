//! What belongs to one network of namespaces: its number, a directory for its
//! files, and a bpffs of its own for what lbd pins, so that unmounting it unpins
//! all. The names carry our process id; what a dead process left is swept.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;

use crate::{namespace, process};

/// Names of namespaces and directories: `lbd-<pid>-<number>-…`.
const PREFIX: &str = "lbd-";

/// The mount point of the bpffs in a scratch directory.
const BPFFS: &str = "bpf";

/// The files of one network.
#[derive(Debug)]
pub struct Scratch {
    number: u32,
    directory: TempDir,
}

impl Scratch {
    /// A new number and a new directory. The first one in a process sweeps first.
    pub fn create() -> Result<Self> {
        static SWEPT: Once = Once::new();
        SWEPT.call_once(sweep);

        let number = next_number();
        let directory = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{}-{number}-", std::process::id()))
            .tempdir()
            .context("making a temporary directory")?;
        Ok(Self { number, directory })
    }

    /// This network's number within the process.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Mounts the bpffs, if that has not been done, and returns its mount point.
    pub fn bpffs(&self) -> Result<PathBuf> {
        let target = self.path().join(BPFFS);
        if !target.exists() {
            fs::create_dir(&target)?;
            mount(
                Some("bpf"),
                &target,
                Some("bpf"),
                MsFlags::empty(),
                None::<&str>,
            )
            .with_context(|| format!("mounting a bpffs at {}", target.display()))?;
        }
        Ok(target)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        unmount(self.path());
    }
}

/// The next number that no other network of this process has.
pub(crate) fn next_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The name of the namespace of `role` in network `number`.
pub(crate) fn namespace_name(number: u32, role: &str) -> String {
    format!("{PREFIX}{}-{number}-{role}", std::process::id())
}

/// Removes what processes that no longer exist have left behind: those killed
/// before they could clean up. Their programs died with them, except those that
/// a namespace of theirs still shows.
pub fn sweep() {
    for name in orphans(Path::new(namespace::DIRECTORY)) {
        let pids = process::output(process::command("ip").args(["netns", "pids", &name]));
        for pid in pids.iter().flat_map(|list| list.split_whitespace()) {
            if let Ok(pid) = pid.parse() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        namespace::delete(&name);
    }
    let directory = std::env::temp_dir();
    for name in orphans(&directory) {
        let path = directory.join(name);
        // Anybody may write here: touch only what is ours, and a directory.
        let ours = path
            .symlink_metadata()
            .is_ok_and(|meta| meta.is_dir() && meta.uid() == geteuid().as_raw());
        if ours {
            unmount(&path);
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// The entries of `directory` that carry a dead process's id.
fn orphans(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| owner(name).is_some_and(is_dead))
        .collect()
}

/// Whether a process is gone, or a zombie: whose parent died with it may stay one
/// for long.
fn is_dead(pid: &str) -> bool {
    let Ok(stat) = fs::read_to_string(Path::new("/proc").join(pid).join("stat")) else {
        return true;
    };
    // proc(5): the state follows the name in parentheses, which may hold any character.
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
    state.is_some_and(|rest| rest.starts_with(['Z', 'X']))
}

/// The process id in a name of ours.
fn owner(name: &str) -> Option<&str> {
    let (pid, rest) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let (number, _) = rest.split_once('-')?;
    let numeric = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (numeric(pid) && numeric(number)).then_some(pid)
}

fn unmount(directory: &Path) {
    let target = directory.join(BPFFS);
    if target.exists() {
        let flags = MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW;
        let _ = umount2(&target, flags);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_live_and_nobody_else_does() {
        assert!(!is_dead(&std::process::id().to_string()));
        // Larger than any process id that Linux gives (PID_MAX_LIMIT is 2^22).
        assert!(is_dead("4194305"));
    }

    #[test]
    fn only_names_of_our_form_have_an_owner() {
        let cases = [
            ("lbd-17-0-client1", Some("17")),
            ("lbd-17-0-Xy3abc", Some("17")),
            ("lbd-17-client1", None),
            ("lbd--0-client1", None),
            ("lbd-17x-0-client1", None),
            ("lbd-web-0-x", None),
            ("web", None),
        ];
        for (name, expected) in cases {
            assert_eq!(owner(name), expected, "{name}");
        }
    }
}
