//! The clock of slow starts: a service is planned anew whenever the share of one
//! of its reals grows. Without a real that starts there is nothing to wake for.

use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::{desired::ServiceEntry, director::Director};
use crate::config::model::ServiceId;

/// When a plan that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct SlowStarts {
    /// When the next share grows.
    pub(super) next: Option<Instant>,
    /// Services whose shares should have grown.
    late: Vec<ServiceId>,
}

impl SlowStarts {
    /// A service's plan could not be written: it is tried again.
    pub(super) fn put_off(&mut self, service: ServiceId) {
        if !self.late.contains(&service) {
            self.late.push(service);
        }
    }
}

impl Director {
    /// Plans the services anew in which a share is to grow.
    pub(super) fn grow_shares(&mut self) {
        let now = Instant::now();
        let late = std::mem::take(&mut self.slow_starts.late);
        let is_due = |entry: &&ServiceEntry| {
            let grows_at = self.share_grows_at(entry, now);
            late.contains(&entry.id) || grows_at.is_some_and(|at| at <= now)
        };
        let due = self.desired.services.iter().filter(is_due);
        let due: Vec<_> = due.map(ServiceEntry::service).collect();
        for service in due {
            let id = service.id;
            match self.reconciler.set_service(&service) {
                Ok(()) => debug!(service = %id, "slow start goes on"),
                Err(error) => {
                    warn!(service = %id, %error, "slow start is held up");
                    self.slow_starts.put_off(id);
                }
            }
        }
        self.schedule_shares();
    }

    /// To be called after whatever may have let a real come up.
    pub(super) fn schedule_shares(&mut self) {
        let now = Instant::now();
        let late = &self.slow_starts.late;
        let services = self.desired.services.iter();
        let on_time = services.filter(|entry| !late.contains(&entry.id));
        let next = on_time
            .filter_map(|entry| self.share_grows_at(entry, now))
            .min();
        let retry = (!late.is_empty()).then(|| now + RETRY);
        self.slow_starts.next = next.into_iter().chain(retry).min();
    }

    fn share_grows_at(&self, entry: &ServiceEntry, now: Instant) -> Option<Instant> {
        let image = self.reconciler.image();
        image.next_share_at(entry.id, entry.scheduling.slow_start?, now)
    }
}
