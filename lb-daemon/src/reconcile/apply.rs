//! Carries plans out, and keeps the image true: after a failed write it is
//! read back from the maps before the next change.

use std::{net::IpAddr, time::Instant};

use lb_common::real::NextHop;

use super::{
    adopt,
    image::{Image, PLAN_REST},
    plan::{self, NoRoom, Op},
    retire,
};
use crate::{
    config::model::{RealId, Service, ServiceId},
    dataplane::{DataPlaneError, Sizes, Tables},
};

/// Why a change did not get into the maps.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error(transparent)]
    DataPlane(#[from] DataPlaneError),
}

/// The maps with their image.
pub struct Reconciler {
    tables: Tables,
    sizes: Sizes,
    image: Image,
    /// The image may differ from the maps.
    stale: bool,
}

impl Reconciler {
    /// Takes the maps over as they are.
    pub fn new(tables: Tables, sizes: Sizes) -> Result<Self, DataPlaneError> {
        let mut reconciler = Self {
            tables,
            sizes,
            image: Image::empty(&sizes),
            stale: true,
        };
        reconciler.refresh()?;
        Ok(reconciler)
    }

    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    pub fn tables_mut(&mut self) -> &mut Tables {
        &mut self.tables
    }

    /// Makes a service be there as described.
    pub fn set_service(&mut self, service: &Service) -> Result<(), ReconcileError> {
        let outcome = self.try_set_service(service);
        if matches!(outcome, Err(ReconcileError::NoRoom(_))) && self.image.has_resting_plans() {
            // So many changes in so short a time: what they replaced is in the
            // way, and free after its rest.
            std::thread::sleep(PLAN_REST);
            return self.try_set_service(service);
        }
        outcome
    }

    fn try_set_service(&mut self, service: &Service) -> Result<(), ReconcileError> {
        self.refresh()?;
        let turn = match self
            .image
            .services
            .get(&service.id)
            .and_then(|s| s.plan.as_ref())
        {
            Some(plan) => Some(self.tables.plan(plan.place.slot)?.turn),
            None => None,
        };
        let ops = plan::service(&mut self.image, service, turn, Instant::now());
        self.carry_out(ops.map_err(ReconcileError::from))
    }

    /// Takes a service away; established connections finish.
    pub fn remove_service(&mut self, id: ServiceId) -> Result<(), ReconcileError> {
        self.refresh()?;
        let ops = plan::remove_service(&mut self.image, id, Instant::now());
        self.carry_out(Ok(ops))
    }

    /// Writes what a next hop has become.
    pub fn set_next_hop(&mut self, address: IpAddr, hop: NextHop) -> Result<(), ReconcileError> {
        self.refresh()?;
        let op = plan::next_hop(&mut self.image, address, hop);
        self.carry_out(Ok(op.into_iter().collect()))
    }

    /// Writes a next hop, whatever the programs made of its MTU since.
    pub fn restore_next_hop(
        &mut self,
        address: IpAddr,
        hop: NextHop,
    ) -> Result<(), ReconcileError> {
        self.refresh()?;
        let op = plan::next_hop_again(&mut self.image, address, hop);
        self.carry_out(Ok(op.into_iter().collect()))
    }

    /// Frees deleted reals that a walk begun at `began` has not met.
    pub fn free_retired(
        &mut self,
        began: Instant,
        is_referenced: impl Fn(u32) -> bool,
    ) -> Result<(), ReconcileError> {
        self.refresh()?;
        let ops = retire::free_retired(&mut self.image, began, is_referenced);
        self.carry_out(Ok(ops))
    }

    /// The slot of a real that is there.
    #[must_use]
    pub fn real_slot(&self, service: ServiceId, real: RealId) -> Option<u32> {
        self.image.real_slot(service, real)
    }

    fn refresh(&mut self) -> Result<(), DataPlaneError> {
        if self.stale {
            self.image = adopt::read(&self.tables, &self.sizes)?;
            for op in plan::settle(&mut self.image) {
                write(&mut self.tables, op)?;
            }
            self.stale = false;
        }
        Ok(())
    }

    fn carry_out(&mut self, ops: Result<Vec<Op>, ReconcileError>) -> Result<(), ReconcileError> {
        let done = ops.and_then(|ops| {
            ops.into_iter()
                .try_for_each(|op| write(&mut self.tables, op))
                .map_err(Into::into)
        });
        self.stale |= done.is_err();
        done
    }
}

fn write(tables: &mut Tables, op: Op) -> Result<(), DataPlaneError> {
    match op {
        Op::SetHop { slot, hop } => tables.set_next_hop(slot, hop),
        Op::ClearReal { slot } => tables.clear_real(slot),
        Op::ClearService { slot } => tables.set_service_stats(slot, Default::default()),
        Op::SetReal { slot, real } => tables.set_real(slot, real),
        Op::SetWords { first, words } => tables.set_words(first, &words),
        Op::SetPlan { slot, plan } => tables.set_plan(slot, plan),
        Op::SetCurrent { service, plan } => tables.set_current_plan(service, plan),
        Op::Bind { key, service } => tables.bind_service(key, service),
        Op::Unbind { key } => tables.unbind_service(&key),
        Op::AddAddress { key } => tables.add_address(key),
        Op::RemoveAddress { key } => tables.remove_address(&key),
        Op::SetPool { service, pool } => tables.set_pool(service, pool),
        Op::RemovePool { service } => tables.remove_pool(service),
        Op::KeepStats { service, real } => {
            let mut stats = tables.service_stats(service)?;
            stats += tables.real_stats(real)?;
            tables.set_service_stats(service, stats)
        }
    }
}
