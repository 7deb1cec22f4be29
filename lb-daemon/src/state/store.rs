//! What the runtime has made or changed of the desired state, on disk, so that it
//! holds over restarts: written whole, with fsync and rename, before a command
//! answers. A file that cannot be read is set aside, never fatal.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    iter,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{desired::Desired, stored::Stored};

const FILE: &str = "state.json";

/// `state_dir/state.json`.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
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
        let outcome = set_aside(&self.path);
        let warning = format!("state file {}: {error}; {outcome}", self.path.display());
        (Desired::default(), Some(warning))
    }

    /// Writes what is not the file's as it stands there; after an error the old file is still there.
    pub fn save(&self, desired: &Desired) -> io::Result<()> {
        write_whole(&self.path, &Stored::from(desired))
    }
}

/// Puts a file that cannot be read out of the way, and says where it is: beside those
/// of earlier times, which may be all that is left of what somebody looks for.
pub(crate) fn set_aside(path: &Path) -> String {
    let with = |suffix: String| {
        let mut aside = path.as_os_str().to_owned();
        aside.push(suffix);
        PathBuf::from(aside)
    };
    let aside = iter::once(".bad".to_owned())
        .chain((1_u32..).map(|number| format!(".bad.{number}")))
        .map(with)
        .find(|aside| fs::symlink_metadata(aside).is_err())
        .expect("a number that is free");
    match fs::rename(path, &aside) {
        Ok(()) => format!("set aside as {}", aside.display()),
        Err(error) => format!("left there: {error}"),
    }
}

/// Writes a file in one step, and to the disk; after an error the old one is still
/// there.
pub(super) fn write_whole(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::Owner;
    use crate::config::{
        file, mark,
        model::{
            ForwardingMethod, MarkRule, OnDown, Persistence, Protocol, RateLimit, Real, RealId,
            RealState, Scheduler, Scheduling, Service, ServiceId, Tunnel, TunnelKind,
        },
    };

    fn real(text: &str) -> RealId {
        let socket: std::net::SocketAddr = text.parse().unwrap();
        RealId {
            address: socket.ip(),
            port: socket.port(),
        }
    }

    fn rule(ports: &str) -> MarkRule {
        MarkRule {
            mark: 80,
            protocol: Protocol::Tcp,
            destination: ("2001:db8::".parse().unwrap(), 32),
            ports: mark::ports(ports).unwrap(),
        }
    }

    const HEALTH: &str = "require = 'any'\nsorry_server = { address = '10.0.0.9', forward = 'dr' }\n\
                          [[health]]\ntype = 'icmp'\n[[health]]\ntype = 'tcp'\nport = 8080\n";
    const REAL_HEALTH: &str = "notify_up = ['/bin/true']\nhealth = []\n";

    fn desired() -> Desired {
        let id: ServiceId = "tcp:192.0.2.10:80".parse().unwrap();
        let mut desired = Desired::default();
        desired
            .add_service(Service {
                id,
                name: Some("web".into()),
                scheduler: Scheduler::Mh,
                scheduler_flags: lb_common::scheduler::flag::PORT,
                mh_table_size: 251,
                slow_start: None,
                forward: ForwardingMethod::Nat,
                masquerade: vec![[10, 0, 0, 250].into()],
                persistence: Some(Persistence {
                    timeout_s: 60,
                    netmask: 24,
                    netmask_v6: 64,
                }),
                on_down: OnDown::Reset,
                rate_limit: Some(RateLimit {
                    connections: 10,
                    burst: 30,
                }),
                one_packet: false,
                health: file::service_health(HEALTH, id, ForwardingMethod::Nat).unwrap(),
                reals: vec![
                    Real {
                        upper_threshold: 100,
                        lower_threshold: 50,
                        state: RealState::Drain,
                        health: file::real_health(REAL_HEALTH).unwrap(),
                        ..Real::new(real("10.0.0.2:8080"), ForwardingMethod::Nat)
                    },
                    Real {
                        tunnel: Tunnel {
                            kind: TunnelKind::Gue,
                            port: 7000,
                            checksum: true,
                        },
                        state: RealState::Maint,
                        ..Real::new(real("[2001:db8::2]:80"), ForwardingMethod::Tun)
                    },
                ],
            })
            .unwrap();
        for id in ["fwmark6:80", "udp:192.0.2.11:53"] {
            let mut service = Service::new(id.parse().unwrap(), Scheduler::Rr);
            service.one_packet = id.starts_with("udp");
            service.slow_start = Some(std::time::Duration::from_secs(30));
            desired.add_service(service).unwrap();
        }
        desired.deleted.push("udp:192.0.2.10:53".parse().unwrap());
        desired.deleted.push("fwmark:7".parse().unwrap());
        desired.add_mark(rule("80,10000-20000")).unwrap();
        desired.deleted_marks.push(rule("all"));
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
    fn a_file_of_an_earlier_version_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"version":1,"services":[{"service":"tcp:192.0.2.10:80","name":null,"scheduler":"rr",
            "forward":"tun","owner":"runtime","edited":false,"deleted_reals":[],
            "reals":[{"address":"10.0.0.2","port":80,"weight":1,"forward":"tun","owner":"runtime","edited":false}]
            }],"deleted":[]}"#;
        fs::write(dir.path().join(FILE), text).unwrap();
        let (loaded, warning) = Store::new(dir.path()).load();
        assert_eq!(warning, None);
        assert!(loaded.services[0].masquerade.is_empty());
        let scheduling = loaded.services[0].service().scheduling();
        assert_eq!(scheduling, Scheduling::plain(Scheduler::Rr));
        let real = &loaded.services[0].reals[0].real;
        assert_eq!(*real, Real::new(real.id, ForwardingMethod::Tun));
        assert_eq!(loaded.services[0].persistence, None);
        assert!(loaded.marks.is_empty() && loaded.deleted_marks.is_empty());
    }

    /// The rest is in the configuration: thousands of services must not be written
    /// with each change.
    #[test]
    fn what_is_the_files_is_not_stored() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let service = |n: u8| {
            let id = format!("tcp:192.0.2.{n}:80").parse().unwrap();
            let real = |n| Real::new(real(&format!("10.0.0.{n}:80")), ForwardingMethod::Dr);
            let mut service = Service::new(id, Scheduler::Rr);
            service.reals = (1..=3).map(real).collect();
            service
        };
        let file: Vec<_> = (1..=4).map(service).collect();
        let (mut desired, _) = Desired::merge(&file, &[], &Desired::default(), true);
        store.save(&desired).unwrap();
        assert_eq!(store.load().0, Desired::default());

        desired.services[1].reals[2].real.state = RealState::Drain;
        desired.services[2].edited = true;
        desired.services[3].reals[0].owner = Owner::Runtime;
        store.save(&desired).unwrap();
        let (stored, _) = store.load();
        let counts: Vec<_> = stored.services.iter().map(|s| s.reals.len()).collect();
        assert_eq!(counts, [1, 0, 1]);
        let merged = Desired::merge(&file, &[], &stored, true).0;
        let first =
            |desired: &Desired| desired.services.iter().take(3).cloned().collect::<Vec<_>>();
        assert_eq!(first(&merged), first(&desired));
    }

    /// Torn, of another program, of another version, no text at all: nothing is taken
    /// of it, it is kept, and so are those of earlier times.
    #[test]
    fn what_cannot_be_read_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        store.save(&desired()).unwrap();
        let path = dir.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        let version = text.replacen("\"version\":1", "\"version\":2", 1);
        assert_ne!(version, text);
        let contents: [(&[u8], &str); 5] = [
            (&text.as_bytes()[..text.len() / 2], "state.json.bad"),
            (b"", "state.json.bad.1"),
            (br#"{"name":"another program"}"#, "state.json.bad.2"),
            (version.as_bytes(), "state.json.bad.3"),
            (b"\xff\xfe", "state.json.bad.4"),
        ];
        for (bytes, aside) in contents {
            fs::write(&path, bytes).unwrap();
            let (loaded, warning) = store.load();
            assert_eq!(loaded, Desired::default());
            let told = format!("set aside as {}", dir.path().join(aside).display());
            let warning = warning.unwrap();
            assert!(warning.ends_with(&told), "{warning}");
            assert!(!path.exists());
        }
        for (bytes, aside) in contents {
            assert_eq!(fs::read(dir.path().join(aside)).unwrap(), bytes, "{aside}");
        }
    }
}
