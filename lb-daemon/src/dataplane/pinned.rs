//! What is pinned under `<pin_dir>/v<ABI>`, and whether this daemon may adopt
//! it: aya takes any pinned map as it is, so sizes are compared here.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use aya::maps::{MapData, MapType};
use lb_common::abi::{ABI_VERSION, map};
use nix::fcntl::{Flock, FlockArg};

use super::{
    DataPlaneError, Sizes,
    bpffs::{name_of_pin, pin_name},
};

/// Begins the names of pinned links.
const LINK_PREFIX: &str = "link_";

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
        if !self.path.exists() {
            return Ok(());
        }
        let error = |path: &Path, source| DataPlaneError::Path {
            action: "remove",
            path: path.to_owned(),
            source,
        };
        // Links first: no packet may meet a half-removed data plane.
        let mut names = entries(&self.path);
        names.sort_by_key(|name| !name.starts_with(LINK_PREFIX));
        for name in names {
            let path = self.path.join(name);
            fs::remove_file(&path).map_err(|e| error(&path, e))?;
        }
        fs::remove_dir(&self.path).map_err(|e| error(&self.path, e))
    }
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

fn entries(path: &Path) -> Vec<String> {
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
}
