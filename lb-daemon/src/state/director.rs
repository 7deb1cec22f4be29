//! The task that owns the desired state: requests, next hops, walks of the
//! connection table and the programs' own requests all come here, one after
//! the other.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, atomic::AtomicUsize},
    time::{Duration, Instant},
};

use aya::maps::{MapData, RingBuf};
use lb_common::abi::Event;
use tokio::{
    io::unix::AsyncFd,
    sync::{mpsc, oneshot, watch},
    time::sleep_until,
};
use tracing::info;

use super::{
    addresses::Addresses,
    desired::Desired,
    differences::{difference, mark_differences},
    events::Events,
    handle::{By, ChangeError, Message, Reply, Request, ServiceRef},
    health::{Health, Turn},
    interfaces::Interfaces,
    passive::Passive,
    path_mtu::PathMtus,
    rates::Rates,
    reach::Reach,
    slow_start::SlowStarts,
    store::Store,
    transaction::Rollback,
};
use crate::{
    api::wire::EventKind,
    config::model::{Alerts, Config, RealId, ServiceId},
    dataplane::{
        Programs,
        attach::Attachment,
        buckets::ConnectionTables,
        pinned::PinDir,
        sweep::{How, Report, Sweeper, Whose},
    },
    net::hops::{Change, Hops, Resolution},
    reconcile::{ReconcileError, Reconciler, standing::Standings},
};

/// How long a stop waits for commands that are to be told of it.
const NOTICES_LIMIT: Duration = Duration::from_secs(10);

/// The state task. [`Director::start`] brings the data plane up, and
/// [`Director::run`] works until it is told to stop.
pub struct Director {
    pub(super) config: Config,
    pub(super) config_path: PathBuf,
    pub(super) desired: Desired,
    pub(super) store: Store,
    pub(super) reconciler: Reconciler,
    pub(super) programs: Programs,
    pub(super) pins: PinDir,
    pub(super) attachments: Vec<Attachment>,
    pub(super) hops: Hops,
    pub(super) hop_changes: mpsc::Receiver<Vec<Change>>,
    pub(super) resolutions: HashMap<IpAddr, Resolution>,
    pub(super) interfaces: Interfaces,
    pub(super) addresses: Addresses,
    pub(super) path_mtus: PathMtus,
    pub(super) slow_starts: SlowStarts,
    pub(super) rates: Rates,
    pub(super) passive: Passive,
    pub(super) health: Health,
    /// Whom the mails go to.
    pub(super) alerts: watch::Sender<Option<Alerts>>,
    pub(super) events_out: Events,
    pub(super) is_last_reload_good: bool,
    /// Where metrics are to be served, and why they are not.
    pub(super) metrics_listen: watch::Sender<Option<SocketAddr>>,
    pub(super) metrics_problem: watch::Receiver<Option<String>>,
    /// What goes back unless it is confirmed.
    pub(super) rollback: Option<Rollback>,
    pub(super) reach: Reach,
    pub(super) events: AsyncFd<RingBuf<MapData>>,
    pub(super) sweeper: Sweeper,
    /// Of connections, by the request that is being worked on.
    pub(super) endings: Vec<oneshot::Receiver<io::Result<()>>>,
    /// Those under way, some of which only wait for endings.
    pub(super) reloads: Arc<AtomicUsize>,
    /// For those who list connections.
    pub(super) connection_tables: Arc<ConnectionTables>,
    pub(super) reports: mpsc::Receiver<Report>,
    /// Persistence templates that the last whole walk found.
    pub(super) templates: u64,
    pub(super) began: Instant,
    /// What the operator should know, as `status` shows it.
    pub(super) warnings: Vec<String>,
    /// The same about addresses that this host should have.
    pub(super) foreign: Vec<String>,
    /// Keeps another daemon out of `state_dir`.
    pub(super) _state_lock: nix::fcntl::Flock<std::fs::File>,
}

/// What woke the task.
enum Wake {
    Message(Option<Message>),
    Hops(Option<Vec<Change>>),
    /// False: there will be no more news.
    Links(bool),
    PathMtus,
    Shares,
    Inspection,
    Rates,
    /// Of these services checks think something new.
    Health(HashSet<ServiceId>),
    RollBack,
    Walk(Option<Report>),
    Events(Vec<Event>),
    Stop,
}

impl Director {
    /// Works until `stop` is ready. The data plane goes on forwarding, unless
    /// `detach_on_exit` is set.
    pub async fn run(
        mut self,
        mut messages: mpsc::Receiver<Message>,
        stop: impl Future<Output = ()>,
    ) {
        let mut stop = std::pin::pin!(stop);
        loop {
            let inspect_at = self.interfaces.deadline();
            let path_mtus_end = self.path_mtus.deadline().unwrap_or(inspect_at);
            let next_share = self.slow_starts.next;
            let shares_grow_at = next_share.unwrap_or(inspect_at);
            let sample_at = self.rates.next();
            let roll_back_at = self
                .rollback
                .as_ref()
                .map_or(inspect_at, |rollback| rollback.at);
            let wake = tokio::select! {
                message = messages.recv() => Wake::Message(message),
                changes = self.hop_changes.recv() => Wake::Hops(changes),
                change = self.interfaces.links.changed() => Wake::Links(change.is_ok()),
                () = sleep_until(path_mtus_end.into()) => Wake::PathMtus,
                () = sleep_until(shares_grow_at.into()), if next_share.is_some() => Wake::Shares,
                () = sleep_until(inspect_at.into()) => Wake::Inspection,
                () = sleep_until(sample_at.into()) => Wake::Rates,
                () = sleep_until(roll_back_at.into()), if self.rollback.is_some() => Wake::RollBack,
                services = self.health.news() => Wake::Health(services),
                report = self.reports.recv() => Wake::Walk(report),
                events = next_events(&mut self.events) => Wake::Events(events),
                () = &mut stop => Wake::Stop,
            };
            match wake {
                Wake::Message(Some(message)) => self.answer(message).await,
                Wake::Hops(Some(changes)) => self.note_hops(changes),
                Wake::Links(true) => {
                    self.note_links();
                    self.settle_addresses().await;
                }
                Wake::PathMtus => self.restore_path_mtus(),
                Wake::Shares => self.grow_shares(),
                Wake::Inspection => {
                    self.inspect();
                    self.addresses.look_again();
                    self.settle_addresses().await;
                }
                Wake::Rates => {
                    self.sample_rates();
                    self.tell_of_others();
                }
                Wake::Health(services) => self.note_health(&services),
                Wake::RollBack => self.roll_back().await,
                Wake::Walk(Some(report)) => self.note_walk(&report).await,
                Wake::Events(events) => self.note_events(&events),
                Wake::Hops(None) | Wake::Links(false) | Wake::Walk(None) => {
                    tracing::error!("a part of the daemon has ended; stopping");
                    break;
                }
                Wake::Message(None) | Wake::Stop => break,
            }
        }
        self.stop_health();
        if self.config.director.detach_on_exit {
            self.addresses.remove_all().await;
            match self.pins.remove() {
                Ok(()) => info!("data plane detached"),
                Err(error) => tracing::error!(%error, "detaching the data plane failed"),
            }
        }
        self.health.finish(NOTICES_LIMIT).await;
    }

    async fn answer(&mut self, message: Message) {
        let Message {
            by,
            if_match,
            request,
        } = message;
        // Nobody waits for the answer any more: not an error.
        match request {
            Request::Services(show, reply) => drop(reply.send(self.view_services(show))),
            Request::Service(at, reply) => drop(reply.send(self.view_some(&at))),
            Request::Status(reply) => {
                self.withdraw_foreign().await;
                self.inspect();
                drop(reply.send(self.view_status()));
            }
            Request::AddService(service, reply) => {
                let add = |d: &mut Desired| Ok((vec![d.add_service(*service)?], ()));
                let outcome = self.change(by, add).await;
                drop(reply.send(outcome));
            }
            Request::EditService(at, patch, reply) => {
                let edit = |d: &mut Desired| {
                    d.check_version(&at, &if_match)?;
                    Ok((d.edit_service(&at, *patch)?, ()))
                };
                let outcome = self.change(by, edit).await;
                drop(reply.send(outcome));
            }
            Request::DeleteService(at, now, reply) => {
                let slots = self.find_slots(&at);
                let delete = |d: &mut Desired| {
                    d.check_version(&at, &if_match)?;
                    Ok((d.delete_service(&at)?, ()))
                };
                let outcome = self.change(by, delete).await;
                self.answer_when_ended(reply, outcome, now, slots);
            }
            Request::DeleteServices(now, reply) => {
                let ids: Vec<_> = self.desired.services.iter().map(|s| s.id).collect();
                let image = self.reconciler.image();
                let slots = ids.iter().flat_map(|id| image.slots_of(*id)).collect();
                let outcome = self.change(by, |d| Ok((d.delete_services(), ()))).await;
                self.answer_when_ended(reply, outcome, now, slots);
            }
            Request::AddReal(at, new, reply) => {
                drop(reply.send(self.change(by, |d| d.add_real(&at, &new)).await));
            }
            Request::EditReal(at, address, port, patch, reply) => {
                let edit = |d: &mut Desired| {
                    d.check_real_version(&at, address, port, &if_match)?;
                    Ok((d.edit_real(&at, address, port, &patch)?, ()))
                };
                // It stays when a configuration goes back.
                let outcome = match patch.is_state_alone() {
                    true => self.change_anyway(by, edit).await,
                    false => self.change(by, edit).await,
                };
                drop(reply.send(outcome));
            }
            Request::DeleteReal(at, address, port, now, reply) => {
                let slots = self.find_real_slots(&at, address, port);
                let delete = |d: &mut Desired| {
                    d.check_real_version(&at, address, port, &if_match)?;
                    Ok((d.delete_real(&at, address, port)?.0, ()))
                };
                let outcome = self.change(by, delete).await;
                self.answer_when_ended(reply, outcome, now, slots);
            }
            Request::Marks(reply) => drop(reply.send(Ok(self.view_marks()))),
            Request::AddMark(rule, reply) => {
                drop(reply.send(self.change_marks(by, |d| d.add_mark(rule)).await));
            }
            Request::DeleteMark(rule, reply) => {
                drop(reply.send(self.change_marks(by, |d| d.delete_mark(&rule)).await));
            }
            Request::Connections(of, reply) => drop(reply.send(self.roster(&of))),
            Request::Flush(of, reply) => drop(reply.send(self.flush(&of, by))),
            Request::Health(of, reply) => drop(reply.send(self.view_health(&of))),
            Request::HealthHistory(of, reply) => drop(reply.send(self.view_history(&of))),
            Request::Timeouts(reply) => drop(reply.send(Ok(self.timeouts()))),
            Request::SetTimeouts(edits, reply) => {
                drop(reply.send(self.set_timeouts(edits, by).await));
            }
            Request::Subscribe(reply) => drop(reply.send(self.events_out.subscribe())),
            Request::Zero(at, reply) => drop(reply.send(self.zero(at.as_ref(), by))),
            Request::Metrics(reply) => drop(reply.send(self.metrics())),
            Request::SaveConfig(reply) => drop(reply.send(Ok(self.save_config()))),
            Request::Diff(reply) => drop(reply.send(self.diff())),
            Request::Replace(wanted, confirm_within, reply) => {
                let outcome = self.replace(*wanted, confirm_within, by).await;
                self.answer_after_endings(reply, outcome);
            }
            Request::Confirm(reply) => drop(reply.send(self.confirm(by))),
            Request::Undo(reply) => {
                let outcome = self.undo(by).await;
                self.answer_after_endings(reply, outcome);
            }
            Request::Reload(reply) => self.reload(by, reply).await,
        }
    }

    /// Changes the desired state, the maps and the state file, or nothing.
    async fn change<T>(
        &mut self,
        by: By,
        change: impl FnOnce(&mut Desired) -> Result<(Vec<ServiceId>, T), ChangeError>,
    ) -> Result<T, ChangeError> {
        self.check_nothing_waits()?;
        self.change_anyway(by, change).await
    }

    /// As [`Self::change`], while an applied configuration waits, too.
    async fn change_anyway<T>(
        &mut self,
        by: By,
        change: impl FnOnce(&mut Desired) -> Result<(Vec<ServiceId>, T), ChangeError>,
    ) -> Result<T, ChangeError> {
        let mut desired = self.desired.clone();
        let (changed, value) = change(&mut desired)?;
        let lines: Vec<_> = changed
            .iter()
            .flat_map(|id| difference(self.desired.entry(*id), desired.entry(*id)))
            .collect();
        self.install(desired, &changed).await?;
        for line in lines {
            self.events_out.tell(EventKind::Service, by, line);
        }
        Ok(value)
    }

    /// As [`Self::change`], of the firewall marks.
    async fn change_marks(
        &mut self,
        by: By,
        change: impl FnOnce(&mut Desired) -> Result<(), ChangeError>,
    ) -> Result<(), ChangeError> {
        self.check_nothing_waits()?;
        let mut desired = self.desired.clone();
        change(&mut desired)?;
        let lines = mark_differences(&self.desired, &desired);
        self.install(desired, &[]).await?;
        for line in lines {
            self.events_out.tell(EventKind::Mark, by, line);
        }
        Ok(())
    }

    /// Makes `desired` the state, where it differs from the present one in
    /// the services `changed` and in its marks; after an error everything is as before.
    pub(super) async fn install(
        &mut self,
        desired: Desired,
        changed: &[ServiceId],
    ) -> Result<(), ChangeError> {
        let before = std::mem::replace(&mut self.desired, desired);
        let marks_change = before.marks != self.desired.marks;
        let hops = self.reconciler.image().hop_changes();
        let done = match self.store.save(&self.desired) {
            Ok(()) => self.apply_or_go_back(before, changed, marks_change),
            Err(error) => {
                self.desired = before;
                Err(ChangeError::Failed(format!("save the state: {error}")))
            }
        };
        if done.is_ok() {
            self.forget_changed(changed);
        }
        self.schedule_shares();
        if self.reconciler.image().hop_changes() != hops {
            self.watch_hops().await;
        }
        self.warn_of_forwarding();
        self.settle_addresses().await;
        self.warn_of_foreign().await;
        done
    }

    /// Saved before it is applied: to go back in the maps is not nothing, as a real
    /// that comes up again begins slowly.
    fn apply_or_go_back(
        &mut self,
        before: Desired,
        changed: &[ServiceId],
        marks_change: bool,
    ) -> Result<(), ChangeError> {
        let mut turns = Vec::new();
        let done = self.apply(changed, marks_change, &mut turns);
        let Err(error) = done else {
            self.tell_turns(turns);
            return Ok(());
        };
        self.desired = before;
        if let Err(error) = self.apply(changed, marks_change, &mut turns) {
            tracing::error!(%error, "going back after a failed change failed");
            for id in changed {
                self.slow_starts.put_off(*id);
            }
        }
        self.tell_turns(turns);
        if let Err(error) = self.store.save(&self.desired) {
            tracing::error!(%error, "saving the state after a failed change failed");
        }
        Err(ChangeError::Failed(error.to_string()))
    }

    /// Adds to `turns` what has turned of the services' health by it.
    fn apply(
        &mut self,
        changed: &[ServiceId],
        marks_change: bool,
        turns: &mut Vec<(ServiceId, Turn)>,
    ) -> Result<(), ReconcileError> {
        let entries: HashMap<_, _> = match changed {
            [] => HashMap::new(),
            [id] => self
                .desired
                .entry(*id)
                .map(|entry| (*id, entry))
                .into_iter()
                .collect(),
            _ => self
                .desired
                .services
                .iter()
                .map(|entry| (entry.id, entry))
                .collect(),
        };
        for id in changed.iter().filter(|id| !entries.contains_key(id)) {
            self.health.remove(*id);
            self.reconciler.remove_service(*id)?;
            self.reconciler.set_standings(*id, Standings::default());
        }
        let present = changed.iter().filter_map(|id| entries.get(id));
        // Whom the checks find down must not be up for a moment.
        for entry in present.clone() {
            let image = self.reconciler.image();
            let is_serving = |real| image.real_slot(entry.id, real).is_some();
            self.health.watch(entry, is_serving);
            turns.extend(self.health.take_note(entry));
            let standings = self.health.standings(entry.id);
            self.reconciler.set_standings(entry.id, standings);
        }
        self.reconciler
            .set_services(present.map(|entry| entry.service()))?;
        if marks_change {
            self.reconciler.set_marks(&self.desired.mark_rules())?;
        }
        Ok(())
    }

    fn find_slots(&self, at: &ServiceRef) -> Vec<u32> {
        let image = self.reconciler.image();
        let services = self.desired.find_all(at).unwrap_or_default();
        let ids = services.into_iter().map(|of| self.desired.services[of].id);
        ids.flat_map(|id| image.slots_of(id)).collect()
    }

    fn find_real_slots(&self, at: &ServiceRef, address: IpAddr, port: Option<u16>) -> Vec<u32> {
        let slot = |index: usize| {
            let service = self.desired.services[index].id;
            let port = port.unwrap_or(service.default_real_port());
            self.reconciler.real_slot(service, RealId { address, port })
        };
        let services = self.desired.find_all(at).unwrap_or_default();
        services.into_iter().filter_map(slot).collect()
    }

    /// Answers when the connections of reals that are no longer there are over,
    /// where they are to be. The walk takes a while: other requests do not wait
    /// for it.
    fn answer_when_ended(
        &mut self,
        reply: Reply<()>,
        outcome: Result<(), ChangeError>,
        now: bool,
        slots: Vec<u32>,
    ) {
        let how = match (now, self.config.options.expire_nodest) {
            (true, _) => Some(How::Cut),
            (false, true) => Some(How::Doom),
            (false, false) => None,
        };
        if let Some(how) = how
            && !slots.is_empty()
            && outcome.is_ok()
        {
            self.end(Whose::Reals(slots), how);
        }
        self.answer_after_endings(reply, outcome);
    }

    /// Has connections end; [`Self::after_endings`] waits for it.
    pub(super) fn end(&mut self, whose: Whose, how: How) {
        self.endings.push(self.sweeper.end(whose, how));
    }

    fn answer_after_endings<T: Send + 'static>(
        &mut self,
        reply: Reply<T>,
        outcome: Result<T, ChangeError>,
    ) {
        self.after_endings(outcome, |outcome, _| drop(reply.send(outcome)));
    }

    /// Does something with an outcome when the connections have ended that were to end by it,
    /// or when the daemon stops, which is said; nobody else waits for that.
    pub(super) fn after_endings<T: Send + 'static>(
        &mut self,
        outcome: Result<T, ChangeError>,
        then: impl FnOnce(Result<T, ChangeError>, bool) + Send + 'static,
    ) {
        let endings = std::mem::take(&mut self.endings);
        if endings.is_empty() {
            return then(outcome, false);
        }
        tokio::spawn(async move {
            let (mut outcome, mut is_stopping) = (outcome, false);
            for ended in endings {
                match ended.await {
                    Err(_) => is_stopping = true,
                    Ok(Err(error)) if outcome.is_ok() => {
                        outcome = Err(ChangeError::Failed(format!(
                            "done, but connections that should have ended go on: {error}"
                        )));
                    }
                    Ok(_) => {}
                }
            }
            then(outcome, is_stopping);
        });
    }

    async fn note_walk(&mut self, report: &Report) {
        self.templates = report.templates;
        let Some(began) = report.began else { return };
        let hops = self.reconciler.image().hop_changes();
        if let Err(error) = self
            .reconciler
            .free_retired(began, |slot| report.referenced.contains(slot))
        {
            tracing::error!(%error, "freeing deleted real servers failed");
        }
        if self.reconciler.image().hop_changes() != hops {
            self.watch_hops().await;
        }
        // Deleted services' last connections may have ended.
        self.settle_addresses().await;
    }
}

/// The requests that the programs have left.
async fn next_events(ring: &mut AsyncFd<RingBuf<MapData>>) -> Vec<Event> {
    let mut events = Vec::new();
    // An error of the poll itself would come back at once: rest instead.
    let Ok(mut guard) = ring.readable_mut().await else {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        return events;
    };
    while let Some(item) = guard.get_inner_mut().next() {
        if item.len() >= size_of::<Event>() {
            // SAFETY: long enough, plain data, any alignment.
            events.push(unsafe { item.as_ptr().cast::<Event>().read_unaligned() });
        }
    }
    guard.clear_ready();
    events
}
