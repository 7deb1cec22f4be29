//! Bringing the data plane up. Whatever fails, what was there before is there
//! afterwards: new pins and links are taken back, adopted ones go on.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use lb_common::abi::program;
use tokio::{io::unix::AsyncFd, sync::mpsc};
use tracing::{info, warn};

use super::{
    desired::Desired,
    director::Director,
    footprint::Footprint,
    interfaces::{Interfaces, write_ports},
    path_mtu::PathMtus,
    reload::{NoRoomFor, rehearse},
    slow_start::SlowStarts,
    store::Store,
};
use crate::{
    config::model::{Config, Defence, ForwardingMethod},
    dataplane::{
        DataPlaneError, Loaded, Programs, Sizes, attach, bpffs,
        buckets::ConnectionTables,
        pinned::{PinDir, lock_dir},
        privilege::check_privilege,
        sweep::{How, Sweeper, Whose},
    },
    net::{NetError, hops::Hops, links::Links},
    reconcile::{ReconcileError, Reconciler},
};

/// How long a start waits for neighbours to answer: the first packets shall
/// find their way, and a real that is down shall not hold up the others.
const NEIGHBOUR_PATIENCE: Duration = Duration::from_millis(1500);

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    DataPlane(#[from] DataPlaneError),
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
    #[error(transparent)]
    NoRoom(#[from] NoRoomFor),
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
        let (desired, notes) = Desired::merge(&config.services, &config.marks, &stored, true);
        let mut warnings: Vec<String> = notes.warnings.into_iter().chain(warning).collect();
        // The file was changed while no daemon ran, which would have refused
        // it.
        if let Err(invalid) = desired.validate() {
            warnings.push(format!(
                "{invalid}; a change made at run time is part of it"
            ));
        }

        // Neighbours first: it changes nothing, and the rest need not wait.
        let (hops, hop_changes) = Hops::start()?;
        let reals: HashSet<IpAddr> = desired
            .services
            .iter()
            .flat_map(|s| &s.reals)
            .filter(|r| r.real.forward != ForwardingMethod::Local)
            .map(|r| r.real.id.address)
            .collect();
        let waiting = hops.clone();
        let _ = waiting.resolve_now(reals, NEIGHBOUR_PATIENCE).await;

        let sizes = Sizes::from(config.capacity);
        let loaded = Programs::load(&pins, &sizes)?;
        let adopted = loaded.adopted;
        let links = hops.links();
        let known_links = links.borrow().clone();
        let setting_up = set_up(
            &config,
            &desired,
            &pins,
            sizes,
            loaded,
            &known_links,
            &mut warnings,
        );
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
            connection_tables,
            reports,
        } = parts;
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
            interfaces: Interfaces::new(links),
            path_mtus: PathMtus::default(),
            slow_starts: SlowStarts::default(),
            unreachable: HashSet::new(),
            events,
            sweeper,
            connection_tables,
            reports,
            templates: 0,
            began: Instant::now(),
            warnings,
            foreign: Vec::new(),
            _state_lock: state_lock,
        };
        for warning in &director.warnings {
            warn!("{warning}");
        }
        if let Err(error) = director.store.save(&director.desired) {
            warn!(%error, "the state cannot be saved");
        }
        director.schedule_shares();
        director.watch_hops().await;
        // The answers that came while the rest was set up.
        while let Ok(changes) = director.hop_changes.try_recv() {
            director.note_hops(changes);
        }
        director.inspect();
        director.warn_of_foreign().await;
        info!(
            adopted,
            services = director.desired.services.len(),
            "data plane up"
        );
        Ok(director)
    }
}

struct Parts {
    reconciler: Reconciler,
    programs: Programs,
    attachments: Vec<attach::Attachment>,
    events: AsyncFd<aya::maps::RingBuf<aya::maps::MapData>>,
    sweeper: Sweeper,
    connection_tables: Arc<ConnectionTables>,
    reports: mpsc::Receiver<crate::dataplane::sweep::Report>,
}

/// From loaded programs to attached ones. Interfaces are attached before the
/// first write to an adopted map, and what is to be written is planned once
/// before: what can fail comes first.
fn set_up(
    config: &Config,
    desired: &Desired,
    pins: &PinDir,
    sizes: Sizes,
    loaded: Loaded,
    links: &Links,
    warnings: &mut Vec<String>,
) -> Result<Parts, StartError> {
    let Loaded {
        mut programs,
        tables,
        events,
        walked,
        ..
    } = loaded;
    let director = programs.xdp(program::DIRECTOR)?;
    let interfaces = &config.director.interfaces;
    let mut attachments =
        attach::prepare(pins, director, interfaces, config.director.xdp_mode, &[])?;

    if let Err(error) = programs.start_log() {
        warn!(%error, "the programs' log cannot be read");
    }
    let mut reconciler = Reconciler::new(tables, sizes)?;
    let ours: HashSet<_> = desired.services.iter().map(|entry| entry.id).collect();
    let strangers: Vec<_> = reconciler
        .image()
        .bound_services()
        .filter(|id| !ours.contains(id))
        .collect();
    let wanted = desired.services.iter().map(|entry| entry.id);
    let changed: Vec<_> = strangers.iter().copied().chain(wanted).collect();
    rehearse(reconciler.image(), desired, &changed)?;
    let timeouts = desired.timeouts.over(&config.timeouts);
    reconciler.set_policy(&config.options, &config.defence, &timeouts)?;
    write_ports(reconciler.tables_mut(), links, interfaces)?;
    programs.set_stages()?;
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
    reconciler.set_marks(&desired.mark_rules())?;
    attach::commit(pins, programs.xdp(program::DIRECTOR)?, &mut attachments)?;

    let io = |doing| move |source| StartError::Io { doing, source };
    let (reporter, reports) = mpsc::channel(1);
    let connection_tables =
        ConnectionTables::of(&walked).map_err(io("share the connection tables"))?;
    let sweeper = Sweeper::start(walked, reporter).map_err(io("start the sweep thread"))?;
    // What has changed while no daemon ran.
    let Defence { deny, allow, .. } = &config.defence;
    if !deny.is_empty() || !allow.is_empty() {
        drop(sweeper.end(Whose::Denied(deny.clone(), allow.clone()), How::Cut));
    }
    let deleted: Vec<_> = reconciler.image().retired_slots().collect();
    if config.options.expire_nodest && !deleted.is_empty() {
        drop(sweeper.end(Whose::Reals(deleted), How::Doom));
    }
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
        connection_tables: Arc::new(connection_tables),
        reports,
    })
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
    pins.check_other_versions()?;
    let was_there = pins.is_populated();
    pins.remove()?;
    Ok(was_there)
}
