//! The desired state: every service and real that shall run, with its owner,
//! and the rules of who wins when the file and the runtime both have a say.
//! Pure; the director task carries it out.

use std::net::IpAddr;

use lb_common::limits::MAX_REALS_PER_SERVICE;

use super::{
    handle::{ChangeError, NewReal, RealPatch, ServicePatch, ServiceRef},
    marks::MarkEntry,
    timeouts::TimeoutEdits,
};
use crate::{
    api::wire::Owner,
    config::{
        model::{
            ForwardingMethod, MarkRule, OnDown, Persistence, RateLimit, Real, RealId, Scheduling,
            Service, ServiceId, Tunnel,
        },
        rules::{self, Invalid},
        vocabulary::did_you_mean,
    },
};

/// All services, in order: the file's, then the runtime's as they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    pub services: Vec<ServiceEntry>,
    /// Services of the file that the runtime deleted: they stay away until
    /// the next reload, also where the runtime has made another of the same
    /// address since.
    pub deleted: Vec<ServiceId>,
    /// In order, as the services are.
    pub marks: Vec<MarkEntry>,
    /// Rules of the file that the runtime deleted, as `deleted`.
    pub deleted_marks: Vec<MarkRule>,
    /// What the runtime changed of the file's timeouts.
    pub timeouts: TimeoutEdits,
}

/// A service and who it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEntry {
    pub id: ServiceId,
    pub name: Option<String>,
    pub scheduling: Scheduling,
    pub forward: ForwardingMethod,
    pub masquerade: Vec<IpAddr>,
    pub persistence: Option<Persistence>,
    pub one_packet: bool,
    pub on_down: OnDown,
    pub rate_limit: Option<RateLimit>,
    pub owner: Owner,
    /// The file's, with values that the runtime changed.
    pub edited: bool,
    pub reals: Vec<RealEntry>,
    /// Reals of the file that the runtime deleted, as [`Desired::deleted`].
    pub deleted_reals: Vec<RealId>,
}

/// A real and who it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RealEntry {
    pub real: Real,
    pub owner: Owner,
    pub edited: bool,
}

/// What a [`Desired::merge`] is to be told about, a line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Runtime changes that the file's values replaced.
    pub reverted: Vec<String>,
    pub warnings: Vec<String>,
}

impl ServiceEntry {
    fn new(service: Service, owner: Owner) -> Self {
        let scheduling = service.scheduling();
        let Service {
            id,
            name,
            scheduler: _,
            scheduler_flags: _,
            mh_table_size: _,
            slow_start: _,
            forward,
            masquerade,
            persistence,
            one_packet,
            on_down,
            rate_limit,
            reals,
        } = service;
        let entry = |real| RealEntry {
            real,
            owner,
            edited: false,
        };
        Self {
            id,
            name,
            scheduling,
            forward,
            masquerade,
            persistence,
            one_packet,
            on_down,
            rate_limit,
            owner,
            edited: false,
            reals: reals.into_iter().map(entry).collect(),
            deleted_reals: Vec::new(),
        }
    }

    /// The service as the data plane is to have it.
    #[must_use]
    pub fn service(&self) -> Service {
        Service {
            id: self.id,
            name: self.name.clone(),
            scheduler: self.scheduling.scheduler,
            scheduler_flags: self.scheduling.flags,
            mh_table_size: self.scheduling.table_size,
            slow_start: self.scheduling.slow_start,
            forward: self.forward,
            masquerade: self.masquerade.clone(),
            persistence: self.persistence,
            one_packet: self.one_packet,
            on_down: self.on_down,
            rate_limit: self.rate_limit,
            reals: self.reals.iter().map(|entry| entry.real).collect(),
        }
    }

    fn position(&self, id: RealId) -> Option<usize> {
        self.reals.iter().position(|entry| entry.real.id == id)
    }
}

impl Desired {
    /// The file's services and marks over what was there before. At a start the runtime's
    /// edits and deletions of the file's objects hold (`keep_edits`); a reload
    /// puts the file's values back.
    #[must_use]
    pub fn merge(
        file: &[Service],
        marks: &[MarkRule],
        before: &Self,
        keep_edits: bool,
    ) -> (Self, Notes) {
        let mut notes = Notes::default();
        let mut merged = Self::default();
        for service in file {
            if before.deleted.contains(&service.id) {
                if keep_edits {
                    merged.deleted.push(service.id);
                    continue;
                }
                notes
                    .reverted
                    .push(format!("service {}: back, as the file has it", service.id));
            }
            let mut entry = ServiceEntry::new(service.clone(), Owner::File);
            if let Some(old) = before.services.iter().find(|old| old.id == service.id) {
                merge_service(&mut entry, old, keep_edits, &mut notes);
            }
            merged.services.push(entry);
        }
        for old in &before.services {
            if merged.services.iter().any(|entry| entry.id == old.id) {
                continue;
            }
            match old.owner {
                Owner::Runtime => merged.services.push(old.clone()),
                Owner::File => warn_of_lost_reals(old, &mut notes),
            }
        }
        merged.drop_taken_names(&mut notes);
        merged.merge_marks(marks, before, keep_edits, &mut notes);
        if keep_edits {
            merged.timeouts = before.timeouts;
        } else {
            notes.reverted.extend(before.timeouts.describe_revert());
        }
        (merged, notes)
    }

    /// A name that the file gives to one service cannot stay with another.
    fn drop_taken_names(&mut self, notes: &mut Notes) {
        for index in 0..self.services.len() {
            let (before, rest) = self.services.split_at_mut(index);
            let entry = &mut rest[0];
            if entry.name.is_some() && before.iter().any(|other| other.name == entry.name) {
                notes.warnings.push(format!(
                    "service {}: its name {} belongs to a service of the file now",
                    entry.id,
                    entry.name.take().unwrap_or_default()
                ));
            }
        }
    }

    /// Finds a service; an unknown one is told with the nearest there is.
    pub fn find(&self, at: &ServiceRef) -> Result<usize, ChangeError> {
        let found = match at {
            ServiceRef::Id(id) => self.services.iter().position(|entry| entry.id == *id),
            ServiceRef::Name(name) => self
                .services
                .iter()
                .position(|entry| entry.name.as_ref() == Some(name)),
        };
        found.ok_or_else(|| {
            let asked = match at {
                ServiceRef::Id(id) => id.to_string(),
                ServiceRef::Name(name) => name.clone(),
            };
            let known = self
                .services
                .iter()
                .flat_map(|entry| [Some(entry.id.to_string()), entry.name.clone()])
                .flatten();
            ChangeError::Unknown(format!("no service {asked}{}", did_you_mean(&asked, known)))
        })
    }

    /// Every rule about each service, and about them all. A merge can break
    /// one: the number of a service's reals, some of them the file's and some
    /// the runtime's.
    pub fn validate(&self) -> Result<(), Invalid> {
        for entry in &self.services {
            let service = entry.service();
            service.validate()?;
            self.check_replies(&service)?;
        }
        self.check_marks()
    }

    fn check_replies(&self, service: &Service) -> Result<(), Invalid> {
        if !service.one_packet {
            return Ok(());
        }
        let others = self.services.iter().filter(|entry| entry.one_packet);
        let others: Vec<_> = others.map(ServiceEntry::service).collect();
        rules::check_replies(service, &others)
    }

    /// The rules that a change of the service at `index` could have broken.
    fn check_service(&self, index: usize) -> Result<Service, ChangeError> {
        let service = self.services[index].service();
        service.validate().map_err(invalid)?;
        self.check_replies(&service).map_err(invalid)?;
        Ok(service)
    }

    pub fn add_service(&mut self, service: Service) -> Result<ServiceId, ChangeError> {
        let id = service.id;
        if self.services.iter().any(|entry| entry.id == id) {
            return Err(ChangeError::Exists(format!("service {id} exists already")));
        }
        self.check_name(id, service.name.as_deref())?;
        service.validate().map_err(invalid)?;
        service.check_pool_is_used().map_err(invalid)?;
        self.check_replies(&service).map_err(invalid)?;
        self.services
            .push(ServiceEntry::new(service, Owner::Runtime));
        Ok(id)
    }

    pub fn edit_service(
        &mut self,
        at: &ServiceRef,
        patch: ServicePatch,
    ) -> Result<ServiceId, ChangeError> {
        let index = self.find(at)?;
        let id = self.services[index].id;
        self.check_name(id, patch.name.as_deref())?;
        let entry = &mut self.services[index];
        let before = entry.clone();
        if let Some(name) = patch.name {
            entry.name = Some(name);
        }
        let scheduling = patch.scheduling.apply(entry.scheduling);
        entry.scheduling = scheduling
            .map_err(|problem| ChangeError::Invalid(format!("service {id}: {problem}")))?;
        if let Some(forward) = patch.forward {
            entry.forward = forward;
        }
        let sets_pool = patch.masquerade.is_some();
        if let Some(masquerade) = patch.masquerade {
            entry.masquerade = masquerade;
        }
        entry.persistence = patch.persistence.apply(entry.persistence);
        entry.one_packet = patch.one_packet.unwrap_or(entry.one_packet);
        entry.on_down = patch.on_down.unwrap_or(entry.on_down);
        entry.rate_limit = patch.rate_limit.apply(entry.rate_limit);
        entry.edited |= entry.owner == Owner::File && *entry != before;
        let service = self.check_service(index)?;
        if sets_pool {
            service.check_pool_is_used().map_err(invalid)?;
        }
        Ok(id)
    }

    pub fn delete_service(&mut self, at: &ServiceRef) -> Result<ServiceId, ChangeError> {
        let index = self.find(at)?;
        let entry = self.services.remove(index);
        if entry.owner == Owner::File {
            self.deleted.push(entry.id);
        }
        Ok(entry.id)
    }

    /// What the new real leaves open comes from its service.
    pub fn add_real(
        &mut self,
        at: &ServiceRef,
        new: &NewReal,
    ) -> Result<(ServiceId, RealId), ChangeError> {
        let index = self.find(at)?;
        let entry = &mut self.services[index];
        let real = new.real(entry.id, entry.forward);
        let id = real.id;
        if entry.position(id).is_some() {
            return Err(ChangeError::Exists(format!(
                "service {}: real {id} exists already",
                entry.id
            )));
        }
        entry.reals.push(RealEntry {
            real,
            owner: Owner::Runtime,
            edited: false,
        });
        let service = self.check_service(index)?;
        Ok((service.id, id))
    }

    pub fn edit_real(
        &mut self,
        at: &ServiceRef,
        address: IpAddr,
        port: Option<u16>,
        patch: RealPatch,
    ) -> Result<ServiceId, ChangeError> {
        let (index, position) = self.find_real(at, address, port)?;
        let entry = &mut self.services[index];
        let real = &mut entry.reals[position];
        let before = *real;
        if let Some(weight) = patch.weight {
            real.real.weight = weight;
        }
        if let Some(forward) = patch.forward {
            real.real.forward = forward;
        }
        if real.real.forward != ForwardingMethod::Tun {
            real.real.tunnel = Tunnel::default();
        }
        real.real.tunnel = patch.tunnel.apply(real.real.tunnel);
        let upper = &mut real.real.upper_threshold;
        *upper = patch.upper_threshold.unwrap_or(*upper);
        let lower = &mut real.real.lower_threshold;
        *lower = patch.lower_threshold.unwrap_or(*lower);
        real.edited |= real.owner == Owner::File && *real != before;
        // The file has no state that an edit of it could differ from.
        real.real.state = patch.state.unwrap_or(real.real.state);
        real.real.validate(entry.id).map_err(invalid)?;
        let id = entry.id;
        if self.services[index].one_packet {
            self.check_service(index)?;
        }
        Ok(id)
    }

    pub fn delete_real(
        &mut self,
        at: &ServiceRef,
        address: IpAddr,
        port: Option<u16>,
    ) -> Result<(ServiceId, RealId), ChangeError> {
        let (index, position) = self.find_real(at, address, port)?;
        let entry = &mut self.services[index];
        let real = entry.reals.remove(position);
        if real.owner == Owner::File {
            entry.deleted_reals.push(real.real.id);
        }
        Ok((entry.id, real.real.id))
    }

    fn find_real(
        &self,
        at: &ServiceRef,
        address: IpAddr,
        port: Option<u16>,
    ) -> Result<(usize, usize), ChangeError> {
        let index = self.find(at)?;
        let entry = &self.services[index];
        let id = RealId {
            address,
            port: port.unwrap_or(entry.id.default_real_port()),
        };
        let position = entry.position(id).ok_or_else(|| {
            let known = entry.reals.iter().map(|real| real.real.id.to_string());
            let suggestion = did_you_mean(&id.to_string(), known);
            ChangeError::Unknown(format!("service {}: no real {id}{suggestion}", entry.id))
        })?;
        Ok((index, position))
    }

    fn check_name(&self, id: ServiceId, name: Option<&str>) -> Result<(), ChangeError> {
        let Some(name) = name else { return Ok(()) };
        let is_valid = !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if !is_valid {
            return Err(ChangeError::Invalid(format!(
                "service {id}: name {name:?} has characters other than letters, digits, dot, underscore and hyphen"
            )));
        }
        match self
            .services
            .iter()
            .find(|e| e.id != id && e.name.as_deref() == Some(name))
        {
            Some(other) => Err(ChangeError::Exists(format!(
                "service {id}: name {name} belongs to service {}",
                other.id
            ))),
            None => Ok(()),
        }
    }
}

/// The file's service over the one that was there.
fn merge_service(
    entry: &mut ServiceEntry,
    old: &ServiceEntry,
    keep_edits: bool,
    notes: &mut Notes,
) {
    let id = entry.id;
    if old.owner == Owner::Runtime {
        notes.warnings.push(format!(
            "service {id}: made at run time, the file owns it from now on"
        ));
    } else if old.edited && keep_edits {
        entry.name.clone_from(&old.name);
        entry.scheduling = old.scheduling;
        entry.forward = old.forward;
        entry.masquerade.clone_from(&old.masquerade);
        entry.persistence = old.persistence;
        entry.one_packet = old.one_packet;
        entry.on_down = old.on_down;
        entry.rate_limit = old.rate_limit;
        entry.edited = true;
    } else if old.edited {
        notes.reverted.push(format!(
            "service {id}: edited at run time, back to the file's values"
        ));
    }
    if keep_edits {
        entry.deleted_reals = old
            .deleted_reals
            .iter()
            .filter(|deleted| entry.position(**deleted).is_some())
            .copied()
            .collect();
        let deleted = entry.deleted_reals.clone();
        entry.reals.retain(|real| !deleted.contains(&real.real.id));
    } else {
        let back = old
            .deleted_reals
            .iter()
            .filter(|deleted| entry.position(**deleted).is_some());
        notes.reverted.extend(
            back.map(|real| format!("service {id}: real {real}: back, as the file has it")),
        );
    }
    for old_real in &old.reals {
        let real = old_real.real.id;
        // What the operator has a real do is never the file's.
        if let Some(position) = entry.position(real) {
            entry.reals[position].real.state = old_real.real.state;
        }
        match (entry.position(real), old_real.owner) {
            (Some(_), Owner::Runtime) => notes.warnings.push(format!(
                "service {id}: real {real}: made at run time, the file owns it from now on"
            )),
            (Some(position), Owner::File) if old_real.edited && keep_edits => {
                entry.reals[position] = *old_real;
            }
            (Some(_), Owner::File) if old_real.edited => notes.reverted.push(format!(
                "service {id}: real {real}: edited at run time, back to the file's values"
            )),
            // The file was changed while no daemon ran, which would have
            // refused it.
            (None, Owner::Runtime)
                if keep_edits && entry.reals.len() >= MAX_REALS_PER_SERVICE as usize =>
            {
                notes.warnings.push(format!(
                    "service {id}: real {real}: made at run time, dropped: the file's leave no room"
                ));
            }
            (None, Owner::Runtime) => entry.reals.push(*old_real),
            (Some(_) | None, Owner::File) => {}
        }
    }
}

fn warn_of_lost_reals(old: &ServiceEntry, notes: &mut Notes) {
    let reals: Vec<String> = old
        .reals
        .iter()
        .filter(|real| real.owner == Owner::Runtime)
        .map(|real| real.real.id.to_string())
        .collect();
    if !reals.is_empty() {
        notes.warnings.push(format!(
            "service {}: no longer in the file; its reals made at run time go with it: {}",
            old.id,
            reals.join(", ")
        ));
    }
}

pub(super) fn invalid(error: Invalid) -> ChangeError {
    ChangeError::Invalid(error.problem)
}

#[cfg(test)]
#[path = "desired_tests.rs"]
mod tests;
