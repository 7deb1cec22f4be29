//! Carries plans out, and keeps the image true: after a failed write it is
//! read back from the maps before the next change.

use std::{mem::discriminant, net::IpAddr, time::Instant};

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
    standing::Standings,
};
use crate::{
    config::model::{Defence, MarkRule, Options, RealId, Service, ServiceId, Timeouts},
    dataplane::{DataPlaneError, Sizes, Tables},
};

/// Why a change did not get into the maps.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error("service {service}: {source}")]
    NoRoom { service: ServiceId, source: NoRoom },
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

    /// What health checks make of a service, for when it is next set. Whether that is
    /// something else than before.
    pub fn set_standings(&mut self, id: ServiceId, standings: Standings) -> bool {
        let all = &mut self.image.standings;
        if standings == Standings::default() {
            return all.remove(&id).is_some();
        }
        all.insert(id, standings.clone()) != Some(standings)
    }

    /// Makes a service be there as described.
    pub fn set_service(&mut self, service: &Service) -> Result<(), ReconcileError> {
        self.set_services([service.clone()])
    }

    /// Makes services be there as described. Of those that are new and come one after the
    /// other, all are there or none.
    pub fn set_services(
        &mut self,
        services: impl IntoIterator<Item = Service>,
    ) -> Result<(), ReconcileError> {
        let mut has_new = false;
        let mut of_new = Vec::new();
        for service in services {
            has_new |= self.image.service_slot(service.id).is_none();
            if self.is_all_new(&service) {
                of_new.extend(self.plan(&service, None)?);
                continue;
            }
            self.write_new(std::mem::take(&mut of_new))?;
            self.set_one(&service)?;
        }
        self.write_new(of_new)?;
        if has_new {
            return self.follow_services(None);
        }
        self.write_settings()
    }

    /// Whether the maps have nothing of a service, and nothing that has been replaced is in
    /// its way.
    fn is_all_new(&self, service: &Service) -> bool {
        let image = &self.image;
        !self.stale && !image.services.contains_key(&service.id) && !image.has_resting_plans()
    }

    /// Writes what makes new services. No packet meets one before its key is there, so all
    /// keys come last, and before them the same maps are written for all services at once.
    fn write_new(&mut self, mut ops: Vec<Op>) -> Result<(), ReconcileError> {
        ops.sort_by_key(stage);
        self.carry_out(&ops)
    }

    /// Plans a service. The image is spoilt by an error.
    fn plan(&mut self, service: &Service, turn: Option<u64>) -> Result<Vec<Op>, ReconcileError> {
        let ops = plan::service(&mut self.image, service, turn, Instant::now());
        self.stale |= ops.is_err();
        let service = service.id;
        ops.map_err(|source| ReconcileError::NoRoom { service, source })
    }

    fn set_one(&mut self, service: &Service) -> Result<(), ReconcileError> {
        let outcome = self.try_set_one(service);
        if matches!(outcome, Err(ReconcileError::NoRoom { .. })) && self.image.has_resting_plans() {
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
        let ops = self.plan(service, turn)?;
        self.carry_out(&ops)
    }

    /// Takes a service away; established connections finish.
    pub fn remove_service(&mut self, id: ServiceId) -> Result<(), ReconcileError> {
        self.refresh()?;
        // Before its slot may become another service's.
        self.follow_services(Some(id))?;
        let ops = plan::remove_service(&mut self.image, id, Instant::now());
        self.carry_out(&ops)?;
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
        self.carry_out(&ops)?;
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
        self.carry_out(op.as_slice())
    }

    /// Writes a next hop, whatever the programs made of its MTU since.
    pub fn restore_next_hop(
        &mut self,
        address: IpAddr,
        hop: NextHop,
    ) -> Result<(), ReconcileError> {
        self.refresh()?;
        let op = plan::next_hop_again(&mut self.image, address, hop);
        self.carry_out(op.as_slice())
    }

    /// Frees deleted reals that a walk begun at `began` has not met.
    pub fn free_retired(
        &mut self,
        began: Instant,
        is_referenced: impl Fn(u32) -> bool,
    ) -> Result<(), ReconcileError> {
        self.refresh()?;
        let ops = retire::free_retired(&mut self.image, began, is_referenced);
        self.carry_out(&ops)
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
            image.standings = std::mem::take(&mut self.image.standings);
            image.hop_changes += self.image.hop_changes + 1;
            self.image = image;
            write_all(&mut self.tables, &plan::settle(&mut self.image))?;
            self.stale = false;
        }
        Ok(())
    }

    fn carry_out(&mut self, ops: &[Op]) -> Result<(), ReconcileError> {
        let done = write_all(&mut self.tables, ops);
        self.stale |= done.is_err();
        Ok(done?)
    }
}

/// Where a write stands among those that make new services ([`Reconciler::write_new`]).
const fn stage(op: &Op) -> u8 {
    match op {
        Op::SetHop { .. } => 0,
        Op::ClearService { .. } | Op::ForgetLocalities { .. } | Op::KeepStats { .. } => 1,
        Op::SetPolicy { .. } => 2,
        Op::SetPool { .. } | Op::RemovePool { .. } => 3,
        Op::AddAddress { .. } | Op::RemoveAddress { .. } => 4,
        Op::ClearReal { .. } => 5,
        Op::SetReal { .. } => 6,
        Op::Judge { .. } => 7,
        Op::SetWords { .. } => 8,
        Op::SetPlan { .. } => 9,
        Op::SetCurrent { .. } => 10,
        Op::SetReply { .. } | Op::RemoveReply { .. } => 11,
        Op::Bind { .. } | Op::Unbind { .. } => 12,
    }
}

/// In this order; neighbours of one kind together.
fn write_all(tables: &mut Tables, ops: &[Op]) -> Result<(), DataPlaneError> {
    let is_same_kind = |a: &Op, b: &Op| discriminant(a) == discriminant(b);
    let mut runs = ops.chunk_by(is_same_kind);
    runs.try_for_each(|run| write_run(tables, run))
}

/// Writes of one kind.
fn write_run(tables: &mut Tables, run: &[Op]) -> Result<(), DataPlaneError> {
    fn each<V>(run: &[Op], value: impl Fn(&Op) -> Option<V>) -> Vec<V> {
        run.iter().filter_map(value).collect()
    }
    match run {
        [Op::SetHop { .. }, ..] => tables.set_next_hops(&each(run, |op| match op {
            Op::SetHop { slot, hop } => Some((*slot, *hop)),
            _ => None,
        })),
        [Op::SetPolicy { .. }, ..] => tables.set_policies(&each(run, |op| match op {
            Op::SetPolicy { service, policy } => Some((*service, *policy)),
            _ => None,
        })),
        [Op::ClearReal { .. }, ..] => tables.clear_reals(&each(run, |op| match op {
            Op::ClearReal { slot } => Some(*slot),
            _ => None,
        })),
        [Op::SetReal { .. }, ..] => tables.set_reals(&each(run, |op| match op {
            Op::SetReal { slot, real } => Some((*slot, *real)),
            _ => None,
        })),
        [Op::SetPlan { .. }, ..] => tables.set_plans(&each(run, |op| match op {
            Op::SetPlan { slot, plan } => Some((*slot, *plan)),
            _ => None,
        })),
        [Op::SetCurrent { .. }, ..] => tables.set_current_plans(&each(run, |op| match op {
            Op::SetCurrent { service, plan } => Some((*service, u64::from(*plan))),
            _ => None,
        })),
        others => others.iter().try_for_each(|op| write(tables, op)),
    }
}

fn write(tables: &mut Tables, op: &Op) -> Result<(), DataPlaneError> {
    match op {
        Op::SetHop { .. }
        | Op::SetPolicy { .. }
        | Op::ClearReal { .. }
        | Op::SetReal { .. }
        | Op::SetPlan { .. }
        | Op::SetCurrent { .. } => write_run(tables, std::slice::from_ref(op)),
        Op::ClearService { slot } => {
            tables.forget_localities(*slot, None)?;
            tables.set_service_stats(*slot, Default::default())
        }
        Op::SetWords { first, words } => tables.set_words(*first, words),
        Op::Bind { key, service } => tables.bind_service(*key, *service),
        Op::Unbind { key } => tables.unbind_service(key),
        Op::AddAddress { key } => tables.add_address(*key),
        Op::RemoveAddress { key } => tables.remove_address(key),
        Op::SetPool { service, pool } => tables.set_pool(*service, *pool),
        Op::RemovePool { service } => tables.remove_pool(*service),
        Op::SetReply { from, to } => tables.set_reply(*from, *to),
        Op::RemoveReply { from } => tables.remove_reply(from),
        Op::ForgetLocalities { service, reals } => {
            tables.forget_localities(*service, reals.as_deref())
        }
        Op::Judge { real } => tables.judge(*real),
        Op::KeepStats { service, real } => {
            let mut stats = tables.service_stats(*service)?;
            stats += tables.real_stats(*real)?;
            tables.set_service_stats(*service, stats)
        }
    }
}
