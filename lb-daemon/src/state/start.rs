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
use tokio::{
    io::unix::AsyncFd,
    sync::{mpsc, watch},
};
use tracing::{info, warn};

use super::{
    addresses::{self, Addresses},
    desired::{Desired, ServiceEntry},
    director::Director,
    events::Events,
    footprint::Footprint,
    health::{Health, Turn},
    interfaces::{Interfaces, write_ports},
    passive::Passive,
    path_mtu::PathMtus,
    rates::Rates,
    reach::Reach,
    reload::{NoRoomFor, rehearse},
    slow_start::SlowStarts,
    store::Store,
};
use crate::{
    config::model::{Config, Defence, ForwardingMethod, ServiceId},
    dataplane::{
        DataPlaneError, Loaded, Programs, Sizes, attach, bpffs,
        buckets::ConnectionTables,
        migrate::{self, Migration},
        pinned::{PinDir, lock_dir},
        privilege::check_privilege,
        probe_path,
        sweep::{How, Sweeper, Whose},
    },
    net::{NetError, hops::Hops, links::Links},
    reconcile::{Image, ReconcileError, Reconciler},
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
    #[error("{0}")]
    Addresses(String),
    #[error(
        "interface {interface}: [capacity] and xdp_mode cannot change in one start: connections would be lost; start \
         with one of the changes, then with both"
    )]
    TwoAtOnce { interface: String },
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
        let (addresses, unread) = Addresses::new(state_dir);
        let (stored, warning) = store.load();
        let (desired, notes) = Desired::merge(&config.services, &config.marks, &stored, true);
        let alerts = watch::Sender::new(config.alerts.clone());
        let (mut health, no_history) = Health::new(state_dir, alerts.subscribe());
        let interfaces = config.director.interfaces.clone();
        health.checks.path.set_interfaces(interfaces);
        health.checks.is_restart = pins.is_populated();
        // They may have their first answers by the time that the programs are loaded.
        for entry in &desired.services {
            health.watch(entry, |_| false);
            // What they were when lbd last knew; what turns from here on is told.
            health.take_note(entry);
        }
        let mut warnings: Vec<String> = notes
            .warnings
            .into_iter()
            .chain(warning)
            .chain(unread)
            .chain(no_history)
            .collect();
        // The file was changed while no daemon ran, which would have refused
        // it.
        if let Err(invalid) = desired.validate() {
            warnings.push(format!(
                "{invalid}; a change made at run time is part of it"
            ));
        }

        // Neighbours first: it changes nothing, and they answer while the programs are
        // being loaded.
        let (hops, hop_changes) = Hops::start()?;
        let reals: HashSet<IpAddr> = desired
            .services
            .iter()
            .flat_map(|s| &s.reals)
            .filter(|r| r.real.forward != ForwardingMethod::Local)
            .map(|r| r.real.id.address)
            .collect();
        let waiting = hops.clone();
        let resolving =
            tokio::spawn(async move { waiting.resolve_now(reals, NEIGHBOUR_PATIENCE).await });

        let sizes = Sizes::from(config.capacity);
        let loaded = Programs::load(&pins, &sizes)?;
        let _ = resolving.await;
        let adopted = loaded.adopted;
        let links = hops.links();
        let known_links = links.borrow().clone();
        let setting_up = set_up(
            &config,
            &desired,
            &mut health,
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
                let _ = pins.forget_staging();
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
            turns,
        } = parts;
        let listen = config.metrics.listen;
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
            addresses,
            path_mtus: PathMtus::default(),
            slow_starts: SlowStarts::default(),
            rates: Rates::default(),
            passive: Passive::default(),
            health,
            alerts,
            events_out: Events::default(),
            is_last_reload_good: true,
            metrics_listen: watch::Sender::new(listen),
            metrics_problem: watch::Sender::new(None).subscribe(),
            rollback: None,
            reach: Reach::default(),
            events,
            sweeper,
            endings: Vec::new(),
            reloads: Arc::default(),
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
        director.resume_rollback();
        director.schedule_shares();
        director.health.checks.is_restart = false;
        director.forget_health();
        director.greet(&turns);
        director.tell_turns(turns);
        director.watch_hops().await;
        // The answers that came while the rest was set up.
        while let Ok(changes) = director.hop_changes.try_recv() {
            director.note_hops(changes);
        }
        director.inspect();
        director.settle_addresses().await;
        director.warn_of_foreign().await;
        give_memory_back();
        info!(
            adopted,
            verified = !director.programs.are_kept(),
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
    /// Of health, to be told when all is in place.
    turns: Vec<(ServiceId, Turn)>,
}

#[expect(
    clippy::too_many_arguments,
    reason = "all that a start has made so far"
)]
/// From loaded programs to attached ones. Interfaces are attached before the
/// first write to an adopted map, and what is to be written is planned once
/// before: what can fail comes first.
fn set_up(
    config: &Config,
    desired: &Desired,
    health: &mut Health,
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
        mut migration,
        adopted,
        ..
    } = loaded;
    let director = programs.xdp(program::DIRECTOR)?;
    let interfaces = &config.director.interfaces;
    // A link in another mode is a new one, and its program runs before all is there.
    if migration.is_some()
        && let Some(interface) = attach::displaced(pins, interfaces, config.director.xdp_mode)
    {
        let interface = interface.to_owned();
        return Err(StartError::TwoAtOnce { interface });
    }
    let mut attachments =
        attach::prepare(pins, director, interfaces, config.director.xdp_mode, &[])?;

    if let Err(error) = programs.start_log() {
        warn!(%error, "the programs' log cannot be read");
    }
    let mut reconciler = Reconciler::new(tables, sizes)?;
    let mut turns = Vec::new();
    for entry in &desired.services {
        // What has been found meanwhile.
        turns.extend(health.take_note(entry));
        reconciler.set_standings(entry.id, health.standings(entry.id));
    }
    let ours: HashSet<_> = desired.services.iter().map(|entry| entry.id).collect();
    let strangers: Vec<_> = reconciler
        .image()
        .bound_services()
        .filter(|id| !ours.contains(id))
        .collect();
    let wanted = desired.services.iter().map(|entry| entry.id);
    let changed: Vec<_> = strangers.iter().copied().chain(wanted).collect();
    // In maps that are new there is no room for all services, or they are made all at once.
    if adopted {
        rehearse(reconciler.image(), desired, &changed)?;
    }
    let timeouts = desired.timeouts.over(&config.timeouts);
    reconciler.set_policy(&config.options, &config.defence, &timeouts)?;
    write_ports(reconciler.tables_mut(), links, interfaces)?;
    match &migration {
        Some(_) => programs.set_stages_but(&migrate::HELD)?,
        None => programs.set_stages()?,
    }
    for id in strangers {
        warnings.push(format!(
            "service {id}: found in the data plane, in neither the file nor the state; removed, its \
             connections finish"
        ));
        reconciler.remove_service(id)?;
    }
    warnings.extend(
        desired
            .services
            .iter()
            .filter_map(|entry| alien_reals(reconciler.image(), entry)),
    );
    reconciler.set_services(desired.services.iter().map(ServiceEntry::service))?;
    reconciler.set_marks(&desired.mark_rules())?;
    if let Some(migration) = &mut migration {
        migration.catch_up()?;
        pins.promote()?;
    }
    attach::commit(pins, programs.xdp(program::DIRECTOR)?, &mut attachments)?;
    if let Some(migration) = migration {
        if let Err(error) = finish(migration, pins, &reconciler, warnings) {
            // The new data plane forwards already.
            warnings.push(format!(
                "connections of the last moment were not carried over: {error}"
            ));
        }
        pins.retire_former()?;
        programs.set_stages()?;
        pins.forget_staging()?;
    }
    programs.keep(pins);

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
        turns,
    })
}

/// Reals that the maps have of a service, and neither the file nor the state has.
fn alien_reals(image: &Image, entry: &ServiceEntry) -> Option<String> {
    let sorry = entry.health.sorry_server.map(|sorry| sorry.id);
    let reals = entry.reals.iter().map(|of| of.real.id);
    let known: HashSet<_> = reals.chain(sorry).collect();
    let pinned = image.reals_of(entry.id).filter(|real| {
        // Others have been deleted before, and are there for their connections.
        !known.contains(real) && image.real_slot(entry.id, *real).is_some()
    });
    let mut aliens: Vec<_> = pinned.collect();
    if aliens.is_empty() {
        return None;
    }
    aliens.sort_unstable();
    let aliens: Vec<_> = aliens.iter().map(ToString::to_string).collect();
    Some(format!(
        "service {}: reals found in the data plane, in neither the file nor the state; removed, \
         their connections finish: {}",
        entry.id,
        aliens.join(", ")
    ))
}

/// What reading a large configuration took, or making a long list, is not needed any more,
/// and `malloc` would keep it.
pub(super) fn give_memory_back() {
    // SAFETY: it has no conditions.
    unsafe { libc::malloc_trim(0) };
}

/// The new maps are in force: what the former ones have had since goes there, too.
fn finish(
    mut migration: Migration,
    pins: &PinDir,
    reconciler: &Reconciler,
    warnings: &mut Vec<String>,
) -> Result<(), StartError> {
    let (counts, left_out) = migration.carry_over(pins.path())?;
    reconciler.tables().repair(&counts)?;
    if left_out > 0 {
        warnings.push(format!(
            "{left_out} connections had no room in the new connection tables"
        ));
    }
    info!("connections carried over to maps of other sizes");
    Ok(())
}

/// What [`unload`] has taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unloaded {
    /// Whether there was a data plane.
    pub data_plane: bool,
    /// Addresses that lbd had added.
    pub addresses: usize,
}

/// Takes everything away: virtual addresses that lbd has added, links, maps, pins.
/// Refused while a daemon runs.
///
/// # Errors
/// [`StartError::Addresses`] where some of the addresses stay; the rest is gone then.
pub async fn unload(config: &Config) -> Result<Unloaded, StartError> {
    check_privilege()?;
    let director = &config.director;
    let _state_lock = if director.state_dir.exists() {
        Some(lock_dir(&director.state_dir)?)
    } else {
        None
    };
    let pins = if director.pin_dir.exists() {
        let pins = PinDir::open(&director.pin_dir)?;
        pins.check_other_versions()?;
        Some(pins)
    } else {
        None
    };
    // First, so that the host's own stack does not answer clients in between.
    let (addresses, problems) = addresses::unload(&director.state_dir).await;
    let mut data_plane = false;
    if let Some(pins) = pins {
        data_plane = pins.is_populated();
        pins.remove()?;
    }
    if let Err(error) = probe_path::remove_leftovers() {
        warn!(%error, "filters of traffic control of health probes stay");
    }
    match &problems[..] {
        [] => Ok(Unloaded {
            data_plane,
            addresses,
        }),
        problems => Err(StartError::Addresses(problems.join("; "))),
    }
}
