//! What is pinned under `<pin_dir>/v<ABI>`, and whether this daemon may adopt
//! it: aya takes any pinned map as it is, so sizes are compared here.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use aya::maps::{MapData, MapType};
use lb_common::abi::{ABI_VERSION, map};
use nix::fcntl::{Flock, FlockArg};

use super::{
    DataPlaneError, Sizes,
    bpffs::{name_of_pin, pin_name},
    syscall::detach_pinned_link,
};

/// Begins the names of pinned links.
const LINK_PREFIX: &str = "link_";

/// Begins the names of folders of pinned programs ([`super::kept`]).
const PROGRAMS_PREFIX: &str = "programs_";

/// The folder of the programs of an object.
pub(super) fn program_folder(stamp: &str) -> String {
    format!("{PROGRAMS_PREFIX}{stamp}")
}

pub(super) fn is_program_folder(name: &str) -> bool {
    name.starts_with(PROGRAMS_PREFIX)
}

fn is_link(name: &str) -> bool {
    name.starts_with(LINK_PREFIX)
}

/// The folder of this ABI's pins, locked for one daemon.
#[derive(Debug)]
pub struct PinDir {
    root: PathBuf,
    path: PathBuf,
    _lock: Flock<File>,
}

/// An exclusive lock on a folder, held until dropped.
pub fn lock_dir(path: &Path) -> Result<Flock<File>, DataPlaneError> {
    let error = |action, source| DataPlaneError::Path {
        action,
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(|e| error("open", e))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::Error::EWOULDBLOCK => DataPlaneError::Locked {
            path: path.to_owned(),
        },
        errno => error("lock", errno.into()),
    })
}

impl PinDir {
    /// Opens and locks the folder, which must be on a bpffs.
    pub fn open(pin_dir: &Path) -> Result<Self, DataPlaneError> {
        let lock = lock_dir(pin_dir)?;
        let path = pin_dir.join(format!("v{ABI_VERSION}"));
        Ok(Self {
            root: pin_dir.to_owned(),
            path,
            _lock: lock,
        })
    }

    /// `<pin_dir>/v<ABI>`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where maps of other sizes are made, to take this folder's name.
    #[must_use]
    pub fn staging(&self) -> PathBuf {
        self.root.join(format!("v{ABI_VERSION}_new"))
    }

    /// Where the maps that they take the place of are until their end.
    #[must_use]
    pub fn former(&self) -> PathBuf {
        self.root.join(format!("v{ABI_VERSION}_old"))
    }

    /// Puts the maps of [`Self::staging`] in the place of those that were there, and
    /// moves the links to them. The links' programs, and so what forwards, are the
    /// former ones still. Nothing where there are none to promote.
    pub fn promote(&self) -> Result<(), DataPlaneError> {
        let former = self.former();
        if !self.staging().exists() {
            return Ok(());
        }
        rename(&self.path, &former)?;
        rename(&self.staging(), &self.path)?;
        move_links(&former, &self.path)
    }

    /// Takes back a [`Self::promote`] that was cut off before its maps had their name,
    /// and ends it where it was cut off later. True: [`Self::former`] is there, and what
    /// it has is to be carried over.
    pub fn recover(&self) -> Result<bool, DataPlaneError> {
        let (staging, former) = (self.staging(), self.former());
        if former.exists() && !self.path.exists() {
            rename(&former, &self.path)?;
        }
        if staging.exists() {
            clear_folder(&staging)?;
        }
        if former.exists() {
            move_links(&former, &self.path)?;
        }
        Ok(former.exists())
    }

    /// The former maps are of no use any more: all that they had is in the others. In
    /// one step, since half of them would be nothing to carry over from;
    /// [`Self::forget_staging`] removes them.
    pub fn retire_former(&self) -> Result<(), DataPlaneError> {
        rename(&self.former(), &self.staging())
    }

    /// Removes what [`Self::promote`] has not taken, or has taken the place of.
    pub fn forget_staging(&self) -> Result<(), DataPlaneError> {
        clear_folder(&self.staging())
    }

    /// Whether anything of a data plane is there.
    #[must_use]
    pub fn is_populated(&self) -> bool {
        self.path.join(map::CONNECTIONS_V4).exists()
    }

    /// Whether there is a data plane to adopt. Maps that are not all there, and
    /// no link, are what a first start leaves that is killed on its way, or an
    /// unloading: nothing forwards by them.
    #[must_use]
    pub fn is_adoptable(&self, sizes: &Sizes) -> bool {
        let is_there = |name: &str| self.path.join(name).exists();
        self.is_populated()
            && (!self.links().is_empty()
                || sizes.layouts().iter().all(|layout| is_there(layout.name)))
    }

    /// Checks that every pinned map is as this daemon would make it.
    pub fn check(&self, sizes: &Sizes) -> Result<(), DataPlaneError> {
        self.check_other_versions()?;
        // What a key says first: other sizes follow from it.
        let mut layouts = sizes.layouts();
        layouts.sort_by_key(|layout| capacity_key(layout.name).is_none());
        for expected in layouts {
            let path = self.path.join(expected.name);
            let mismatch = |difference| DataPlaneError::Mismatch {
                path: self.path.clone(),
                difference,
            };
            let found = MapData::from_pin(&path)
                .and_then(|data| data.info())
                .map_err(|error| mismatch(format!("map {}: {error}", expected.name)))?;
            let found = [
                (
                    "type",
                    found.map_type().map_or(0, |t: MapType| t as u32),
                    expected.map_type as u32,
                ),
                ("key size", found.key_size(), expected.key_size),
                ("value size", found.value_size(), expected.value_size),
                ("entries", found.max_entries(), expected.max_entries),
            ];
            for (what, found, expected_value) in found {
                if found != expected_value {
                    let what = match capacity_key(expected.name) {
                        Some(key) if what == "entries" => key.to_owned(),
                        _ => format!("map {}: {what}", expected.name),
                    };
                    return Err(mismatch(format!(
                        "{what} is {found}, this configuration makes it {expected_value}"
                    )));
                }
            }
        }
        Ok(())
    }

    /// A data plane of another ABI version forwards here: two would fight.
    pub fn check_other_versions(&self) -> Result<(), DataPlaneError> {
        for name in entries(&self.root) {
            let version = name.strip_prefix('v').and_then(|v| v.parse::<u32>().ok());
            if let Some(version) = version
                && version != ABI_VERSION
            {
                return Err(DataPlaneError::OtherAbi {
                    path: self.root.join(name),
                    found: version,
                    ours: ABI_VERSION,
                });
            }
        }
        Ok(())
    }

    /// Names and modes of the interfaces with a pinned link, with its path.
    #[must_use]
    pub fn links(&self) -> Vec<(String, &'static str, PathBuf)> {
        let mut links = Vec::new();
        for entry in entries(&self.path) {
            let Some(rest) = entry.strip_prefix(LINK_PREFIX) else {
                continue;
            };
            for mode in ["native", "generic"] {
                if let Some(name) = rest.strip_prefix(mode).and_then(|r| r.strip_prefix('_')) {
                    links.push((name_of_pin(name), mode, self.path.join(&entry)));
                }
            }
        }
        links.sort();
        links
    }

    /// Where the link of an interface is pinned.
    #[must_use]
    pub fn link_path(&self, interface: &str, mode: &str) -> PathBuf {
        self.path
            .join(format!("{LINK_PREFIX}{mode}_{}", pin_name(interface)))
    }

    /// Removes every pin of this ABI: links detach, maps go with their last
    /// user. The folder itself goes too if nothing else is in it.
    pub fn remove(&self) -> Result<(), DataPlaneError> {
        self.clear()?;
        let _ = fs::remove_dir(&self.root);
        Ok(())
    }

    /// As [`Self::remove`], but the folder stays: it is what is locked, and a
    /// folder made anew in its place would not be.
    pub fn clear(&self) -> Result<(), DataPlaneError> {
        let folders = [&self.path, &self.former(), &self.staging()];
        folders.into_iter().try_for_each(|path| clear_folder(path))
    }
}

/// Removes all pins of a folder, and it.
pub(super) fn clear_folder(folder: &Path) -> Result<(), DataPlaneError> {
    if !folder.exists() {
        return Ok(());
    }
    let error = |path: &Path, source| DataPlaneError::Path {
        action: "remove",
        path: path.to_owned(),
        source,
    };
    // Links first: no packet may meet a half-removed data plane.
    let mut names = entries(folder);
    names.sort_by_key(|name| !is_link(name));
    for name in names {
        let path = folder.join(&name);
        if is_program_folder(&name) {
            clear_folder(&path)?;
            continue;
        }
        // At once: without its pin alone it would go on for a moment. A link whose
        // interface is gone cannot be detached, and need not be.
        let _ = is_link(&name).then(|| detach_pinned_link(&path));
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(error(&path, source));
            }
            _ => {}
        }
    }
    fs::remove_dir(folder).map_err(|e| error(folder, e))
}

fn move_links(from: &Path, to: &Path) -> Result<(), DataPlaneError> {
    let mut names = entries(from).into_iter();
    names
        .by_ref()
        .filter(|name| is_link(name))
        .try_for_each(|name| rename(&from.join(&name), &to.join(&name)))
}

fn rename(from: &Path, to: &Path) -> Result<(), DataPlaneError> {
    fs::rename(from, to).map_err(|source| DataPlaneError::Path {
        action: "rename",
        path: from.to_owned(),
        source,
    })
}

/// The key that says how many entries a map has.
fn capacity_key(map_name: &str) -> Option<&'static str> {
    match map_name {
        map::CONNECTIONS_V4 | map::CONNECTIONS_V6 | map::INDEX_V4 | map::INDEX_V6 => {
            Some("capacity.connections")
        }
        map::SERVICES => Some("capacity.services"),
        map::REALS => Some("capacity.reals"),
        map::TEMPLATES => Some("capacity.persistence"),
        _ => None,
    }
}

/// The names in a folder; none where there is none.
pub(super) fn entries(path: &Path) -> Vec<String> {
    let Ok(dir) = fs::read_dir(path) else {
        return Vec::new();
    };
    dir.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_plane_of_another_abi_is_named_and_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let pins = PinDir::open(root.path()).unwrap();
        fs::create_dir(pins.path()).unwrap();
        fs::create_dir(root.path().join("vault")).unwrap();
        assert!(pins.check_other_versions().is_ok());

        let other = root.path().join(format!("v{}", ABI_VERSION - 1));
        fs::create_dir(&other).unwrap();
        let error = pins.check_other_versions().unwrap_err().to_string();
        let expected = format!(
            "the data plane pinned under {} does not match this lbd: its map ABI is {}, ours is {ABI_VERSION}; it goes \
             on forwarding; `unload` of the lbd that made it removes it",
            other.display(),
            ABI_VERSION - 1
        );
        assert_eq!(error, expected);
        pins.clear().unwrap();
        assert!(other.exists() && !pins.path().exists());
    }

    /// Folders and files in the place of a bpffs's: what is where after a start that was
    /// cut off at each step.
    #[test]
    fn a_promotion_that_is_cut_off_is_taken_back_or_ended() {
        let steps = |root: &Path, count: usize| {
            let pins = PinDir::open(root).unwrap();
            let (path, staging, former) = (pins.path().to_owned(), pins.staging(), pins.former());
            for (folder, names) in [
                (&path, &["link_native_eth0", "link_native_eth1", "OLD"][..]),
                (&staging, &["NEW"][..]),
            ] {
                fs::create_dir(folder).unwrap();
                names
                    .iter()
                    .for_each(|name| fs::write(folder.join(name), "").unwrap());
            }
            let link = "link_native_eth0";
            let renames = [
                (path.clone(), former.clone()),
                (staging, path.clone()),
                (former.join(link), path.join(link)),
            ];
            for (from, to) in renames.iter().take(count) {
                fs::rename(from, to).unwrap();
            }
            pins
        };
        for count in 0..=3 {
            let root = tempfile::tempdir().unwrap();
            let pins = steps(root.path(), count);
            let is_ahead = count >= 2;
            assert_eq!(pins.recover().unwrap(), is_ahead, "{count}");
            assert_eq!(pins.links().len(), 2, "{count}");
            assert!(!pins.staging().exists());
            assert_eq!(pins.path().join("NEW").exists(), is_ahead);
            assert_eq!(pins.path().join("OLD").exists(), !is_ahead);
            assert_eq!(pins.former().join("OLD").exists(), is_ahead);
            assert_eq!(pins.recover().unwrap(), is_ahead);
            pins.clear().unwrap();
            assert_eq!(entries(root.path()), [] as [String; 0]);
        }
        let root = tempfile::tempdir().unwrap();
        let pins = steps(root.path(), 0);
        pins.promote().unwrap();
        assert!(pins.recover().unwrap() && pins.links().len() == 2);
        pins.retire_former().unwrap();
        pins.forget_staging().unwrap();
        assert!(!pins.recover().unwrap() && pins.path().join("NEW").exists());
    }
}
