//! Reads the image back from the maps of an earlier daemon.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    time::Instant,
};

use lb_common::{
    real::{RealServer, slot},
    scheduler::{FULL_SHARE, Listed, SHELF},
    service::AddressKey,
};

use super::{
    addresses::Addresses,
    image::{
        HopImage, Image, NO_HOP, PlanImage, PlanPlace, RealImage, ServiceImage, Welcome, nat_role,
        nat_roles, service_id, service_role,
    },
    plan::identity,
    ranges::{Ranges, Slots},
};
use crate::{
    config::model::{ForwardingMethod, Protocol, RealId, ServiceId},
    dataplane::{DataPlaneError, Sizes, Tables},
};

/// The image of maps that may hold anything this ABI version wrote.
pub fn read(tables: &Tables, sizes: &Sizes) -> Result<Image, DataPlaneError> {
    let mut image = Image::empty(sizes);
    image.addresses = Addresses::found(tables.addresses()?);
    image.replies = tables.replies()?.into_iter().collect();
    image.pools = tables.pools()?.into_iter().collect();
    let bound = tables.services()?;
    for (key, service_slot) in &bound {
        let Some(id) = service_id(key) else { continue };
        let plan = read_plan(tables, sizes, *service_slot)?;
        let policy = tables.policy(*service_slot)?;
        let entry = ServiceImage {
            slot: *service_slot,
            bound: true,
            policy,
            plan,
            reals: HashMap::new(),
        };
        image.services.insert(id, entry);
        if let Some(role) = service_role(id) {
            image.addresses.adopt(role);
        }
    }
    read_hops(tables, &mut image)?;
    read_reals(tables, &mut image)?;

    let mut services: HashSet<u32> = bound.iter().map(|(_, slot)| *slot).collect();
    services.extend(image.reals.values().map(|real| real.server.service));
    let plans: Vec<PlanPlace> = image
        .services
        .values()
        .filter_map(|s| s.plan.as_ref())
        .map(|p| p.place)
        .collect();
    image.service_slots = Slots::new(sizes.services, &services);
    image.real_slots = Slots::new(sizes.reals, &image.reals.keys().copied().collect());
    image.hop_slots = Slots::new(
        sizes.next_hops,
        &image.hops.values().map(|h| h.slot).collect(),
    );
    image.plan_slots = Slots::new(sizes.plans, &plans.iter().map(|p| p.slot).collect());
    image.words = Ranges::new(
        sizes.plan_words,
        plans.iter().map(|p| (p.first, p.length)).collect(),
    );
    Ok(image)
}

/// The plan in force; none where it lies beyond the map.
fn read_plan(
    tables: &Tables,
    sizes: &Sizes,
    service: u32,
) -> Result<Option<PlanImage>, DataPlaneError> {
    let slot = tables.current_plan(service)?;
    let plan = tables.plan(slot)?;
    let words = u64::from(plan.length) + u64::from(plan.table_length) + u64::from(plan.listed);
    let length = words.next_multiple_of(SHELF as u64);
    let is_sound = u64::from(plan.first) + length <= u64::from(sizes.plan_words)
        && plan.first.is_multiple_of(SHELF as u32);
    if !is_sound {
        return Ok(None);
    }
    let length = length as u32;
    let place = PlanPlace {
        slot,
        first: plan.first,
        length,
    };
    Ok(Some(PlanImage {
        place,
        plan,
        words: tables.words(plan.first, length)?,
        listed: Vec::new(),
    }))
}

fn read_hops(tables: &Tables, image: &mut Image) -> Result<(), DataPlaneError> {
    for (index, hop) in (0..).zip(tables.next_hops()?) {
        if hop.slot != slot::FREE {
            let entry = HopImage {
                slot: index,
                hop,
                users: 0,
            };
            image.add_hop(IpAddr::from(hop.address), entry);
        }
    }
    Ok(())
}

fn read_reals(tables: &Tables, image: &mut Image) -> Result<(), DataPlaneError> {
    let owners: HashMap<u32, ServiceId> = image
        .services
        .iter()
        .map(|(id, service)| (service.slot, *id))
        .collect();
    let now = Instant::now();
    for (index, server) in (0..).zip(tables.reals()?) {
        if server.slot == slot::FREE {
            continue;
        }
        let address = IpAddr::from(server.address);
        let service = owners.get(&server.service).copied();
        let retired = (server.slot == slot::RETIRED || service.is_none()).then_some(now);
        let roles = roles(&image.addresses, &server, service);
        for role in &roles {
            image.addresses.adopt(*role);
        }
        image.reals.insert(
            index,
            RealImage {
                server,
                service,
                retired,
                roles,
                welcome: Welcome::All,
            },
        );
        if server.next_hop != NO_HOP
            && let Some(hop) = image.hops.get_mut(&address)
        {
            hop.users += 1;
        }
        if let Some(entry) = service.and_then(|id| image.services.get_mut(&id)) {
            entry.reals.insert(
                RealId {
                    address,
                    port: server.port.get(),
                },
                index,
            );
        }
    }
    let Image {
        services, reals, ..
    } = image;
    for plan in services.values_mut().filter_map(|s| s.plan.as_mut()) {
        plan.listed = listed(plan, reals);
    }
    Ok(())
}

/// What a real has in `ADDRESSES`. The protocol of a service that is deleted
/// is not in the maps: of those, the entries that are there stay.
fn roles(
    addresses: &Addresses,
    server: &RealServer,
    service: Option<ServiceId>,
) -> Vec<AddressKey> {
    if server.method != ForwardingMethod::Nat as u8 {
        return Vec::new();
    }
    match service {
        Some(id) => nat_roles(server.address, id),
        None => Protocol::ALL
            .into_iter()
            .map(|protocol| nat_role(server.address, protocol))
            .filter(|role| addresses.contains(role))
            .collect(),
    }
}

/// The reals that a plan was made for, in the order of configuration.
fn listed(plan: &PlanImage, reals: &HashMap<u32, RealImage>) -> Vec<Listed> {
    let first = (plan.plan.length + plan.plan.table_length) as usize;
    let slots = plan.words[first..].iter().take(plan.plan.listed as usize);
    let listed = |slot: &u32| {
        let server = reals.get(slot)?.server;
        let id = RealId {
            address: IpAddr::from(server.address),
            port: server.port.get(),
        };
        Some(Listed {
            slot: *slot,
            weight: server.weight.into(),
            last_weight: server.last_weight.into(),
            // Of one in its slow start it is not known: the next plan tells.
            share: if server.up_since_ms == 0 {
                FULL_SHARE
            } else {
                1
            },
            identity: identity(id),
        })
    };
    slots.filter_map(listed).collect()
}
