//! The desired state: every service and real that shall run, with its owner,
//! and what the runtime changes of it. Pure; the director task carries it out.

use std::{net::IpAddr, sync::Arc};

pub use super::merge::Notes;
use super::{
    entries::Entries,
    etag::{self, IfMatch},
    handle::{ChangeError, ObjectKind, Scope, ServiceRef, unknown_real},
    marks::MarkEntry,
    patch::{NewReal, RealHealthPatch, RealPatch, ServicePatch, TunnelPatch},
    timeouts::TimeoutEdits,
};
use crate::{
    api::wire::Owner,
    config::{
        model::{
            ForwardingMethod, Health, MarkRule, OnDown, Persistence, RateLimit, Real, RealId,
            RealState, Scheduling, Service, ServiceId, Tunnel,
        },
        rules::{self, Invalid, Replies},
        vocabulary::did_you_mean,
    },
};

/// All services, in order: the file's, then the runtime's as they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    pub services: Entries,
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
    pub health: Arc<Health>,
    pub owner: Owner,
    /// The file's, with values that the runtime changed.
    pub edited: bool,
    pub reals: Vec<RealEntry>,
    /// Reals of the file that the runtime deleted, as [`Desired::deleted`].
    pub deleted_reals: Vec<RealId>,
}

/// A real and who it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealEntry {
    pub real: Real,
    pub owner: Owner,
    pub edited: bool,
}

impl RealEntry {
    /// Whether the file says all there is to know of it.
    #[must_use]
    pub fn is_as_in_file(&self) -> bool {
        self.owner == Owner::File && !self.edited && self.real.state == RealState::Ready
    }
}

impl ServiceEntry {
    /// As of a real.
    #[must_use]
    pub fn is_as_in_file(&self) -> bool {
        self.owner == Owner::File
            && !self.edited
            && self.deleted_reals.is_empty()
            && self.reals.iter().all(RealEntry::is_as_in_file)
    }

    pub(super) fn new(service: Service, owner: Owner) -> Self {
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
            health,
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
            health,
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
            health: Arc::clone(&self.health),
            reals: self.reals.iter().map(|entry| entry.real.clone()).collect(),
        }
    }

    pub(super) fn position(&self, id: RealId) -> Option<usize> {
        self.reals.iter().position(|entry| entry.real.id == id)
    }
}

impl Desired {
    /// The service with this identity.
    #[must_use]
    pub fn entry(&self, id: ServiceId) -> Option<&ServiceEntry> {
        self.services.iter().find(|entry| entry.id == id)
    }

    /// Finds the services that are meant: a name is that of all in its group. In order,
    /// at least one; an unknown one is told with the nearest there is.
    pub fn find_all(&self, at: &ServiceRef) -> Result<Vec<usize>, ChangeError> {
        let found: Vec<_> = self.positions(at).collect();
        if found.is_empty() {
            return Err(self.unknown(at));
        }
        Ok(found)
    }

    fn positions(&self, at: &ServiceRef) -> impl Iterator<Item = usize> {
        let is_meant = move |entry: &ServiceEntry| match at {
            ServiceRef::Id(id) => entry.id == *id,
            ServiceRef::Name(name) => entry.name.as_ref() == Some(name),
        };
        let entries = self.services.iter().enumerate();
        entries.filter_map(move |(index, entry)| is_meant(entry).then_some(index))
    }

    fn unknown(&self, at: &ServiceRef) -> ChangeError {
        let asked = at.to_string();
        let known = self
            .services
            .iter()
            .flat_map(|entry| [Some(entry.id.to_string()), entry.name.clone()])
            .flatten();
        ChangeError::Unknown(
            ObjectKind::Service,
            format!("no service {asked}{}", did_you_mean(&asked, known)),
        )
    }

    /// Every rule about each service, and about them all. A merge can break
    /// one: the number of a service's reals, some of them the file's and some
    /// the runtime's.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut replies = Replies::default();
        for entry in &self.services {
            let service = entry.service();
            service.validate()?;
            replies.add(&service)?;
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
        self.add_services(vec![service])?;
        Ok(id)
    }

    /// Adds services that may have one name: a group.
    pub fn add_services(&mut self, group: Vec<Service>) -> Result<Vec<ServiceId>, ChangeError> {
        let ids: Vec<_> = group.iter().map(|service| service.id).collect();
        for service in group {
            let id = service.id;
            if self.services.iter().any(|entry| entry.id == id) {
                return Err(ChangeError::Exists(
                    ObjectKind::Service,
                    format!("service {id} exists already"),
                ));
            }
            self.check_name(&ids, id, service.name.as_deref())?;
            service.validate().map_err(invalid)?;
            service.check_pool_is_used().map_err(invalid)?;
            self.check_replies(&service).map_err(invalid)?;
            self.services
                .push(ServiceEntry::new(service, Owner::Runtime));
        }
        Ok(ids)
    }

    /// Edits a service, or all of a group; after an error some may have
    /// changed.
    pub fn edit_service(
        &mut self,
        at: &ServiceRef,
        patch: ServicePatch,
    ) -> Result<Vec<ServiceId>, ChangeError> {
        let group = self.find_all(at)?;
        let ids: Vec<_> = group.iter().map(|index| self.services[*index].id).collect();
        let patches = std::iter::repeat_n(patch, group.len());
        for (index, patch) in group.into_iter().zip(patches) {
            self.check_name(&ids, self.services[index].id, patch.name.as_deref())?;
            self.edit_one(index, patch)?;
        }
        Ok(ids)
    }

    fn edit_one(&mut self, index: usize, patch: ServicePatch) -> Result<(), ChangeError> {
        let entry = &mut self.services[index];
        let id = entry.id;
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
        entry.health = patch.health.apply(&entry.health, id, entry.forward);
        entry.edited |= entry.owner == Owner::File && *entry != before;
        let service = self.check_service(index)?;
        if sets_pool {
            service.check_pool_is_used().map_err(invalid)?;
        }
        Ok(())
    }

    /// Deletes a service, or all of a group.
    pub fn delete_service(&mut self, at: &ServiceRef) -> Result<Vec<ServiceId>, ChangeError> {
        let group = self.find_all(at)?;
        let ids: Vec<_> = group.iter().map(|index| self.services[*index].id).collect();
        for index in group.into_iter().rev() {
            let entry = self.services.remove(index);
            if entry.owner == Owner::File {
                self.deleted.push(entry.id);
            }
        }
        Ok(ids)
    }

    /// Every service, and how many there were.
    pub fn delete_services(&mut self) -> Vec<ServiceId> {
        let gone = std::mem::take(&mut self.services);
        let of_file = gone.iter().filter(|entry| entry.owner == Owner::File);
        self.deleted.extend(of_file.map(|entry| entry.id));
        gone.iter().map(|entry| entry.id).collect()
    }

    /// Adds a real to a service, or to all of a group; what it leaves open
    /// comes from its service. The real is that of the first; after an error
    /// some may have it.
    pub fn add_real(
        &mut self,
        at: &ServiceRef,
        new: &NewReal,
    ) -> Result<(Vec<ServiceId>, RealId), ChangeError> {
        let mut ids = Vec::new();
        let mut first = None;
        for index in self.find_all(at)? {
            let entry = &mut self.services[index];
            let real = new.real(entry.id, entry.forward);
            let id = real.id;
            if entry.position(id).is_some() {
                return Err(ChangeError::Exists(
                    ObjectKind::Real,
                    format!("service {}: real {id} exists already", entry.id),
                ));
            }
            entry.reals.push(RealEntry {
                real,
                owner: Owner::Runtime,
                edited: false,
            });
            ids.push(self.check_service(index)?.id);
            first = first.or(Some(id));
        }
        let first = first.ok_or_else(|| self.unknown(at))?;
        Ok((ids, first))
    }

    /// Edits a real of a service, or of all of a group; after an error some
    /// may have changed.
    pub fn edit_real(
        &mut self,
        at: &ServiceRef,
        address: IpAddr,
        port: Option<u16>,
        patch: &RealPatch,
    ) -> Result<Vec<ServiceId>, ChangeError> {
        let found = self.find_reals(at, address, port)?;
        for (index, position) in &found {
            let entry = &mut self.services[*index];
            let edited = &mut entry.reals[*position];
            let before = edited.clone();
            let real = &mut edited.real;
            real.weight = patch.weight.unwrap_or(real.weight);
            real.forward = patch.forward.unwrap_or(real.forward);
            if real.forward != ForwardingMethod::Tun {
                real.tunnel = Tunnel::default();
            }
            real.tunnel = patch.tunnel.apply(real.tunnel);
            let upper = &mut real.upper_threshold;
            *upper = patch.upper_threshold.unwrap_or(*upper);
            let lower = &mut real.lower_threshold;
            *lower = patch.lower_threshold.unwrap_or(*lower);
            real.health = patch.health.clone().apply(real.health.as_ref());
            edited.edited |= edited.owner == Owner::File && *edited != before;
            // The file has no state that an edit of it could differ from.
            let state = &mut edited.real.state;
            *state = patch.state.unwrap_or(*state);
            edited.real.validate(entry.id).map_err(invalid)?;
            let is_moved = patch.forward.is_some() || patch.tunnel != TunnelPatch::default();
            if is_moved || patch.health != RealHealthPatch::default() {
                self.check_service(*index)?;
            }
        }
        let ids = found.iter().map(|(index, _)| self.services[*index].id);
        Ok(ids.collect())
    }

    /// Deletes a real of a service, or of all of a group. The real is that of
    /// the first.
    pub fn delete_real(
        &mut self,
        at: &ServiceRef,
        address: IpAddr,
        port: Option<u16>,
    ) -> Result<(Vec<ServiceId>, RealId), ChangeError> {
        let mut ids = Vec::new();
        let mut first = None;
        for (index, position) in self.find_reals(at, address, port)? {
            let entry = &mut self.services[index];
            let RealEntry { real, owner, .. } = entry.reals.remove(position);
            if owner == Owner::File {
                entry.deleted_reals.push(real.id);
            }
            ids.push(entry.id);
            first = first.or(Some(real.id));
        }
        let first = first.ok_or_else(|| self.unknown(at))?;
        Ok((ids, first))
    }

    /// Services with those of their reals that are meant; a real needs a service.
    pub fn in_scope(&self, of: &Scope) -> Result<Vec<(&ServiceEntry, &RealEntry)>, ChangeError> {
        let found = match (&of.service, of.real) {
            (None, _) => (0..self.services.len()).collect(),
            (Some(at), None) => self.find_all(at)?,
            (Some(at), Some((address, port))) => {
                let found = self.find_reals(at, address, port)?.into_iter();
                let pair = |(index, position): (usize, usize)| {
                    let entry: &ServiceEntry = &self.services[index];
                    (entry, &entry.reals[position])
                };
                return Ok(found.map(pair).collect());
            }
        };
        let entries = found.into_iter().map(|index| &self.services[index]);
        let pairs = entries.flat_map(|entry| entry.reals.iter().map(move |real| (entry, real)));
        Ok(pairs.collect())
    }

    /// Where a real stands, in each of the services that are meant: in all of
    /// them, or it is not found.
    fn find_reals(
        &self,
        at: &ServiceRef,
        address: IpAddr,
        port: Option<u16>,
    ) -> Result<Vec<(usize, usize)>, ChangeError> {
        let find = |index: usize| {
            let entry = &self.services[index];
            let id = RealId {
                address,
                port: port.unwrap_or(entry.id.default_real_port()),
            };
            let position = entry.position(id).ok_or_else(|| {
                let known = entry.reals.iter().map(|real| real.real.id.to_string());
                unknown_real(entry.id, id, known)
            })?;
            Ok((index, position))
        };
        self.find_all(at)?.into_iter().map(find).collect()
    }

    /// Whether services are of the version that is asked for.
    pub fn check_version(&self, at: &ServiceRef, version: &IfMatch) -> Result<(), ChangeError> {
        for index in self.find_all(at)? {
            let entry = &self.services[index];
            let what = || format!("service {}", entry.id);
            version.check(what, &etag::of_service(&entry.service()))?;
        }
        Ok(())
    }

    /// As [`Self::check_version`], of a real.
    pub fn check_real_version(
        &self,
        at: &ServiceRef,
        address: IpAddr,
        port: Option<u16>,
        version: &IfMatch,
    ) -> Result<(), ChangeError> {
        for (index, position) in self.find_reals(at, address, port)? {
            let entry = &self.services[index];
            let real = &entry.reals[position].real;
            let what = || format!("service {}: real {}", entry.id, real.id);
            version.check(what, &etag::of_real(real))?;
        }
        Ok(())
    }

    /// Whether the service `id` may have this name: nobody but the rest of its
    /// `group` has it.
    fn check_name(
        &self,
        group: &[ServiceId],
        id: ServiceId,
        name: Option<&str>,
    ) -> Result<(), ChangeError> {
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
        let has_it = |entry: &&ServiceEntry| entry.name.as_deref() == Some(name);
        let mut others = self.services.iter().filter(has_it);
        // Its own name stays that of the group it is in.
        if others.clone().any(|entry| entry.id == id) {
            return Ok(());
        }
        match others.find(|entry| !group.contains(&entry.id)) {
            Some(other) => Err(ChangeError::Exists(
                ObjectKind::Service,
                format!("service {id}: name {name} belongs to service {}", other.id),
            )),
            None => Ok(()),
        }
    }
}

pub(super) fn invalid(error: Invalid) -> ChangeError {
    ChangeError::Invalid(error.problem)
}

#[cfg(test)]
#[path = "desired_tests.rs"]
mod tests;
