//! The running state as the API shows it.

use lb_common::{scheduler::FULL_SHARE, stats::RealStats};

use super::{
    desired::{RealEntry, ServiceEntry},
    director::Director,
    handle::ChangeError,
};
use crate::{
    api::wire,
    config::model::ForwardingMethod,
    dataplane::{DataPlaneError, localities::LOCALITIES},
    net::hops::{Reason, Resolution},
};

impl Director {
    /// Every service with its counts and counters, in order.
    pub(super) fn view_services(&self) -> Result<Vec<wire::Service>, ChangeError> {
        let services: Result<_, _> = self
            .desired
            .services
            .iter()
            .map(|s| self.view_service(s))
            .collect();
        services.map_err(|error: DataPlaneError| ChangeError::Failed(error.to_string()))
    }

    /// Every rule of the firewall marks, in order.
    pub(super) fn view_marks(&self) -> Vec<wire::Mark> {
        self.desired.marks.iter().map(wire::Mark::from).collect()
    }

    fn view_service(&self, entry: &ServiceEntry) -> Result<wire::Service, DataPlaneError> {
        let tables = self.reconciler.tables();
        let image = self.reconciler.image();
        let reals: Result<_, _> = entry
            .reals
            .iter()
            .map(|real| self.view_real(entry, real))
            .collect();
        let mut stats = match image.service_slot(entry.id) {
            Some(slot) => tables.service_stats(slot)?,
            None => RealStats::default(),
        };
        for slot in image.slots_of(entry.id) {
            stats += tables.real_stats(slot)?;
        }
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
            stats: stats.into(),
        })
    }

    fn view_real(
        &self,
        service: &ServiceEntry,
        entry: &RealEntry,
    ) -> Result<wire::Real, DataPlaneError> {
        let tables = self.reconciler.tables();
        let real = &entry.real;
        let share = self.reconciler.image().share(service.id, real.id);
        let (counts, stats) = match self.reconciler.real_slot(service.id, real.id) {
            Some(slot) => (tables.real_counts(slot)?, tables.real_stats(slot)?),
            None => Default::default(),
        };
        Ok(wire::Real {
            real: real.id.to_string(),
            forward: real.forward.name().into(),
            tunnel: wire::Tunnel::of(real),
            weight: real.weight.get(),
            effective_weight: (real.effective_weight() * share).div_ceil(FULL_SHARE),
            state: real.state.name().into(),
            health: "up".into(),
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
        let failed =
            |error: crate::dataplane::DataPlaneError| ChangeError::Failed(error.to_string());
        let tables = self.reconciler.tables();
        let drops = tables.drops().map_err(failed)?;
        let localities = tables.locality_count().map_err(failed)?;
        let [v4, v6] = tables.table_states().map_err(failed)?;
        let mut unresolved = Vec::new();
        for service in &self.desired.services {
            for real in &service.reals {
                if let Some(reason) = self.unreachable(real) {
                    unresolved.push(format!("{} {}: {reason}", service.id, real.real.id));
                }
            }
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

/// A count read between two CPUs' changes may be below zero for a moment.
fn settled(count: u32) -> u32 {
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
