//! The next-hop table: which addresses are wanted, what the kernel says of
//! routes, interfaces and neighbours, and what follows from it. Pure: events
//! and the time go in; look-ups, probes and changes to be made come out.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{
    agenda::Agenda,
    event::Event,
    hop::{Change, Hop, Reason, Resolution},
    jitter::Jitter,
    link::Link,
    links::Links,
    neighbour::{Entry, NeighbourKey},
    neighbourhood::Neighbourhood,
    route::{Block, Lookup, Route, all_of_v4, all_of_v6},
};

/// Events that come together are worked on together.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// How soon a packet may have a route that was not there looked up again.
const ROUTE_PATIENCE: Duration = Duration::from_secs(1);

/// The table. The owner calls [`Self::settle`] when [`Self::deadline`] has
/// come, having answered [`Self::take_lookups`].
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Ordered, so that the addresses in a block are found without a scan.
    targets: BTreeMap<IpAddr, Target>,
    links: Links,
    /// When to tell of changes of them.
    links_told_at: Option<Instant>,
    neighbourhood: Neighbourhood,
    /// Addresses whose route is to be asked for.
    lookups: BTreeSet<IpAddr>,
    /// Addresses whose resolution is to be worked out again.
    dirty: BTreeSet<IpAddr>,
    /// Addresses whose resolution may differ from what was told.
    untold: BTreeSet<IpAddr>,
    /// Addresses without a route, and when to look again.
    retries: Agenda<IpAddr>,
    settle_at: Option<Instant>,
    jitter: Jitter,
}

#[derive(Debug, Default)]
struct Target {
    /// None before the first answer.
    lookup: Option<Lookup>,
    /// Of the last route there was.
    egress: Option<u32>,
    neighbour: Option<NeighbourKey>,
    /// Look-ups in a row that found no route.
    misses: u32,
    current: Option<Resolution>,
    told: Option<Resolution>,
}

impl Table {
    /// Replaces the wanted addresses. What is known of those that stay, stays.
    pub(super) fn watch(&mut self, wanted: &HashSet<IpAddr>, now: Instant) {
        let unwanted = self.targets.keys().filter(|a| !wanted.contains(a));
        for address in unwanted.copied().collect::<Vec<_>>() {
            self.bind(address, None, now);
            self.targets.remove(&address);
            self.lookups.remove(&address);
            self.dirty.remove(&address);
            self.untold.remove(&address);
            self.retries.remove(address);
        }
        for address in wanted {
            if !self.targets.contains_key(address) {
                self.targets.insert(*address, Target::default());
                self.lookups.insert(*address);
                self.settle_by(now);
            }
        }
    }

    /// Takes an event in. [`Event::Overrun`] is the owner's to act upon.
    pub(super) fn apply(&mut self, event: Event, now: Instant) {
        match event {
            Event::Link(link) => self.link(link, now),
            Event::LinkGone(index) => {
                if let Some(link) = self.links.remove(index) {
                    self.egress_changed(index, link.vlan.is_some(), now);
                    self.look_up_all(now);
                }
            }
            Event::Neighbour(key, entry) => {
                if self.neighbourhood.learn(key, entry, now) {
                    self.neighbour_changed(key, now);
                }
            }
            Event::NeighbourGone(key) => self.neighbourhood.forget(key, now),
            Event::Routing(block) => self.look_up(block, now),
            Event::Overrun => {}
        }
    }

    /// Takes in the whole state of the kernel, after a start or lost events.
    pub(super) fn resync(
        &mut self,
        links: Vec<Link>,
        neighbours: Vec<(NeighbourKey, Entry)>,
        now: Instant,
    ) {
        let present: HashSet<u32> = links.iter().map(|link| link.index).collect();
        let known = self.links.iter().map(|link| link.index);
        let gone = known.filter(|index| !present.contains(index));
        for index in gone.collect::<Vec<_>>() {
            self.apply(Event::LinkGone(index), now);
        }
        for link in links {
            self.link(link, now);
        }
        for key in self.neighbourhood.replace(neighbours, now) {
            self.neighbour_changed(key, now);
        }
        self.look_up_all(now);
    }

    /// Addresses whose route is to be asked for now, `most` at a time. Each
    /// has to be answered by [`Self::route`].
    pub(super) fn take_lookups(&mut self, most: usize, now: Instant) -> Vec<IpAddr> {
        while let Some(address) = self.retries.pop(now) {
            self.lookups.insert(address);
            self.settle_by(now);
        }
        if self.settle_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let batch: Vec<_> = self.lookups.iter().take(most).copied().collect();
        for address in &batch {
            self.lookups.remove(address);
        }
        batch
    }

    /// The answer to a look-up; none if the kernel could not say this time,
    /// which leaves things as they are.
    pub(super) fn route(&mut self, address: IpAddr, lookup: Option<Lookup>, now: Instant) {
        let Some(target) = self.targets.get_mut(&address) else {
            return;
        };
        if let Some(Ok(route)) = &lookup {
            target.egress = Some(route.ifindex);
            target.misses = 0;
            self.retries.remove(address);
        } else {
            let patience = self.jitter.backoff(target.misses);
            target.misses = target.misses.saturating_add(1);
            self.retries.set(address, now + patience);
        }
        if lookup.is_some() {
            target.lookup = lookup;
            self.dirty.insert(address);
            self.settle_by(now);
        }
    }

    /// Works out what has changed. If more look-ups are to be made, the
    /// next ones are due after `rest`.
    pub(super) fn settle(&mut self, now: Instant, rest: Duration) {
        for key in self.neighbourhood.take_failures(now) {
            self.neighbour_changed(key, now);
        }
        if self.settle_at.is_none_or(|at| at > now) {
            return;
        }
        for address in std::mem::take(&mut self.dirty) {
            self.resolve(address, now);
        }
        self.settle_at = (!self.lookups.is_empty()).then(|| now + rest);
    }

    /// A packet for `address` met no next hop.
    pub(super) fn want(&mut self, address: IpAddr, now: Instant) {
        match self.targets.get(&address) {
            Some(Target {
                neighbour: Some(key),
                ..
            }) => self.neighbourhood.want(*key, now),
            Some(Target {
                lookup: Some(Err(_)),
                ..
            }) => self.retries.hasten(address, now + ROUTE_PATIENCE),
            _ => {}
        }
    }

    /// A packet met a neighbour without a link-layer address.
    pub(super) fn want_neighbour(&mut self, key: NeighbourKey, now: Instant) {
        self.neighbourhood.want(key, now);
    }

    /// The probes to make now.
    pub(super) fn take_probes(&mut self, now: Instant) -> Vec<NeighbourKey> {
        self.neighbourhood.take_probes(now)
    }

    /// The interfaces, if they have changed and it is time to tell of it.
    pub(super) fn take_links(&mut self, now: Instant) -> Option<Links> {
        self.links_told_at.take_if(|at| *at <= now)?;
        Some(self.links.clone())
    }

    /// There are no more probes before `until`.
    pub(super) fn rest_from_probes(&mut self, until: Instant) {
        self.neighbourhood.rest(until);
    }

    /// Whether there may be changes to tell.
    pub(super) fn has_changes(&self) -> bool {
        !self.untold.is_empty()
    }

    /// What differs from what was told last.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for address in std::mem::take(&mut self.untold) {
            if let Some(target) = self.targets.get_mut(&address)
                && target.current != target.told
                && let Some(resolution) = target.current.clone()
            {
                target.told = Some(resolution.clone());
                changes.push(Change {
                    address,
                    resolution,
                });
            }
        }
        changes
    }

    /// What is known of an address; none before its first resolution.
    pub(super) fn resolution(&self, address: IpAddr) -> Option<&Resolution> {
        self.targets.get(&address)?.current.as_ref()
    }

    /// When there is something to do; the past if it is overdue.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let times = [
            self.settle_at,
            self.links_told_at,
            self.retries.next(),
            self.neighbourhood.deadline(),
        ];
        times.into_iter().flatten().min()
    }

    fn link(&mut self, link: Link, now: Instant) {
        let index = link.index;
        let former = self.links.get(index);
        if former == Some(&link) {
            return;
        }
        // The kernel tells of no route that it drops, revives or prefers
        // because of an interface's state.
        let rerouted = former.is_none_or(|former| former.is_usable() != link.is_usable());
        let is_vlan = link.vlan.is_some() || former.is_some_and(|former| former.vlan.is_some());
        self.links.insert(link);
        self.egress_changed(index, is_vlan, now);
        if rerouted {
            self.look_up_all(now);
        }
    }

    /// A VLAN interface that comes, goes or changes matters to its port's hops
    /// too, and a port to those of the VLAN interfaces on it.
    fn egress_changed(&mut self, index: u32, is_vlan: bool, now: Instant) {
        let everywhere = is_vlan || self.links.has_vlans(index);
        let concerned = |target: &Target| everywhere || target.egress == Some(index);
        let through = self.targets.iter().filter(|(_, t)| concerned(t));
        self.dirty.extend(through.map(|(address, _)| *address));
        self.links_told_at.get_or_insert(now + DEBOUNCE);
        self.settle_by(now + DEBOUNCE);
    }

    fn neighbour_changed(&mut self, key: NeighbourKey, now: Instant) {
        self.dirty.extend(self.neighbourhood.users(key));
        self.settle_by(now);
    }

    fn look_up_all(&mut self, now: Instant) {
        self.look_up(all_of_v4(), now);
        self.look_up(all_of_v6(), now);
    }

    fn look_up(&mut self, (first, last): Block, now: Instant) {
        let before = self.lookups.len();
        let concerned = self.targets.range(first..=last);
        self.lookups.extend(concerned.map(|(address, _)| *address));
        if self.lookups.len() > before {
            self.settle_by(now + DEBOUNCE);
        }
    }

    fn settle_by(&mut self, at: Instant) {
        self.settle_at = Some(self.settle_at.map_or(at, |former| former.min(at)));
    }

    fn resolve(&mut self, address: IpAddr, now: Instant) {
        let way = self.way(address);
        let neighbour = match &way {
            Some(Ok((_, key))) => Some(*key),
            _ => None,
        };
        self.bind(address, neighbour, now);
        let resolution = match way {
            None => return,
            Some(Err(reason)) => Resolution::Unresolved(reason),
            Some(Ok((hop, key))) => match self.neighbourhood.mac(key) {
                Err(reason) => Resolution::Unresolved(reason),
                Ok(destination_mac) => Resolution::Resolved(Hop {
                    destination_mac,
                    ..hop
                }),
            },
        };
        if let Some(target) = self.targets.get_mut(&address)
            && target.current.as_ref() != Some(&resolution)
        {
            target.current = Some(resolution);
            self.untold.insert(address);
        }
    }

    /// The hop without its destination's link-layer address, and the
    /// neighbour that has it. None before the first answer about the route.
    fn way(&self, address: IpAddr) -> Option<Result<(Hop, NeighbourKey), Reason>> {
        let target = self.targets.get(&address)?;
        let link = target.egress.and_then(|index| self.links.get(index));
        let route = match target.lookup.as_ref()? {
            Ok(route) => route,
            // An interface that goes down takes its routes along: name the cause.
            Err(Reason::NoRoute) => {
                let down = link.filter(|link| !link.is_usable()).map(down);
                return Some(Err(down.unwrap_or(Reason::NoRoute)));
            }
            Err(reason) => return Some(Err(reason.clone())),
        };
        let Some(link) = link else {
            return Some(Err(Reason::NoRoute));
        };
        Some(self.way_by(link, route, address))
    }

    fn way_by(
        &self,
        link: &Link,
        route: &Route,
        address: IpAddr,
    ) -> Result<(Hop, NeighbourKey), Reason> {
        let egress = self.links.egress(link.index)?;
        // The port of a VLAN interface may be down when it is not itself.
        let port = self.links.get(egress.ifindex);
        if let Some(unusable) = [Some(link), port]
            .into_iter()
            .flatten()
            .find(|link| !link.is_usable())
        {
            return Err(down(unusable));
        }
        let Some(source_mac) = link.mac else {
            let name = link.name.clone();
            return Err(Reason::NoLinkLayer { name });
        };
        let of_family = link.mtu_v6.filter(|_| address.is_ipv6());
        let mtus = [Some(link.mtu), of_family, route.mtu];
        let mtu = mtus.into_iter().flatten().min().unwrap_or(link.mtu);
        let hop = Hop {
            destination_mac: [0; 6],
            source_mac,
            egress,
            mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
            local_address: route.local_address,
        };
        let neighbour = NeighbourKey {
            ifindex: link.index,
            address: route.gateway.unwrap_or(address),
        };
        Ok((hop, neighbour))
    }

    fn bind(&mut self, address: IpAddr, neighbour: Option<NeighbourKey>, now: Instant) {
        let Some(target) = self.targets.get_mut(&address) else {
            return;
        };
        let former = std::mem::replace(&mut target.neighbour, neighbour);
        if former == neighbour {
            return;
        }
        if let Some(key) = neighbour {
            self.neighbourhood.need(key, address, now);
        }
        if let Some(key) = former {
            self.neighbourhood.release(key, address);
        }
    }
}

fn down(link: &Link) -> Reason {
    Reason::InterfaceDown {
        name: link.name.clone(),
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
