//! The state task's part in listing and cutting connections: it says which
//! slots are meant, and others do what takes time.

use std::{io, net::IpAddr, sync::Arc};

use tokio::sync::oneshot;

use super::{
    desired::Desired,
    director::Director,
    handle::{By, ChangeError, ObjectKind, Scope, ServiceRef, unknown_real},
};
use crate::{
    api::wire::EventKind,
    config::model::{RealId, ServiceId},
    connections::Roster,
    dataplane::sweep::{How, Whose},
    reconcile::Image,
};

impl Director {
    /// What connections' entries mean at this moment.
    pub(super) fn roster(&self, of: &Scope) -> Result<Roster, ChangeError> {
        let image = self.reconciler.image();
        let reals = image.all_reals();
        Ok(Roster {
            tables: Arc::clone(&self.connection_tables),
            services: image.all_services().collect(),
            chosen: slots(&self.desired, image, of)?.map(|slots| slots.into_iter().collect()),
            reals: reals
                .map(|(slot, id, method)| (slot, (id, method)))
                .collect(),
            timeouts: self.timeouts(),
        })
    }

    /// Has connections cut, and the persistence of their clients forgotten.
    /// Who asked waits for the end, and this task does not.
    pub(super) fn flush(
        &self,
        of: &Scope,
        by: By,
    ) -> Result<oneshot::Receiver<io::Result<()>>, ChangeError> {
        let image = self.reconciler.image();
        let chosen = slots(&self.desired, image, of)?;
        let slots = chosen.unwrap_or_else(|| image.all_reals().map(|(slot, ..)| slot).collect());
        let text = format!("connections of {} reals flushed", slots.len());
        self.events_out.tell(EventKind::Connections, by, text);
        Ok(self.sweeper.end(Whose::Reals(slots), How::Flush))
    }
}

/// The real slots that are meant; none: all.
fn slots(desired: &Desired, image: &Image, of: &Scope) -> Result<Option<Vec<u32>>, ChangeError> {
    match (&of.service, of.real) {
        (None, None) => Ok(None),
        (None, Some(real)) => anywhere(image, real).map(Some),
        (Some(at), None) => {
            let services = services(desired, image, at)?.into_iter();
            Ok(Some(services.flat_map(|of| image.slots_of(of)).collect()))
        }
        (Some(at), Some((address, port))) => {
            let slot = |service: ServiceId| {
                let port = port.unwrap_or(service.default_real_port());
                let real = RealId { address, port };
                image.slot_of(service, real).ok_or_else(|| {
                    let known = image.reals_of(service).map(|real| real.to_string());
                    unknown_real(service, real, known)
                })
            };
            let services = services(desired, image, at)?.into_iter();
            services.map(slot).collect::<Result<_, _>>().map(Some)
        }
    }
}

/// The services that are meant, or one that was deleted and still has
/// connections.
fn services(
    desired: &Desired,
    image: &Image,
    at: &ServiceRef,
) -> Result<Vec<ServiceId>, ChangeError> {
    match (desired.find_all(at), at) {
        (Ok(found), _) => {
            let ids = found.into_iter().map(|index| desired.services[index].id);
            Ok(ids.collect())
        }
        (Err(_), ServiceRef::Id(id)) if image.slots_of(*id).next().is_some() => Ok(vec![*id]),
        (Err(error), _) => Err(error),
    }
}

/// The reals of an address, of whichever service.
fn anywhere(image: &Image, real: (IpAddr, Option<u16>)) -> Result<Vec<u32>, ChangeError> {
    let (address, port) = real;
    let found = image
        .all_reals()
        .filter(|(_, id, _)| id.address == address && port.is_none_or(|port| id.port == port));
    let slots: Vec<_> = found.map(|(slot, ..)| slot).collect();
    if slots.is_empty() {
        let name = port.map_or_else(
            || address.to_string(),
            |port| RealId { address, port }.to_string(),
        );
        return Err(ChangeError::Unknown(
            ObjectKind::Real,
            format!("no service has a real {name}"),
        ));
    }
    Ok(slots)
}
