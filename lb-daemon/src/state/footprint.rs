//! What a start makes on the way, so that one that fails leaves exactly what
//! it found.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::mount::umount;

/// Folders made and a bpffs mounted; undone when dropped, unless kept.
#[derive(Debug, Default)]
pub struct Footprint {
    directories: Vec<PathBuf>,
    mount: Option<PathBuf>,
}

impl Footprint {
    /// As [`fs::create_dir_all`].
    pub fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let missing: Vec<_> = path
            .ancestors()
            .take_while(|p| !p.exists())
            .map(Path::to_owned)
            .collect();
        fs::create_dir_all(path)?;
        self.directories.extend(missing.into_iter().rev());
        Ok(())
    }

    /// Notes that a file system was mounted.
    pub fn mounted(&mut self, at: &Path) {
        self.mount = Some(at.to_owned());
    }

    /// The start has succeeded.
    pub fn keep(mut self) {
        self.directories.clear();
        self.mount = None;
    }
}

impl Drop for Footprint {
    fn drop(&mut self) {
        if let Some(mount) = &self.mount {
            let _ = umount(mount);
        }
        // Not empty any more: somebody else uses it.
        for directory in self.directories.iter().rev() {
            let _ = fs::remove_dir(directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_goes_and_what_was_there_stays() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b");
        let mut footprint = Footprint::default();
        footprint.create_dir_all(&deep).unwrap();
        footprint.create_dir_all(&deep).unwrap();
        drop(footprint);
        assert!(root.path().exists() && !root.path().join("a").exists());

        let mut footprint = Footprint::default();
        footprint.create_dir_all(&deep).unwrap();
        footprint.keep();
        assert!(deep.exists());
    }
}
