//! What the maps hold, as the daemon knows it: slots, their owners, and which
//! are free. Read back from the maps at adoption ([`super::adopt`]).

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use lb_common::{
    addr::{Addr, Be16, Be32},
    real::{NextHop, Pool, RealServer, flag},
    scheduler::Listed,
    service::{AddressKey, Plan, Policy, ReplyEnd, ServiceKey, role},
};

use super::{
    addresses::Addresses,
    ranges::{Ranges, Slots},
    slow_start::Clock,
    standing::Standings,
};
use crate::{
    config::model::{
        FirewallMark, ForwardingMethod, IpFamily, Protocol, RealId, ServiceId, VirtualAddress,
    },
    dataplane::Sizes,
};

/// How long a replaced plan stays as it is: a packet may still be reading it.
/// A program runs for microseconds.
pub(super) const PLAN_REST: Duration = Duration::from_millis(100);

/// The contents of the maps.
#[derive(Clone, Debug)]
pub struct Image {
    pub(super) clock: Clock,
    pub(super) services: HashMap<ServiceId, ServiceImage>,
    pub(super) reals: HashMap<u32, RealImage>,
    pub(super) hops: HashMap<IpAddr, HopImage>,
    /// By next-hop slot.
    pub(super) hops_by_slot: HashMap<u32, IpAddr>,
    /// How often the addresses among them have changed.
    pub(super) hop_changes: u64,
    pub(super) addresses: Addresses,
    /// By service slot.
    pub(super) pools: HashMap<u32, Pool>,
    /// Where replies of one-packet services under nat come from, and are to
    /// come from.
    pub(super) replies: HashMap<ReplyEnd, ReplyEnd>,
    /// The option of this name.
    pub(super) expire_quiescent: bool,
    /// What health checks make of services; of the others all reals are up. It is not in
    /// the maps.
    pub(super) standings: HashMap<ServiceId, Standings>,
    pub(super) service_slots: Slots,
    pub(super) real_slots: Slots,
    pub(super) hop_slots: Slots,
    pub(super) plan_slots: Slots,
    pub(super) words: Ranges,
    /// Plans out of force, since when.
    pub(super) resting: Vec<(Instant, PlanPlace)>,
}

/// A service slot in use.
#[derive(Clone, Debug)]
pub(super) struct ServiceImage {
    pub slot: u32,
    /// False: deleted, and kept while connections of its reals go on.
    pub bound: bool,
    /// As written.
    pub policy: Policy,
    pub plan: Option<PlanImage>,
    /// Real slots, retired ones too.
    pub reals: HashMap<RealId, u32>,
}

/// Where a plan lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlanPlace {
    pub slot: u32,
    pub first: u32,
    pub length: u32,
}

/// The plan in force of a service.
#[derive(Clone, Debug)]
pub(super) struct PlanImage {
    pub place: PlanPlace,
    /// As written; its `turn` moves on in the kernel.
    pub plan: Plan,
    /// The scheduler's words, the table of stateless picks, the slots of the
    /// reals, filled up to whole shelves.
    pub words: Vec<u32>,
    /// The reals it was made for, in scan order.
    pub listed: Vec<Listed>,
}

impl PlanImage {
    /// Whether it says the same as another one, wherever that lies and whatever
    /// its turn.
    pub fn is_of(&self, plan: &Plan, words: &[u32]) -> bool {
        let placed = Plan {
            first: self.plan.first,
            table_first: self.plan.table_first,
            start: self.plan.start,
            turn: self.plan.turn,
            ..*plan
        };
        self.plan == placed && self.words.starts_with(words)
    }
}

/// A real slot in use.
#[derive(Clone, Debug)]
pub(super) struct RealImage {
    pub server: RealServer,
    /// The service's identity; none where a deleted service was found at
    /// adoption.
    pub service: Option<ServiceId>,
    /// Deleted at this time, and kept while connections refer to it.
    pub retired: Option<Instant>,
    /// What it has in `ADDRESSES`: kept as long as the slot, as connections
    /// made under nat go on when the method changes.
    pub roles: Vec<AddressKey>,
    /// What new persistent clients may expect of it.
    pub welcome: Welcome,
}

impl RealImage {
    /// Whether schedulers have been picking it.
    pub const fn is_up(&self) -> bool {
        self.retired.is_none() && self.server.weight > 0
    }
}

/// Whether a real takes persistent clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Welcome {
    All,
    /// Quiesced: they still come, unless `expire_quiescent` is set.
    Known,
    Nobody,
}

impl Welcome {
    /// The bit of [`RealServer::flags`].
    pub const fn flag(self, expire_quiescent: bool) -> u8 {
        match self {
            Self::All => 0,
            Self::Known if !expire_quiescent => 0,
            Self::Known | Self::Nobody => flag::NO_PERSISTENCE,
        }
    }
}

/// [`RealServer::next_hop`] of a real that needs none.
pub(super) const NO_HOP: u32 = u32::MAX;

/// A next-hop slot in use.
#[derive(Clone, Debug)]
pub(super) struct HopImage {
    pub slot: u32,
    pub hop: NextHop,
    /// Real slots that use it.
    pub users: u32,
}

impl Image {
    /// Empty maps.
    #[must_use]
    pub fn empty(sizes: &Sizes) -> Self {
        let none = HashSet::new();
        Self {
            clock: Clock::read(),
            services: HashMap::new(),
            reals: HashMap::new(),
            hops: HashMap::new(),
            hops_by_slot: HashMap::new(),
            hop_changes: 0,
            addresses: Addresses::default(),
            pools: HashMap::new(),
            replies: HashMap::new(),
            expire_quiescent: false,
            standings: HashMap::new(),
            service_slots: Slots::new(sizes.services, &none),
            real_slots: Slots::new(sizes.reals, &none),
            hop_slots: Slots::new(sizes.next_hops, &none),
            plan_slots: Slots::new(sizes.plans, &none),
            words: Ranges::new(sizes.plan_words, Vec::new()),
            resting: Vec::new(),
        }
    }

    pub(super) fn add_hop(&mut self, address: IpAddr, hop: HopImage) {
        self.hops_by_slot.insert(hop.slot, address);
        self.hops.insert(address, hop);
        self.hop_changes += 1;
    }

    pub(super) fn remove_hop(&mut self, address: IpAddr) {
        if let Some(hop) = self.hops.remove(&address) {
            self.hops_by_slot.remove(&hop.slot);
            self.hop_changes += 1;
        }
    }

    /// Services that packets can reach.
    pub fn bound_services(&self) -> impl Iterator<Item = ServiceId> + '_ {
        self.services
            .iter()
            .filter(|(_, s)| s.bound)
            .map(|(id, _)| *id)
    }

    /// The slot of a real, if it is there and not deleted.
    #[must_use]
    pub fn real_slot(&self, service: ServiceId, real: RealId) -> Option<u32> {
        let slot = *self.services.get(&service)?.reals.get(&real)?;
        self.reals[&slot].retired.is_none().then_some(slot)
    }

    /// Slot of a bound service.
    #[must_use]
    pub fn service_slot(&self, service: ServiceId) -> Option<u32> {
        self.services
            .get(&service)
            .filter(|s| s.bound)
            .map(|s| s.slot)
    }

    /// Every real slot that counts for a service, retired ones too.
    pub fn slots_of(&self, service: ServiceId) -> impl Iterator<Item = u32> + '_ {
        self.services
            .get(&service)
            .into_iter()
            .flat_map(|s| s.reals.values().copied())
    }

    /// The reals that these slots are of.
    pub fn reals_of(&self, service: ServiceId) -> impl Iterator<Item = RealId> + '_ {
        let service = self.services.get(&service).into_iter();
        service.flat_map(|s| s.reals.keys().copied())
    }

    /// The slot of every service, deleted ones too.
    pub fn all_services(&self) -> impl Iterator<Item = (u32, ServiceId)> + '_ {
        self.services
            .iter()
            .map(|(id, service)| (service.slot, *id))
    }

    /// Every real slot in use, retired ones too, with how packets get there.
    pub fn all_reals(&self) -> impl Iterator<Item = (u32, RealId, ForwardingMethod)> + '_ {
        self.reals.iter().filter_map(|(slot, real)| {
            let id = RealId {
                address: IpAddr::from(real.server.address),
                port: real.server.port.get(),
            };
            Some((
                *slot,
                id,
                ForwardingMethod::from_number(real.server.method)?,
            ))
        })
    }

    /// Whether a real has this slot, a retired one too.
    #[must_use]
    pub fn is_real_slot(&self, slot: u32) -> bool {
        self.reals.contains_key(&slot)
    }

    /// The slot of a real, also of a deleted one.
    #[must_use]
    pub fn slot_of(&self, service: ServiceId, real: RealId) -> Option<u32> {
        self.services.get(&service)?.reals.get(&real).copied()
    }

    /// Slots of deleted reals that connections may refer to.
    pub fn retired_slots(&self) -> impl Iterator<Item = u32> + '_ {
        let retired = self.reals.iter().filter(|(_, real)| real.retired.is_some());
        retired.map(|(slot, _)| *slot)
    }

    /// The same, each with its service, where that is known.
    pub fn retired_of_services(&self) -> impl Iterator<Item = (u32, ServiceId)> + '_ {
        let retired = self.reals.iter().filter(|(_, real)| real.retired.is_some());
        retired.filter_map(|(slot, real)| Some((*slot, real.service?)))
    }

    /// One more than the highest real slot in use.
    #[must_use]
    pub fn real_slots_end(&self) -> u32 {
        self.reals.keys().max().map_or(0, |slot| slot + 1)
    }

    /// Addresses that need a next hop.
    pub fn hop_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.hops.keys().copied()
    }

    /// A number that is another whenever these addresses are others.
    #[must_use]
    pub const fn hop_changes(&self) -> u64 {
        self.hop_changes
    }

    /// Those of them that are not resolved.
    pub fn unresolved_hops(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let unresolved = self.hops.iter().filter(|(_, hop)| hop.hop.resolved == 0);
        unresolved.map(|(address, _)| *address)
    }

    /// The next hop towards an address.
    #[must_use]
    pub fn hop(&self, address: IpAddr) -> Option<&NextHop> {
        self.hops.get(&address).map(|hop| &hop.hop)
    }

    /// The address that a next-hop slot leads to.
    #[must_use]
    pub fn hop_address(&self, slot: u32) -> Option<IpAddr> {
        self.hops_by_slot.get(&slot).copied()
    }

    /// Used slots: services, reals.
    #[must_use]
    pub fn fill(&self) -> (u32, u32) {
        (self.service_slots.used(), self.real_slots.used())
    }

    /// Whether replaced plans wait to be taken back.
    pub(super) fn has_resting_plans(&self) -> bool {
        !self.resting.is_empty()
    }

    /// Takes back what replaced plans occupied, where no packet can be reading
    /// them.
    pub fn reclaim_all(&mut self) {
        if let Some(latest) = self.resting.iter().map(|(since, _)| *since).max() {
            self.reclaim(latest + PLAN_REST);
        }
    }

    /// Takes back what replaced plans occupied, once no packet reads them.
    pub(super) fn reclaim(&mut self, now: Instant) {
        let (ready, resting) = std::mem::take(&mut self.resting)
            .into_iter()
            .partition(|(since, _)| now.duration_since(*since) >= PLAN_REST);
        self.resting = resting;
        for (_, place) in ready {
            let PlanPlace {
                slot,
                first,
                length,
            } = place;
            self.plan_slots.give_back(slot);
            self.words.give_back(first, length);
        }
    }
}

/// The map key of a service. Protocol 0 (IPv6's hop-by-hop options, which are
/// no transport) stands for a firewall mark: the mark is the last word of the
/// address, and `family` is 4 or 6, by the family of the packets.
#[must_use]
pub fn service_key(id: ServiceId) -> ServiceKey {
    match id {
        ServiceId::Address(VirtualAddress {
            protocol,
            address,
            port,
        }) => ServiceKey {
            address: Addr::from(address),
            port: Be16::new(port),
            protocol: protocol.number(),
            family: 0,
        },
        ServiceId::Mark(FirewallMark { mark, family }) => ServiceKey {
            address: Addr([Be32::new(0), Be32::new(0), Be32::new(0), Be32::new(mark)]),
            port: Be16::new(0),
            protocol: 0,
            family: match family {
                IpFamily::V4 => 4,
                IpFamily::V6 => 6,
            },
        },
    }
}

/// The service that has a map key: the reverse of [`service_key`].
#[must_use]
pub(super) fn service_id(key: &ServiceKey) -> Option<ServiceId> {
    if key.protocol != 0 {
        return Some(ServiceId::Address(VirtualAddress {
            protocol: Protocol::from_number(key.protocol)?,
            address: IpAddr::from(key.address),
            port: key.port.get(),
        }));
    }
    let family = match key.family {
        4 => IpFamily::V4,
        6 => IpFamily::V6,
        _ => return None,
    };
    let mark = key.address.0[3].get();
    (mark != 0).then_some(ServiceId::Mark(FirewallMark { mark, family }))
}

/// What a bound service has in `ADDRESSES`; a mark has nothing.
#[must_use]
pub(super) fn service_role(id: ServiceId) -> Option<AddressKey> {
    Some(AddressKey {
        address: Addr::from(id.address()?),
        protocol: id.protocol()?.number(),
        role: role::SERVICE,
        pad: [0; 2],
    })
}

/// What a real under nat of a service has in `ADDRESSES`: a mark's packets
/// may be of any protocol.
pub(super) fn nat_roles(address: Addr, service: ServiceId) -> Vec<AddressKey> {
    let protocols = Protocol::ALL.into_iter();
    protocols
        .filter(|protocol| service.protocol().is_none_or(|own| own == *protocol))
        .map(|protocol| nat_role(address, protocol))
        .collect()
}

/// What a real under nat has in `ADDRESSES`.
#[must_use]
pub(super) fn nat_role(address: Addr, protocol: Protocol) -> AddressKey {
    AddressKey {
        address,
        protocol: protocol.number(),
        role: role::NAT_REAL,
        pad: [0; 2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_services_go_both_ways() {
        for text in [
            "tcp:192.0.2.10:80",
            "udp:[2001:db8::1]:53",
            "fwmark:80",
            "fwmark6:4294967295",
        ] {
            let id: ServiceId = text.parse().unwrap();
            assert_eq!(service_id(&service_key(id)), Some(id));
        }
        assert_eq!(service_id(&ServiceKey::default()), None);
        let icmp = ServiceKey {
            protocol: 1,
            ..ServiceKey::default()
        };
        assert_eq!(service_id(&icmp), None);
    }

    #[test]
    fn a_mark_has_no_address_and_reals_of_every_protocol() {
        let mark: ServiceId = "fwmark:80".parse().unwrap();
        assert_eq!(service_role(mark), None);
        let real = Addr::from(IpAddr::from([10, 0, 0, 2]));
        assert_eq!(nat_roles(real, mark).len(), 3);
        let web = "tcp:192.0.2.10:80".parse().unwrap();
        assert_eq!(nat_roles(real, web), [nat_role(real, Protocol::Tcp)]);
    }
}
