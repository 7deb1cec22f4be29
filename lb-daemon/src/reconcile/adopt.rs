//! Reads the image back from the maps of an earlier daemon.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    time::Instant,
};

use lb_common::{
    real::{RealServer, slot},
    scheduler::Listed,
    service::AddressKey,
};

use super::{
    addresses::Addresses,
    image::{
        HopImage, Image, NO_HOP, PlanImage, PlanPlace, RealImage, ServiceImage, Welcome, nat_role,
        nat_roles, service_id, service_role,
    },
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
        let plan = read_plan(tables, *service_slot)?;
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

fn read_plan(tables: &Tables, service: u32) -> Result<Option<PlanImage>, DataPlaneError> {
    let slot = tables.current_plan(service)?;
    let plan = tables.plan(slot)?;
    let words = tables.words(plan.first, plan.length)?;
    let table = tables.words(plan.table_first, plan.table_length)?;
    let place = PlanPlace {
        slot,
        first: plan.first,
        length: plan.length + plan.table_length,
    };
    Ok(Some(PlanImage {
        place,
        plan,
        words,
        table,
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
            image.hops.insert(IpAddr::from(hop.address), entry);
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
            if retired.is_none()
                && let Some(plan) = &mut entry.plan
            {
                plan.listed.push(Listed {
                    slot: index,
                    weight: server.weight,
                });
            }
        }
    }
    for plan in image.services.values_mut().filter_map(|s| s.plan.as_mut()) {
        sort_as_planned(plan);
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

/// Puts the reals into the order of configuration, which is not in the maps
/// but for the plan: every scheduler's words end with the eligible reals in
/// that order.
fn sort_as_planned(plan: &mut PlanImage) {
    let eligible = plan.listed.iter().filter(|real| real.weight > 0).count();
    let tail = &plan.words[plan.words.len().saturating_sub(eligible)..];
    let order: HashMap<u32, usize> = tail
        .iter()
        .enumerate()
        .map(|(i, slot)| (*slot, i))
        .collect();
    plan.listed
        .sort_by_key(|real| order.get(&real.slot).copied());
}
