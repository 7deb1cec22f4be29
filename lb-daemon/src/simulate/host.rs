//! One service's data plane on the host: planned by [`crate::reconcile::plan`],
//! with the picks of the XDP program, in memory instead of maps.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use lb_common::{
    addr::Addr,
    real::{RealCounts, RealServer},
    scheduler::{Key, NO_REAL, memory::Memory},
};

use super::nanos;
use crate::{
    config::model::{Capacity, RealId, Service, ServiceId},
    dataplane::Sizes,
    reconcile::{
        Image,
        plan::{self, NoRoom, Op},
    },
};

/// Enough for one service of the largest kind beside its successor.
const CAPACITY: Capacity = Capacity {
    services: 1,
    reals: 4096,
    connections: 1,
    persistence: 1,
};

/// A service whose connections are numbers.
pub struct Host {
    image: Image,
    memory: Memory,
    /// By slot.
    reals: Vec<RealServer>,
    service: Option<ServiceId>,
    now: Duration,
}

impl Host {
    /// Without a service. `seed` makes the same chances again.
    #[must_use]
    pub fn new(seed: u64, lblc_expiry: Duration) -> Self {
        let sizes = Sizes::from(CAPACITY);
        Self {
            image: Image::empty(&sizes),
            memory: Memory::empty(seed, nanos(lblc_expiry)),
            reals: vec![RealServer::default(); sizes.reals as usize],
            service: None,
            now: Duration::ZERO,
        }
    }

    /// Time goes on: it is so long after the beginning now.
    pub fn set_now(&mut self, now: Duration) {
        self.now = now;
        self.memory.set_now(nanos(now));
    }

    /// The service is this now.
    pub fn set_service(&mut self, service: &Service) -> Result<(), NoRoom> {
        let turn = self.service.map(|_| self.memory.turn());
        let now = self.image.began() + self.now;
        self.image.reclaim_all();
        let ops = plan::service(&mut self.image, service, turn, now)?;
        self.service = Some(service.id);
        let mut words = Vec::new();
        for op in ops {
            match op {
                Op::SetReal { slot, real } => self.reals[slot as usize] = real,
                Op::ClearReal { slot } => self.memory.set_counts(slot, RealCounts::default()),
                Op::Judge { real } => {
                    let RealCounts {
                        active, inactive, ..
                    } = self.memory.counts(real);
                    self.set_counts(real, active, inactive, false);
                }
                Op::SetWords { words: all, .. } => words = all,
                Op::SetPlan { plan, .. } => {
                    self.memory.set_plan(plan, &words[..plan.length as usize]);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// When the plan is to be made anew because of the service's slow start.
    #[must_use]
    pub fn next_share_at(&self, service: &Service) -> Option<Duration> {
        let at = {
            let now = self.image.began() + self.now;
            self.image
                .next_share_at(service.id, service.slow_start?, now)?
        };
        Some(at.saturating_duration_since(self.image.began()))
    }

    /// The real of a new connection; none: nobody is eligible.
    #[must_use]
    pub fn pick(&self, client: SocketAddr, wanted: IpAddr) -> Option<RealId> {
        let slot = self.memory.pick(Key {
            source: Addr::from(client.ip()),
            destination: Addr::from(wanted),
            source_port: u32::from(client.port()),
        });
        let real = self.reals.get(slot as usize).filter(|_| slot != NO_REAL)?;
        Some(RealId {
            address: IpAddr::from(real.address),
            port: real.port.get(),
        })
    }

    /// Live connections of a real: active, inactive.
    #[must_use]
    pub fn counts(&self, real: RealId) -> (u32, u32) {
        let slot = self.service.and_then(|id| self.image.slot_of(id, real));
        slot.map_or((0, 0), |slot| {
            let counts = self.memory.counts(slot);
            (counts.active, counts.inactive)
        })
    }

    /// So many more or fewer active and inactive connections of a real.
    pub fn count(&mut self, real: RealId, active: i32, inactive: i32) {
        let Some(slot) = self.service.and_then(|id| self.image.slot_of(id, real)) else {
            return;
        };
        let counts = self.memory.counts(slot);
        let active = counts.active.saturating_add_signed(active);
        let inactive = counts.inactive.saturating_add_signed(inactive);
        self.set_counts(slot, active, inactive, counts.overloaded != 0);
    }

    fn set_counts(&mut self, slot: u32, active: u32, inactive: u32, was_overloaded: bool) {
        let server = &self.reals[slot as usize];
        let is_overloaded = server.is_overloaded(active + inactive, was_overloaded);
        let counts = RealCounts {
            active,
            inactive,
            persistent: 0,
            overloaded: u32::from(is_overloaded),
        };
        self.memory.set_counts(slot, counts);
    }
}
