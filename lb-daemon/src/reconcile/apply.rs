//! Carries plans out, and keeps the image true: after a failed write it is
//! read back from the maps before the next change.

use std::{net::IpAddr, time::Instant};

use lb_common::{
    abi::{Settings, settings_flag},
    real::NextHop,
};

use super::{
    adopt,
    image::{Image, PLAN_REST},
    plan::{self, NoRoom, Op},
    policy::{self, TooManyRanges},
    retire,
};
use crate::{
    config::model::{Defence, MarkRule, Options, RealId, Service, ServiceId, Timeouts},
    dataplane::{DataPlaneError, Sizes, Tables},
};

/// Why a change did not get into the maps.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error(transparent)]
    DataPlane(#[from] DataPlaneError),
    #[error(transparent)]
    Marks(#[from] TooManyRanges),
}

/// The maps with their image.
pub struct Reconciler {
    tables: Tables,
    sizes: Sizes,
    image: Image,
    /// The image may differ from the maps.
    stale: bool,
    /// What is configured for all services, without the flags that follow from
    /// what the maps hold.
    settings: Option<Settings>,
    /// As last written.
    written: Option<Settings>,
    /// None until they are known: what an adopted data plane has stays so long.
    rules: Option<Vec<MarkRule>>,
    has_marks: bool,
    has_deny: bool,
    has_allow: bool,
}

impl Reconciler {
    /// Takes the maps over as they are.
    pub fn new(tables: Tables, sizes: Sizes) -> Result<Self, DataPlaneError> {
        let flags = tables.settings()?.flags;
        let mut reconciler = Self {
            tables,
            sizes,
            image: Image::empty(&sizes),
            stale: true,
            settings: None,
            written: None,
            rules: None,
            has_marks: flags & settings_flag::MARKS != 0,
            has_deny: flags & settings_flag::DENY != 0,
            has_allow: flags & settings_flag::ALLOW != 0,
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
        self.set_services([service.clone()])
    }

    /// Makes services be there as described.
    pub fn set_services(
        &mut self,
        services: impl IntoIterator<Item = Service>,
    ) -> Result<(), ReconcileError> {
        let mut has_new = false;
        for service in services {
            has_new |= self.image.service_slot(service.id).is_none();
            self.set_one(&service)?;
        }
        if has_new {
            return self.follow_services(None);
        }
        self.write_settings()
    }

    fn set_one(&mut self, service: &Service) -> Result<(), ReconcileError> {
        let outcome = self.try_set_one(service);
        if matches!(outcome, Err(ReconcileError::NoRoom(_))) && self.image.has_resting_plans() {
            // So many changes in so short a time: what they replaced is in the
            // way, and free after its rest.
            std::thread::sleep(PLAN_REST);
            return self.try_set_one(service);
        }
        outcome
    }

    fn try_set_one(&mut self, service: &Service) -> Result<(), ReconcileError> {
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
        // Before its slot may become another service's.
        self.follow_services(Some(id))?;
        let ops = plan::remove_service(&mut self.image, id, Instant::now());
        self.carry_out(Ok(ops))?;
        self.follow_services(None)
    }

    /// Makes options, defences and timeouts hold. Who may no longer connect
    /// keeps what connections he has: that is the sweep's.
    pub fn set_policy(
        &mut self,
        options: &Options,
        defence: &Defence,
        timeouts: &Timeouts,
    ) -> Result<(), ReconcileError> {
        self.refresh()?;
        self.settings = Some(policy::settings(timeouts, options, defence, &self.sizes));
        let deny = policy::networks(&defence.deny);
        let allow = policy::networks(&defence.allow);
        // An empty list of those allowed is never looked at: not even for the
        // moment in which the new one is written.
        (self.has_deny, self.has_allow) = (!deny.is_empty(), self.has_allow && !allow.is_empty());
        self.write_settings()?;
        self.tables.set_access(&deny, &allow)?;
        self.has_allow = !allow.is_empty();
        let ops = plan::expire_quiescent(&mut self.image, options.expire_quiescent);
        self.carry_out(Ok(ops))?;
        self.write_settings()
    }

    /// Makes these firewall marks hold, and no others.
    pub fn set_marks(&mut self, rules: &[MarkRule]) -> Result<(), ReconcileError> {
        self.refresh()?;
        self.rules = Some(rules.to_vec());
        self.follow_services(None)
    }

    /// Brings up to date what depends on which services there are, but for one
    /// that is about to go.
    fn follow_services(&mut self, without: Option<ServiceId>) -> Result<(), ReconcileError> {
        let Some(rules) = &self.rules else {
            return self.write_settings();
        };
        let image = &self.image;
        let slot = |id| image.service_slot(id).filter(|_| Some(id) != without);
        let marks = policy::marks(rules, slot)?;
        if self.has_marks || !marks.is_empty() {
            self.tables.set_marks(&marks)?;
        }
        self.has_marks = !marks.is_empty();
        self.write_settings()
    }

    /// The settings with the flags that follow from the rest.
    fn write_settings(&mut self) -> Result<(), ReconcileError> {
        let Some(mut settings) = self.settings else {
            return Ok(());
        };
        let has_port_zero = self.image.bound_services().any(|id| id.port() == Some(0));
        for (is_set, flag) in [
            (self.has_marks, settings_flag::MARKS),
            (self.has_deny, settings_flag::DENY),
            (self.has_allow, settings_flag::ALLOW),
            (has_port_zero, settings_flag::PORT_ZERO),
            (
                !self.image.replies.is_empty(),
                settings_flag::ONE_PACKET_REALS,
            ),
        ] {
            if is_set {
                settings.flags |= flag;
            }
        }
        if self.written != Some(settings) {
            self.tables.set_settings(settings)?;
            self.written = Some(settings);
        }
        Ok(())
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
            let mut image = adopt::read(&self.tables, &self.sizes)?;
            image.expire_quiescent = self.image.expire_quiescent;
            image.hop_changes += self.image.hop_changes + 1;
            self.image = image;
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
        Op::ClearService { slot } => {
            tables.forget_localities(slot, None)?;
            tables.set_service_stats(slot, Default::default())
        }
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
        Op::SetPolicy { service, policy } => tables.set_policy(service, policy),
        Op::SetReply { from, to } => tables.set_reply(from, to),
        Op::RemoveReply { from } => tables.remove_reply(&from),
        Op::ForgetLocalities { service, reals } => {
            tables.forget_localities(service, reals.as_deref())
        }
        Op::Judge { real } => tables.judge(real),
        Op::KeepStats { service, real } => {
            let mut stats = tables.service_stats(service)?;
            stats += tables.real_stats(real)?;
            tables.set_service_stats(service, stats)
        }
    }
}
