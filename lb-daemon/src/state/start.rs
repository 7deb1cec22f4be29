//! Bringing the data plane up. Whatever fails, what was there before is there
//! afterwards: new pins and links are taken back, adopted ones go on.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    os::fd::AsFd as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use lb_common::abi::{Settings, program, settings_flag};
use tokio::{io::unix::AsyncFd, sync::mpsc};
use tracing::{info, warn};

use super::{desired::Desired, director::Director, footprint::Footprint, store::Store};
use crate::{
    config::model::{Config, ForwardingMethod, Options, Timeouts},
    dataplane::{
        DataPlaneError, Loaded, Programs, Sizes, attach, bpffs,
        pinned::{PinDir, lock_dir},
        privilege::check_privilege,
        sweep::Sweeper,
    },
    net::{NetError, forwarding, hops::Hops, link},
    reconcile::{ReconcileError, Reconciler},
};

/// How long a start waits for neighbours to answer: the first packets shall
/// find their way, and a real that is down shall not hold up the others.
const NEIGHBOUR_PATIENCE: Duration = Duration::from_millis(1500);

pub(super) const FORWARDING_WARNING: &str =
    "net.ipv4.ip_forward is off: services with nat get no answers back to their clients";

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    DataPlane(#[from] DataPlaneError),
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
    #[error("state_dir {path}: {source}")]
    StateDir {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{doing}: {source}")]
    Io {
        doing: &'static str,
        source: std::io::Error,
    },
}

impl Director {
    /// Loads or adopts the data plane, applies the configuration with what the
    /// runtime changed before, and attaches.
    ///
    /// `footprint` notes what is made on the way, for the caller to keep.
    pub async fn start(
        config: Config,
        config_path: PathBuf,
        footprint: &mut Footprint,
    ) -> Result<Self, StartError> {
        check_privilege()?;
        for interface in &config.director.interfaces {
            attach::check_interface(interface)?;
        }
        let state_dir = &config.director.state_dir;
        footprint
            .create_dir_all(state_dir)
            .map_err(|source| StartError::StateDir {
                path: state_dir.clone(),
                source,
            })?;
        let state_lock = lock_dir(state_dir)?;
        bpffs::ensure(&config.director.pin_dir, footprint)?;
        let pins = PinDir::open(&config.director.pin_dir)?;
        let store = Store::new(state_dir);
        let (stored, warning) = store.load();
        let (desired, notes) = Desired::merge(&config.services, &stored, true);
        let mut warnings: Vec<String> = notes.warnings.into_iter().chain(warning).collect();

        // Neighbours first: it changes nothing, and the rest need not wait.
        let (hops, hop_changes) = Hops::start()?;
        let reals: HashSet<IpAddr> = desired
            .services
            .iter()
            .flat_map(|s| &s.reals)
            .map(|r| r.real.id.address)
            .collect();
        let waiting = hops.clone();
        let _ = waiting.resolve_now(reals, NEIGHBOUR_PATIENCE).await;

        let sizes = Sizes::from(config.capacity);
        let loaded = Programs::load(&pins, &sizes)?;
        let adopted = loaded.adopted;
        let setting_up = set_up(&config, &desired, &pins, sizes, loaded, &mut warnings);
        let parts = match setting_up {
            Ok(parts) => parts,
            Err(error) => {
                if !adopted {
                    let _ = pins.clear();
                }
                return Err(error);
            }
        };
        let Parts {
            reconciler,
            programs,
            attachments,
            events,
            sweeper,
            reports,
        } = parts;
        warn_of_veth(&attachments, &mut warnings).await;
        let mut director = Self {
            config,
            config_path,
            desired,
            store,
            reconciler,
            programs,
            pins,
            attachments,
            hops,
            hop_changes,
            resolutions: HashMap::new(),
            unreachable: HashSet::new(),
            events,
            sweeper,
            reports,
            connections: 0,
            began: Instant::now(),
            warnings,
            _state_lock: state_lock,
        };
        for warning in &director.warnings {
            warn!("{warning}");
        }
        if let Err(error) = director.store.save(&director.desired) {
            warn!(%error, "the state cannot be saved");
        }
        director.watch_hops().await;
        // The answers that came while the rest was set up.
        while let Ok(changes) = director.hop_changes.try_recv() {
            director.note_hops(changes);
        }
        director.warn_of_forwarding();
        info!(
            adopted,
            services = director.desired.services.len(),
            "data plane up"
        );
        Ok(director)
    }

    /// nat needs the kernel's forwarding for the way back; dr and tun do not.
    pub(super) fn warn_of_forwarding(&mut self) {
        let reals = self
            .desired
            .services
            .iter()
            .flat_map(|service| &service.reals);
        let has_nat = reals
            .into_iter()
            .any(|r| r.real.forward == ForwardingMethod::Nat);
        let is_missing = has_nat && matches!(forwarding::ipv4_enabled(), Ok(false));
        let was_missing = self
            .warnings
            .iter()
            .any(|warning| warning == FORWARDING_WARNING);
        if is_missing && !was_missing {
            warn!("{FORWARDING_WARNING}");
            self.warnings.push(FORWARDING_WARNING.to_owned());
        } else if was_missing && !is_missing {
            self.warnings
                .retain(|warning| warning != FORWARDING_WARNING);
        }
    }
}

/// What a veth's driver keeps to itself: it drops, uncounted, what a program
/// sends while the other end has none.
async fn warn_of_veth(attachments: &[attach::Attachment], warnings: &mut Vec<String>) {
    for attachment in attachments.iter().filter(|a| a.mode == "native") {
        let name = &attachment.interface;
        let link = link::find(name).await;
        if link.is_ok_and(|link| link.kind.as_deref() == Some("veth")) {
            warnings.push(format!(
                "interface {name}: a veth in native mode; what lbd sends by it is lost unless the other end runs an \
                 XDP program too; director.xdp_mode = \"generic\" needs none"
            ));
        }
    }
}

struct Parts {
    reconciler: Reconciler,
    programs: Programs,
    attachments: Vec<attach::Attachment>,
    events: AsyncFd<aya::maps::RingBuf<aya::maps::MapData>>,
    sweeper: Sweeper,
    reports: mpsc::Receiver<crate::dataplane::sweep::Report>,
}

/// From loaded programs to attached ones. Interfaces are attached before the
/// first write to an adopted map: what can fail comes first.
fn set_up(
    config: &Config,
    desired: &Desired,
    pins: &PinDir,
    sizes: Sizes,
    loaded: Loaded,
    warnings: &mut Vec<String>,
) -> Result<Parts, StartError> {
    let Loaded {
        mut programs,
        tables,
        events,
        connections,
        ..
    } = loaded;
    let director = programs.xdp(program::DIRECTOR)?;
    let interfaces = &config.director.interfaces;
    let (mut attachments, attach_warnings) =
        attach::prepare(pins, director, interfaces, config.director.xdp_mode)?;
    warnings.extend(attach_warnings);

    if let Err(error) = programs.start_log() {
        warn!(%error, "the programs' log cannot be read");
    }
    let settings = settings(&config.timeouts, &config.options);
    let mut reconciler = Reconciler::new(tables, sizes)?;
    reconciler.tables_mut().set_settings(settings)?;
    programs.set_stages()?;
    let strangers: Vec<_> = reconciler
        .image()
        .bound_services()
        .filter(|id| desired.services.iter().all(|entry| entry.id != *id))
        .collect();
    for id in strangers {
        warnings.push(format!(
            "service {id}: found in the data plane, in neither the file nor the state; removed, its \
             connections finish"
        ));
        reconciler.remove_service(id)?;
    }
    for entry in &desired.services {
        reconciler.set_service(&entry.service())?;
    }
    attach::commit(pins, programs.xdp(program::DIRECTOR)?, &mut attachments)?;

    let io = |doing| move |source| StartError::Io { doing, source };
    let sweep = programs.fd(program::SWEEP)?;
    let sweep = sweep
        .as_fd()
        .try_clone_to_owned()
        .map_err(io("duplicate the sweep program"))?;
    let table = connections
        .fd()
        .as_fd()
        .try_clone_to_owned()
        .map_err(io("duplicate the connection table"))?;
    let (reporter, reports) = mpsc::channel(1);
    let sweeper = Sweeper::start(table, sweep, settings.timeouts_s, reporter)
        .map_err(io("start the sweep thread"))?;
    // SAFETY: the ring owns its map's descriptor, always the same, and closes
    // it when it is dropped.
    let events = unsafe { AsyncFd::register(events) };
    let events = events.map_err(|error| io("watch the events ring")(error.into()))?;
    Ok(Parts {
        reconciler,
        programs,
        attachments,
        events,
        sweeper,
        reports,
    })
}

/// `[timeouts]` and `[options]` as the programs read them.
pub(super) fn settings(timeouts: &Timeouts, options: &Options) -> Settings {
    let mut settings = Settings {
        timeouts_s: [0; 16],
        flags: 0,
        icmp_rate: options.icmp_rate,
    };
    settings.timeouts_s[..timeouts.0.len()].copy_from_slice(&timeouts.0);
    if options.sloppy_tcp {
        settings.flags |= settings_flag::SLOPPY_TCP;
    }
    if options.reuse_fin_wait {
        settings.flags |= settings_flag::REUSE_FIN_WAIT;
    }
    settings
}

/// Takes everything away: links, maps, pins. Refused while a daemon runs.
pub fn unload(config: &Config) -> Result<bool, StartError> {
    check_privilege()?;
    let director = &config.director;
    if !director.pin_dir.exists() {
        return Ok(false);
    }
    let _state_lock = if director.state_dir.exists() {
        Some(lock_dir(&director.state_dir)?)
    } else {
        None
    };
    let pins = PinDir::open(&director.pin_dir)?;
    let was_there = pins.is_populated();
    pins.remove()?;
    Ok(was_there)
}
