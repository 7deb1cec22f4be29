//! The running state as the API shows it.

use std::time::SystemTime;

use lb_common::{scheduler::FULL_SHARE, stats::RealStats};

use super::{
    desired::{RealEntry, ServiceEntry},
    director::Director,
    etag,
    handle::{ChangeError, Scope, ServiceRef, Show},
    start::give_memory_back,
};
use crate::{
    api::{checks, wire},
    config::model::ForwardingMethod,
    dataplane::{DataPlaneError, localities::LOCALITIES},
    net::hops::{Reason, Resolution},
};

/// Reals without a next hop that the status names.
const UNRESOLVED: usize = 1000;

/// Bytes of a list whose making leaves much behind.
const LARGE: usize = 8 << 20;

impl Director {
    /// Every service with its counts and counters, in order, as a JSON array of what
    /// `show` makes of each: thousands of them are not to be in memory in another
    /// form as well.
    pub(super) fn view_services(&self, show: Show) -> Result<Vec<u8>, ChangeError> {
        let end = self.reconciler.image().real_slots_end();
        let stats = self.reconciler.tables().all_real_stats(end);
        let stats = stats.map_err(failed)?;
        let of_slot = |slot: u32| Ok(stats.get(slot as usize).copied().unwrap_or_default());
        let mut json = vec![b'['];
        for entry in &self.desired.services {
            if json.len() > 1 {
                json.push(b',');
            }
            let mut service = self.view_service(entry, of_slot).map_err(failed)?;
            let written = match show {
                Show::Everything => {
                    add_checks(&mut service, entry);
                    serde_json::to_writer(&mut json, &service)
                }
                Show::Stats => serde_json::to_writer(&mut json, &wire::ServiceStats::from(service)),
            };
            written.map_err(|error| ChangeError::Failed(error.to_string()))?;
        }
        json.push(b']');
        if json.len() > LARGE {
            give_memory_back();
        }
        Ok(json)
    }

    /// One service likewise, or those of a group.
    pub(super) fn view_some(&self, at: &ServiceRef) -> Result<Vec<wire::Service>, ChangeError> {
        let tables = self.reconciler.tables();
        let found = self.desired.find_all(at)?.into_iter();
        found
            .map(|index| {
                let entry = &self.desired.services[index];
                let view = self.view_service(entry, |slot| tables.real_stats(slot));
                let mut view = view.map_err(failed)?;
                add_checks(&mut view, entry);
                view.etag = etag::of_service(&entry.service());
                for (real, entry) in view.reals.iter_mut().zip(&entry.reals) {
                    real.etag = etag::of_real(&entry.real);
                }
                Ok(view)
            })
            .collect()
    }

    /// Every rule of the firewall marks, in order.
    pub(super) fn view_marks(&self) -> Vec<wire::Mark> {
        self.desired.marks.iter().map(wire::Mark::from).collect()
    }

    /// Without versions, which cost more than all the rest, and lists do not have; and
    /// without checks, which statistics do not have.
    fn view_service(
        &self,
        entry: &ServiceEntry,
        stats_of: impl Fn(u32) -> Result<RealStats, DataPlaneError>,
    ) -> Result<wire::Service, DataPlaneError> {
        let tables = self.reconciler.tables();
        let image = self.reconciler.image();
        let reals: Result<_, _> = entry
            .reals
            .iter()
            .map(|real| self.view_real(entry, real, &stats_of))
            .collect();
        let sorry_server = entry.health.sorry_real().map(|real| {
            let of = RealEntry {
                real,
                owner: entry.owner,
                edited: false,
            };
            let mut shown = self.view_real(entry, &of, &stats_of)?;
            let is_in_force = !self.health.has_quorum(entry.id);
            shown.listed_weight = shown.listed_weight.filter(|_| is_in_force);
            Ok::<_, DataPlaneError>(shown)
        });
        let sorry_server = sorry_server.transpose()?;
        let mut stats = match image.service_slot(entry.id) {
            Some(slot) => tables.service_stats(slot)?,
            None => RealStats::default(),
        };
        for slot in image.slots_of(entry.id) {
            stats += stats_of(slot)?;
        }
        let rates = self.rates.of(image.slots_of(entry.id));
        Ok(wire::Service {
            service: entry.id.to_string(),
            name: entry.name.clone(),
            owner: entry.owner,
            scheduler: entry.scheduling.scheduler.name().into(),
            scheduler_flags: entry.scheduling.flag_names(),
            mh_table_size: entry.scheduling.shown_table_size(),
            slow_start_s: entry.scheduling.slow_start.map(|time| time.as_secs()),
            forward: entry.forward.name().into(),
            masquerade: entry.masquerade.clone(),
            persistence: entry
                .persistence
                .map(|persistence| wire::Persistence::of(persistence, entry.id.family())),
            one_packet: entry.one_packet,
            on_down: entry.on_down.name().into(),
            rate_limit: entry.rate_limit.map(wire::RateLimit::from),
            reals: reals?,
            health: Vec::new(),
            require: entry.health.require.name().into(),
            quorum: (&entry.health.quorum).into(),
            has_quorum: self.health.has_quorum(entry.id),
            sorry_server,
            stats: stats.into(),
            rates: rates.into(),
            etag: String::new(),
        })
    }

    fn view_real(
        &self,
        service: &ServiceEntry,
        entry: &RealEntry,
        stats_of: impl Fn(u32) -> Result<RealStats, DataPlaneError>,
    ) -> Result<wire::Real, DataPlaneError> {
        let tables = self.reconciler.tables();
        let real = &entry.real;
        let share = self.reconciler.image().share(service.id, real.id);
        let standing = self.health.standing(service.id, real.id);
        let commands = real.health.as_deref();
        let slot = self.reconciler.real_slot(service.id, real.id);
        let (counts, stats) = match slot {
            Some(slot) => (tables.real_counts(slot)?, stats_of(slot)?),
            None => Default::default(),
        };
        Ok(wire::Real {
            real: real.id.to_string(),
            forward: real.forward.name().into(),
            tunnel: wire::Tunnel::of(real),
            weight: real.weight.get(),
            effective_weight: (standing.weight(real) * share).div_ceil(FULL_SHARE),
            state: real.state.name().into(),
            health: health_word(standing.is_up()),
            listed_weight: standing.listed_weight(real),
            checks: None,
            notify_up: commands.map_or_else(Vec::new, |of| of.notify_up.clone()),
            notify_down: commands.map_or_else(Vec::new, |of| of.notify_down.clone()),
            owner: entry.owner,
            next_hop: match self.unreachable(entry) {
                Some(reason) => reason.to_string(),
                None => "resolved".into(),
            },
            upper_threshold: real.upper_threshold,
            lower_threshold: real.lower_threshold,
            overloaded: counts.overloaded != 0,
            active: settled(counts.active),
            inactive: settled(counts.inactive),
            persistent: settled(counts.persistent),
            stats: stats.into(),
            rates: self.rates.of(slot).into(),
            etag: String::new(),
        })
    }

    /// Why packets do not get to a real, if so.
    fn unreachable(&self, entry: &RealEntry) -> Option<Reason> {
        let address = entry.real.id.address;
        if entry.real.forward == ForwardingMethod::Local {
            return None;
        }
        if self
            .reconciler
            .image()
            .hop(address)
            .is_some_and(|hop| hop.resolved == 1)
        {
            return None;
        }
        match self.resolutions.get(&address) {
            Some(Resolution::Unresolved(reason)) => Some(reason.clone()),
            Some(Resolution::Resolved(_)) => None,
            None => Some(Reason::NeighbourPending),
        }
    }

    pub(super) fn view_status(&self) -> Result<wire::Status, ChangeError> {
        let (services, reals) = self.reconciler.image().fill();
        let capacity = self.config.capacity;
        let table = |name: &str, entries: u64, capacity: u32| wire::Table {
            name: name.into(),
            entries,
            capacity: capacity.into(),
        };
        let tables = self.reconciler.tables();
        let drops = tables.drops().map_err(failed)?;
        let localities = tables.locality_count().map_err(failed)?;
        let [v4, v6] = tables.table_states().map_err(failed)?;
        let mut unresolved = Vec::new();
        let mut others = 0_u32;
        for service in &self.desired.services {
            for real in &service.reals {
                match self.unreachable(real) {
                    Some(_) if unresolved.len() >= UNRESOLVED => others += 1,
                    Some(reason) => {
                        unresolved.push(format!("{} {}: {reason}", service.id, real.real.id));
                    }
                    None => {}
                }
            }
        }
        if others > 0 {
            unresolved.push(format!("and {others} others"));
        }
        Ok(wire::Status {
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_s: self.began.elapsed().as_secs(),
            interfaces: self
                .attachments
                .iter()
                .map(|a| wire::Interface {
                    name: a.interface.clone(),
                    mode: a.mode().into(),
                })
                .collect(),
            tables: vec![
                table("connections_v4", v4.count().into(), capacity.connections),
                table("connections_v6", v6.count().into(), capacity.connections),
                table("persistence", self.templates, capacity.persistence),
                table("localities", localities, LOCALITIES),
                table("services", services.into(), capacity.services),
                table("reals", reals.into(), capacity.reals),
            ],
            drops: drops
                .into_iter()
                .map(|(name, count)| (name.to_owned(), count))
                .collect(),
            unresolved,
            warnings: self.all_warnings(),
        })
    }
}

impl Director {
    /// Every check of the reals that are meant, in order.
    pub(super) fn view_health(&self, of: &Scope) -> Result<Vec<wire::Check>, ChangeError> {
        let reals = self.desired.in_scope(of)?;
        let mut shown = Vec::new();
        for (service, of) in reals {
            let real = of.real.id;
            let running = self.health.checks.of(service.id, real);
            shown.extend(running.iter().map(|running| {
                let known = running.known();
                wire::Check {
                    service: service.id.to_string(),
                    real: real.to_string(),
                    of_type: running.probe_type().name().into(),
                    health: health_word(known.is_up),
                    since: rfc3339(known.since),
                    last: known.last.map(|last| wire::Answer {
                        ok: last.failure.is_none(),
                        reason: last.failure.or(last.warning).unwrap_or_default(),
                        duration_ms: last.took.as_millis().try_into().unwrap_or(u64::MAX),
                    }),
                }
            }));
        }
        Ok(shown)
    }

    /// How the reals that are meant have gone down and come up.
    pub(super) fn view_history(&self, of: &Scope) -> Result<Vec<wire::Transition>, ChangeError> {
        let reals = self.desired.in_scope(of)?;
        let mut shown = Vec::new();
        for (service, of) in reals {
            let real = of.real.id;
            let transitions = self.health.history.of(service.id, real);
            shown.extend(transitions.map(|transition| wire::Transition {
                service: service.id.to_string(),
                real: real.to_string(),
                time: rfc3339(transition.at),
                health: health_word(transition.is_up),
                check: transition.check.clone(),
                reason: transition.reason.clone(),
            }));
        }
        Ok(shown)
    }
}

/// The checks of a service and its reals.
fn add_checks(to: &mut wire::Service, entry: &ServiceEntry) {
    to.health = checks::show(&entry.health.checks);
    for (shown, of) in to.reals.iter_mut().zip(&entry.reals) {
        shown.checks = of.real.own_checks().map(checks::show);
    }
}

fn health_word(is_up: bool) -> String {
    if is_up { "up" } else { "down" }.into()
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(super) fn failed(error: DataPlaneError) -> ChangeError {
    ChangeError::Failed(error.to_string())
}

/// A count read between two CPUs' changes may be below zero for a moment.
pub(super) fn settled(count: u32) -> u32 {
    if count > u32::MAX / 2 { 0 } else { count }
}

impl From<RealStats> for wire::Stats {
    fn from(stats: RealStats) -> Self {
        let RealStats {
            connections,
            in_packets,
            in_bytes,
            out_packets,
            out_bytes,
        } = stats;
        Self {
            connections,
            in_packets,
            in_bytes,
            out_packets,
            out_bytes,
        }
    }
}
