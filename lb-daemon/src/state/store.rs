//! The desired state on disk, so that what the runtime made or changed holds
//! over restarts: written whole, with fsync and rename, before a command
//! answers. A file that cannot be read is set aside, never fatal.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    net::IpAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::desired::{Desired, RealEntry, ServiceEntry};
use crate::{
    api::wire::{self, Owner},
    config::model::{ForwardingMethod, Real, RealId, Scheduler, Tunnel, Weight},
};

const FILE: &str = "state.json";
const VERSION: u32 = 1;

/// `state_dir/state.json`.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    services: Vec<StoredService>,
    deleted: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredService {
    service: String,
    name: Option<String>,
    scheduler: String,
    forward: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    masquerade: Vec<IpAddr>,
    owner: Owner,
    edited: bool,
    reals: Vec<StoredReal>,
    deleted_reals: Vec<StoredRealId>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRealId {
    address: IpAddr,
    port: u16,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredReal {
    address: IpAddr,
    port: u16,
    weight: u32,
    forward: String,
    /// Under tun alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tunnel: Option<wire::Tunnel>,
    owner: Owner,
    edited: bool,
}

impl Store {
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join(FILE),
        }
    }

    /// What was saved last; nothing and a warning if it cannot be read.
    #[must_use]
    pub fn load(&self) -> (Desired, Option<String>) {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return (Desired::default(), None);
            }
            Err(error) => return self.set_aside(&error.to_string()),
        };
        let parsed = serde_json::from_str::<Stored>(&text).map_err(|error| error.to_string());
        match parsed.and_then(Desired::try_from) {
            Ok(desired) => (desired, None),
            Err(error) => self.set_aside(&error),
        }
    }

    fn set_aside(&self, error: &str) -> (Desired, Option<String>) {
        let aside = self.path.with_extension("json.bad");
        let outcome = match fs::rename(&self.path, &aside) {
            Ok(()) => format!("set aside as {}", aside.display()),
            Err(rename) => format!("left there: {rename}"),
        };
        let warning = format!("state file {}: {error}; {outcome}", self.path.display());
        (Desired::default(), Some(warning))
    }

    /// Writes the whole state; after an error the old file is still there.
    pub fn save(&self, desired: &Desired) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        serde_json::to_writer(&mut file, &Stored::from(desired))?;
        file.flush()?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(|error| error.error)?;
        File::open(directory)?.sync_all()
    }
}

impl From<&Desired> for Stored {
    fn from(desired: &Desired) -> Self {
        Self {
            version: VERSION,
            services: desired.services.iter().map(StoredService::from).collect(),
            deleted: desired.deleted.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<&ServiceEntry> for StoredService {
    fn from(entry: &ServiceEntry) -> Self {
        let stored_id = |id: &RealId| StoredRealId {
            address: id.address,
            port: id.port,
        };
        Self {
            service: entry.id.to_string(),
            name: entry.name.clone(),
            scheduler: entry.scheduler.name().into(),
            forward: entry.forward.name().into(),
            masquerade: entry.masquerade.clone(),
            owner: entry.owner,
            edited: entry.edited,
            reals: entry.reals.iter().map(StoredReal::from).collect(),
            deleted_reals: entry.deleted_reals.iter().map(stored_id).collect(),
        }
    }
}

impl From<&RealEntry> for StoredReal {
    fn from(entry: &RealEntry) -> Self {
        Self {
            address: entry.real.id.address,
            port: entry.real.id.port,
            weight: entry.real.weight.get(),
            forward: entry.real.forward.name().into(),
            tunnel: wire::Tunnel::of(&entry.real),
            owner: entry.owner,
            edited: entry.edited,
        }
    }
}

impl TryFrom<Stored> for Desired {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        if stored.version != VERSION {
            return Err(format!("version {} is not ours, {VERSION}", stored.version));
        }
        let services: Result<Vec<_>, _> = stored
            .services
            .into_iter()
            .map(ServiceEntry::try_from)
            .collect();
        let deleted: Result<Vec<_>, _> = stored.deleted.iter().map(|id| id.parse()).collect();
        Ok(Self {
            services: services?,
            deleted: deleted?,
        })
    }
}

impl TryFrom<StoredService> for ServiceEntry {
    type Error = String;

    fn try_from(stored: StoredService) -> Result<Self, String> {
        let id = |id: &StoredRealId| RealId {
            address: id.address,
            port: id.port,
        };
        let reals: Result<Vec<_>, _> = stored.reals.iter().map(RealEntry::try_from).collect();
        let entry = Self {
            id: stored.service.parse()?,
            name: stored.name,
            scheduler: Scheduler::from_name(&stored.scheduler)
                .ok_or_else(|| format!("unknown scheduler {}", stored.scheduler))?,
            forward: forward(&stored.forward)?,
            masquerade: stored.masquerade,
            owner: stored.owner,
            edited: stored.edited,
            reals: reals?,
            deleted_reals: stored.deleted_reals.iter().map(id).collect(),
        };
        entry
            .service()
            .validate()
            .map_err(|error| error.to_string())?;
        Ok(entry)
    }
}

impl TryFrom<&StoredReal> for RealEntry {
    type Error = String;

    fn try_from(stored: &StoredReal) -> Result<Self, String> {
        let weight =
            Weight::new(stored.weight).ok_or_else(|| format!("weight {}", stored.weight))?;
        Ok(Self {
            real: Real {
                id: RealId {
                    address: stored.address,
                    port: stored.port,
                },
                weight,
                forward: forward(&stored.forward)?,
                tunnel: stored
                    .tunnel
                    .as_ref()
                    .map_or(Ok(Tunnel::default()), Tunnel::try_from)?,
            },
            owner: stored.owner,
            edited: stored.edited,
        })
    }
}

fn forward(name: &str) -> Result<ForwardingMethod, String> {
    ForwardingMethod::from_name(name).ok_or_else(|| format!("unknown forwarding method {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{Service, ServiceId, TunnelKind};

    fn desired() -> Desired {
        let id: ServiceId = "tcp:192.0.2.10:80".parse().unwrap();
        let mut desired = Desired::default();
        desired
            .add_service(Service {
                id,
                name: Some("web".into()),
                scheduler: Scheduler::Wrr,
                forward: ForwardingMethod::Nat,
                masquerade: vec![[10, 0, 0, 250].into()],
                reals: vec![
                    Real {
                        id: RealId {
                            address: [10, 0, 0, 2].into(),
                            port: 8080,
                        },
                        weight: Weight::ONE,
                        forward: ForwardingMethod::Nat,
                        tunnel: Tunnel::default(),
                    },
                    Real {
                        id: RealId {
                            address: "2001:db8::2".parse().unwrap(),
                            port: 80,
                        },
                        weight: Weight::ONE,
                        forward: ForwardingMethod::Tun,
                        tunnel: Tunnel {
                            kind: TunnelKind::Gue,
                            port: 7000,
                            checksum: true,
                        },
                    },
                ],
            })
            .unwrap();
        desired.deleted.push("udp:192.0.2.10:53".parse().unwrap());
        desired
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        assert_eq!(store.load(), (Desired::default(), None));
        store.save(&desired()).unwrap();
        assert_eq!(store.load(), (desired(), None));
    }

    #[test]
    fn a_file_from_before_tunnels_and_pools_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"version":1,"services":[{"service":"tcp:192.0.2.10:80","name":null,"scheduler":"rr",
            "forward":"tun","owner":"runtime","edited":false,"deleted_reals":[],
            "reals":[{"address":"10.0.0.2","port":80,"weight":1,"forward":"tun","owner":"runtime","edited":false}]
            }],"deleted":[]}"#;
        fs::write(dir.path().join(FILE), text).unwrap();
        let (loaded, warning) = Store::new(dir.path()).load();
        assert_eq!(warning, None);
        assert!(loaded.services[0].masquerade.is_empty());
        assert_eq!(loaded.services[0].reals[0].real.tunnel, Tunnel::default());
    }

    #[test]
    fn a_torn_file_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        store.save(&desired()).unwrap();
        let path = dir.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() / 2]).unwrap();
        let (loaded, warning) = store.load();
        assert_eq!(loaded, Desired::default());
        assert!(warning.unwrap().contains("set aside"));
        assert!(dir.path().join("state.json.bad").exists());
    }
}
