//! What health checks find, made the state: reals that go down and come back, the
//! quorum of their service, and who is told.

mod telling;

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use tokio::sync::{mpsc, watch};
use tracing::warn;

pub(super) use self::telling::Turn;
use self::telling::transition;
use super::{
    desired::{Desired, ServiceEntry},
    director::Director,
};
use crate::{
    config::{
        health::asks_for_checks,
        model::{Alerts, OnDown, RealId, RealState, ServiceId},
    },
    health::{
        check::Known, checks::Checks, history::History, mail::Mailer, notify::Notifier,
        quorum::Thresholds, verdict::Verdict,
    },
    reconcile::standing::{Standing, Standings},
};

/// Services that are judged together at most: others wait, and are not judged by what
/// was known before.
const BATCH: usize = 1024;

/// The checks, and what has been made of them.
pub(super) struct Health {
    pub(super) checks: Checks,
    changes: mpsc::UnboundedReceiver<ServiceId>,
    judged: HashMap<ServiceId, Standings>,
    pub(super) history: History,
    notifier: Notifier,
    mailer: Mailer,
}

impl Health {
    /// No checks yet; a warning about what was known before.
    pub(super) fn new(
        state_dir: &Path,
        alerts: watch::Receiver<Option<Alerts>>,
    ) -> (Self, Option<String>) {
        let (checks, changes) = Checks::new();
        let (history, warning) = History::open(state_dir);
        let health = Self {
            checks,
            changes,
            judged: HashMap::new(),
            history,
            notifier: Notifier::start(),
            mailer: Mailer::start(alerts),
        };
        (health, warning)
    }

    /// Services of which checks think something new, each once.
    pub(super) async fn news(&mut self) -> HashSet<ServiceId> {
        let mut services = Vec::new();
        self.changes.recv_many(&mut services, BATCH).await;
        services.into_iter().collect()
    }

    /// Makes a service's checks be those of `entry`; `is_serving` as of
    /// [`Checks::set`].
    pub(super) fn watch(&mut self, entry: &ServiceEntry, is_serving: impl Fn(RealId) -> bool) {
        let Self {
            checks, history, ..
        } = self;
        let id = entry.id;
        let reals = entry.reals.iter().map(|of| &of.real);
        let former = |real| last_known(history, id, real);
        checks.set(id, &entry.health, reals, former, is_serving);
    }

    pub(super) fn remove(&mut self, service: ServiceId) {
        self.checks.remove(service);
        self.judged.remove(&service);
    }

    /// Judges a service anew and takes note of it; gives what has turned by that. Of a
    /// service that was not known before nothing has.
    pub(super) fn take_note(&mut self, entry: &ServiceEntry) -> Vec<(ServiceId, Turn)> {
        let id = entry.id;
        if !is_watched(entry) {
            self.judged.remove(&id);
            return Vec::new();
        }
        let (standings, turns) = self.judge(entry);
        // Of one that begins down nobody is told, and a restart has to know it.
        for (real, standing) in &standings.reals {
            if !standing.is_up() && turns.is_empty() && self.history.is_up(id, *real).is_none() {
                let verdict = self.verdict_of(entry, *real);
                self.history.note(id, *real, transition(&verdict));
            }
        }
        self.judged.insert(id, standings);
        turns.into_iter().map(|turn| (id, turn)).collect()
    }

    fn verdict_of(&self, entry: &ServiceEntry, real: RealId) -> Verdict {
        let of = entry.reals.iter().find(|of| of.real.id == real);
        of.map_or_else(Verdict::up, |of| {
            self.checks.verdict(entry.id, &entry.health, &of.real)
        })
    }

    /// As last taken note of.
    pub(super) fn standings(&self, service: ServiceId) -> Standings {
        self.judged.get(&service).cloned().unwrap_or_default()
    }

    /// What is held of a service now, and what of that has turned since it was last
    /// taken note of.
    fn judge(&self, entry: &ServiceEntry) -> (Standings, Vec<Turn>) {
        let id = entry.id;
        let before = self.judged.get(&id);
        let mut standings = Standings::default();
        let mut turns = Vec::new();
        let (mut up_weight, mut total_weight) = (0, 0);
        for of in &entry.reals {
            let real = &of.real;
            let verdict = self.checks.verdict(id, &entry.health, real);
            let standing = verdict.standing;
            up_weight += u64::from(standing.weight(real));
            total_weight += u64::from(real.weight.get());
            // What it was before maint, or before it was deleted, has been told.
            let is_told = self.history.is_up(id, real.id) == Some(standing.is_up());
            if let Some(before) = before.filter(|_| real.state != RealState::Maint && !is_told)
                && before.of(real.id).is_up() != standing.is_up()
            {
                let own = real.health.as_deref();
                let argv = own.map(|own| match standing.is_up() {
                    true => own.notify_up.clone(),
                    false => own.notify_down.clone(),
                });
                turns.push(Turn::Real {
                    real: real.id,
                    verdict,
                    argv: argv.unwrap_or_default(),
                    resets: entry.on_down == OnDown::Reset && !standing.is_up(),
                });
            }
            if standing != Standing::Up {
                standings.reals.insert(real.id, standing);
            }
        }
        let quorum = &entry.health.quorum;
        let thresholds = Thresholds::new(quorum, total_weight);
        let had = match before {
            Some(before) => !before.is_lost,
            None => self.had_quorum(entry, &standings, &thresholds),
        };
        let has = thresholds.next(had, up_weight);
        standings.is_lost = !has;
        if before.is_some() && had != has {
            let argv = match has {
                true => &quorum.notify_up,
                false => &quorum.notify_down,
            };
            turns.push(Turn::Quorum {
                is_up: has,
                argv: argv.clone(),
            });
        }
        (standings, turns)
    }

    /// Whether a service had its quorum when lbd last knew, which within the hysteresis
    /// depends on what came before: its reals' history, with the weights of now.
    fn had_quorum(
        &self,
        entry: &ServiceEntry,
        standings: &Standings,
        thresholds: &Thresholds,
    ) -> bool {
        let mut up_weight = 0;
        let mut turns = Vec::new();
        for of in &entry.reals {
            let weight = u64::from(Standing::Up.weight(&of.real));
            let mut changes = self.history.of(entry.id, of.real.id).peekable();
            // Before the first change it was the other way round.
            let was_up = match changes.peek() {
                Some(first) => !first.is_up,
                None => standings.of(of.real.id).is_up(),
            };
            up_weight += if was_up { weight } else { 0 };
            turns.extend(changes.map(|change| (change.at, weight, change.is_up)));
        }
        turns.sort_by_key(|(at, ..)| *at);
        let turns = turns.into_iter().map(|(_, weight, is_up)| (weight, is_up));
        thresholds.after(up_weight, turns)
    }

    /// What was held of reals of changed services that are there no longer.
    fn forget_of(&mut self, changed: &[ServiceId], desired: &Desired) {
        let changed: HashSet<_> = changed.iter().collect();
        let entries = desired
            .services
            .iter()
            .filter(|of| changed.contains(&of.id));
        let entries: HashMap<_, _> = entries.map(|entry| (entry.id, entry)).collect();
        self.history.forget(|service, real| {
            let entry = entries.get(&service);
            !changed.contains(&service)
                || entry.is_some_and(|of| is_watched(of) && of.position(real).is_some())
        });
    }

    /// What was held of services that are there no longer.
    fn forget(&mut self, desired: &Desired) {
        let watched = desired.services.iter().filter(|entry| is_watched(entry));
        let reals: HashMap<ServiceId, HashSet<RealId>> = watched
            .map(|entry| {
                let reals = entry.reals.iter().map(|of| of.real.id);
                (entry.id, reals.collect())
            })
            .collect();
        let has = |service, real| reals.get(&service).is_some_and(|of| of.contains(&real));
        self.history.forget(has);
        self.judged.retain(|id, _| reals.contains_key(id));
    }

    /// What the operator should know of reals that are up.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (service, real, running) in self.checks.all() {
            let problem = running.plan.problem().map(str::to_owned);
            let warning = problem.or_else(|| running.known().last?.warning);
            if let Some(warning) = warning {
                let of_type = running.probe_type().name();
                warnings.push(format!(
                    "service {service}: real {real}: {of_type}: {warning}"
                ));
            }
        }
        warnings.sort_unstable();
        warnings.extend(self.checks.path.problem().map(str::to_owned));
        warnings
    }

    /// What is held of a real.
    pub(super) fn standing(&self, service: ServiceId, real: RealId) -> Standing {
        let judged = self.judged.get(&service);
        judged.map_or(Standing::Up, |judged| judged.of(real))
    }

    pub(super) fn has_quorum(&self, service: ServiceId) -> bool {
        let judged = self.judged.get(&service);
        judged.is_none_or(|judged| !judged.is_lost)
    }
}

impl Director {
    /// Judges anew services of which checks think something new.
    pub(super) fn note_health(&mut self, services: &HashSet<ServiceId>) {
        let mut turns = Vec::new();
        let mut changed = Vec::new();
        for entry in self
            .desired
            .services
            .iter()
            .filter(|of| services.contains(&of.id))
        {
            let id = entry.id;
            turns.extend(self.health.take_note(entry));
            if self.reconciler.set_standings(id, self.health.standings(id)) {
                changed.push(entry.service());
            }
        }
        for service in changed {
            let id = service.id;
            if let Err(error) = self.reconciler.set_service(&service) {
                warn!(service = %id, %error, "what its checks found is not yet in force");
                self.slow_starts.put_off(id);
            }
        }
        self.schedule_shares();
        self.tell_turns(turns);
    }

    /// Forgets what is no longer configured of changed services.
    pub(super) fn forget_changed(&mut self, changed: &[ServiceId]) {
        if !changed.is_empty() {
            self.health.forget_of(changed, &self.desired);
        }
    }

    /// Checks whose way was closed are tried again.
    pub(super) fn retry_checks(&mut self) {
        let blocked = self.health.checks.blocked();
        if blocked.is_empty() {
            return;
        }
        self.health.checks.path.forgive();
        for id in blocked {
            if let Some(entry) = self.desired.entry(id) {
                self.health.watch(entry, |_| true);
            }
        }
    }

    /// Forgets what is no longer configured, after a change of much.
    pub(super) fn forget_health(&mut self) {
        self.health.forget(&self.desired);
    }
}

fn is_watched(entry: &ServiceEntry) -> bool {
    let reals = entry.reals.iter().map(|of| of.real.health.as_deref());
    asks_for_checks(&entry.health, reals)
}

/// As it was when lbd last knew: a real that was down has to show that it is up again.
fn last_known(history: &History, service: ServiceId, real: RealId) -> Option<Known> {
    let last = history.of(service, real).last()?;
    Some(Known {
        since: last.at,
        ..Known::new(last.is_up, last.reason.clone())
    })
}
