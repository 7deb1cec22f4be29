//! The addresses that lbd itself has added, in `state_dir`: after a crash they are
//! still lbd's to remove, and no others are.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::state::store::{set_aside, write_whole};

const FILE: &str = "addresses.json";
const VERSION: u32 = 1;
/// Addresses do not outlive the system that has them.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// `state_dir/addresses.json`.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    boot: String,
}

/// The file's contents.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    version: u32,
    boot: String,
    addresses: BTreeMap<String, BTreeSet<IpAddr>>,
}

/// By interface, the addresses that lbd has added, or is about to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Owned(BTreeMap<String, BTreeSet<IpAddr>>);

impl Owned {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    pub(super) fn interfaces(&self) -> impl Iterator<Item = String> + '_ {
        self.0.keys().cloned()
    }

    /// On all interfaces.
    pub(super) fn all(&self) -> BTreeSet<IpAddr> {
        self.0.values().flatten().copied().collect()
    }

    pub(super) fn on(&self, interface: &str) -> BTreeSet<IpAddr> {
        self.0.get(interface).cloned().unwrap_or_default()
    }

    pub(super) fn add(&mut self, interface: &str, addresses: &[IpAddr]) {
        if !addresses.is_empty() {
            let owned = self.0.entry(interface.to_owned()).or_default();
            owned.extend(addresses);
        }
    }

    pub(super) fn remove<'a>(
        &mut self,
        interface: &str,
        addresses: impl IntoIterator<Item = &'a IpAddr>,
    ) {
        if let Some(owned) = self.0.get_mut(interface) {
            for address in addresses {
                owned.remove(address);
            }
        }
        self.0.retain(|_, owned| !owned.is_empty());
    }
}

impl Record {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join(FILE),
            // Not known: the same as ever.
            boot: fs::read_to_string(BOOT_ID).map_or_else(|_| String::new(), |id| id.trim().into()),
        }
    }

    /// What was saved last since the system started; nothing and a warning if it
    /// cannot be read.
    pub(super) fn load(&self) -> (Owned, Option<String>) {
        let parsed = match fs::read(&self.path) {
            Ok(text) => serde_json::from_slice::<Stored>(&text).map_err(|error| error.to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return (Owned::default(), None);
            }
            Err(error) => Err(error.to_string()),
        };
        match parsed {
            Ok(stored) if stored.version != VERSION => {
                let error = format!("version {}, ours is {VERSION}", stored.version);
                (Owned::default(), Some(self.set_aside(&error)))
            }
            Ok(stored) if stored.boot != self.boot => (Owned::default(), None),
            Ok(mut stored) => {
                stored
                    .addresses
                    .retain(|_, addresses| !addresses.is_empty());
                (Owned(stored.addresses), None)
            }
            Err(error) => (Owned::default(), Some(self.set_aside(&error))),
        }
    }

    fn set_aside(&self, error: &str) -> String {
        let outcome = set_aside(&self.path);
        format!(
            "state file {}: {error}; {outcome}; which virtual addresses lbd has added is not known: it removes none of \
             them",
            self.path.display()
        )
    }

    /// Writes it whole; after an error the old file is still there.
    pub(super) fn save(&self, owned: &Owned) -> io::Result<()> {
        let stored = Stored {
            version: VERSION,
            boot: self.boot.clone(),
            addresses: owned.0.clone(),
        };
        write_whole(&self.path, &stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned() -> Owned {
        let mut owned = Owned::default();
        owned.add("lo", &[[192, 0, 2, 10].into(), [192, 0, 2, 11].into()]);
        owned.add("eth0", &["2001:db8::10".parse().unwrap()]);
        owned
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let record = Record::new(directory.path());
        assert_eq!(record.load(), (Owned::default(), None));
        record.save(&owned()).unwrap();
        assert_eq!(record.load(), (owned(), None));
        assert_eq!(owned().len(), 3);
        let mut fewer = owned();
        fewer.remove("eth0", &owned().on("eth0"));
        assert_eq!(fewer.interfaces().collect::<Vec<_>>(), ["lo"]);
    }

    #[test]
    fn a_system_that_has_started_anew_has_none_of_them() {
        let directory = tempfile::tempdir().unwrap();
        let before = Record {
            boot: "another".into(),
            ..Record::new(directory.path())
        };
        before.save(&owned()).unwrap();
        assert_eq!(
            Record::new(directory.path()).load(),
            (Owned::default(), None)
        );
    }

    #[test]
    fn a_torn_file_is_set_aside() {
        for text in [
            "{\"version\":1,\"bo",
            "{\"version\":2,\"boot\":\"\",\"addresses\":{}}",
        ] {
            let directory = tempfile::tempdir().unwrap();
            let record = Record::new(directory.path());
            fs::write(&record.path, text).unwrap();
            let (owned, warning) = record.load();
            assert!(owned.is_empty());
            let warning = warning.unwrap();
            assert!(warning.contains("it removes none of them"), "{warning}");
            assert!(record.path.with_extension("json.bad").exists());
        }
    }
}
