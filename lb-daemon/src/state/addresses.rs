//! `manage_addresses`: the VIPs are on `vip_interface` while their services are there,
//! and the neighbours hear of each that comes. What was there before stays the
//! operator's; a failure is a warning, and tried again.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
};

use tracing::{info, warn};

use self::record::{Owned, Record};
use super::{desired::Desired, director::Director};
use crate::{
    config::model,
    net::{
        NetError,
        addresses::Interface,
        announce::{Announcer, Port},
        forwarding::{self, Family},
        link::Link,
        links::Links,
    },
};

mod record;

/// The VIPs as lbd manages them.
#[derive(Debug)]
pub(super) struct Addresses {
    record: Record,
    owned: Owned,
    /// What [`Self::settle`] has done last.
    settled: Settled,
    announcer: Announcer,
    warnings: Vec<String>,
}

/// All that the work depends on: where it is the same, there is none.
#[derive(Debug, Default, PartialEq, Eq)]
struct Settled {
    /// What has to be where.
    wanted: BTreeSet<IpAddr>,
    interface: String,
    /// Index of `interface`, whether it is up, and how often it has come up: the
    /// kernel takes IPv6 addresses off one that goes down.
    state: Option<(u32, bool, u32)>,
    /// Where they are announced.
    ports: Vec<Port>,
}

/// What makes an interface have the addresses that it should.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    add: Vec<IpAddr>,
    remove: Vec<IpAddr>,
    /// Those of lbd's that are gone and not wanted any more.
    forget: Vec<IpAddr>,
}

impl Plan {
    fn new(
        wanted: &BTreeSet<IpAddr>,
        present: &BTreeSet<IpAddr>,
        owned: &BTreeSet<IpAddr>,
    ) -> Self {
        let over = || owned.difference(wanted).copied();
        Self {
            add: wanted.difference(present).copied().collect(),
            remove: over().filter(|a| present.contains(a)).collect(),
            forget: over().filter(|a| !present.contains(a)).collect(),
        }
    }
}

impl Director {
    /// Adds the VIPs that are missing, removes those of lbd's that are over, and
    /// announces those that have come.
    pub(super) async fn settle_addresses(&mut self) {
        let config = &self.config.director;
        let wanted = if config.manage_addresses {
            let lingering = self.lingering();
            with_lingering(&self.desired, &lingering, &self.addresses.owned.all())
        } else {
            BTreeSet::new()
        };
        let links = self.interfaces.links.borrow().clone();
        self.addresses.settle(config, wanted, &links).await;
    }

    /// Deleted services that have connections: their clients need the address, as ARP is
    /// answered for it, until the last one is over.
    fn lingering(&self) -> BTreeSet<model::ServiceId> {
        let tables = self.reconciler.tables();
        let has_connections = |slot| {
            let counts = tables.real_counts(slot).unwrap_or_default();
            counts.active > 0 || counts.inactive > 0
        };
        let retired = self.reconciler.image().retired_of_services();
        let busy = retired.filter(|(slot, _)| has_connections(*slot));
        busy.map(|(_, service)| service).collect()
    }
}

impl Addresses {
    /// With what an earlier daemon has recorded in `state_dir`, and a warning if that
    /// cannot be read. Must be called within a tokio runtime.
    pub(super) fn new(state_dir: &Path) -> (Self, Option<String>) {
        let record = Record::new(state_dir);
        let (owned, warning) = record.load();
        let addresses = Self {
            record,
            owned,
            settled: Settled::default(),
            announcer: Announcer::start(),
            warnings: Vec::new(),
        };
        (addresses, warning)
    }

    /// What the operator should know.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> + '_ {
        let failure = self.announcer.failure();
        let announcing =
            failure.map(|error| format!("virtual addresses cannot be announced: {error}"));
        self.warnings.iter().cloned().chain(announcing)
    }

    /// Somebody may have removed what is to be there.
    pub(super) fn look_again(&mut self) {
        self.settled.state = None;
    }

    async fn settle(&mut self, config: &model::Director, wanted: BTreeSet<IpAddr>, links: &Links) {
        let new = Settled {
            state: links.named(&config.vip_interface).map(state),
            interface: config.vip_interface.clone(),
            ports: ports(config, links),
            wanted,
        };
        let is_idle = new.wanted.is_empty() && self.owned.is_empty();
        if (new == self.settled || is_idle && self.settled.wanted.is_empty())
            && self.warnings.is_empty()
        {
            return;
        }
        let mut problems = Problems::default();
        let present = self
            .arrange(&new.interface, &new.wanted, &mut problems)
            .await;
        // On an interface that was configured before they stay until they are on this
        // one.
        let waiting: BTreeSet<_> = new.wanted.difference(&present).copied().collect();
        let interfaces: Vec<_> = self.owned.interfaces().collect();
        for name in interfaces.iter().filter(|name| **name != new.interface) {
            let kept = self
                .owned
                .on(name)
                .intersection(&waiting)
                .copied()
                .collect();
            self.arrange(name, &kept, &mut problems).await;
        }
        self.announce(&new, &present);
        self.settled = Settled {
            // The others have not come: they will be new.
            wanted: present,
            ..new
        };
        let warnings = problems.into_lines();
        for warning in warnings.iter().filter(|w| !self.warnings.contains(w)) {
            warn!("{warning}");
        }
        self.warnings = warnings;
    }

    /// Makes an interface have what is wanted, as far as it is lbd's business; what
    /// of it is there afterwards.
    async fn arrange(
        &mut self,
        name: &str,
        wanted: &BTreeSet<IpAddr>,
        problems: &mut Problems,
    ) -> BTreeSet<IpAddr> {
        let owned = self.owned.on(name);
        if wanted.is_empty() && owned.is_empty() {
            return BTreeSet::new();
        }
        let found = async {
            let interface = Interface::find(name).await?;
            let present = interface.addresses().await?;
            Ok((interface, present))
        };
        let (interface, mut present) = match found.await {
            Ok(found) => found,
            // Its addresses have gone with it.
            Err(NetError::NoInterface { .. }) if wanted.is_empty() => {
                self.owned.remove(name, &owned);
                self.save(problems);
                return BTreeSet::new();
            }
            Err(error) => {
                problems.note("looked after on", name, None, &error);
                return BTreeSet::new();
            }
        };
        let Plan {
            mut add,
            remove,
            forget,
        } = Plan::new(wanted, &present, &owned);
        // Recorded first: one that is added and not recorded would never go.
        self.owned.add(name, &add);
        if !add.is_empty() && !self.save(problems) {
            self.owned.remove(name, &add);
            add.clear();
        }
        for address in add {
            match interface.add(address).await {
                Ok(()) => {
                    info!(%address, interface = name, "virtual address added");
                    present.insert(address);
                    // It comes anew where somebody else has removed it.
                    self.settled.wanted.remove(&address);
                }
                Err(error) => problems.note("added to", name, Some(address), &error),
            }
        }
        let mut gone = forget;
        for address in remove {
            match interface.remove(address).await {
                Ok(()) => {
                    info!(%address, interface = name, "virtual address removed");
                    gone.push(address);
                }
                Err(error) => problems.note("removed from", name, Some(address), &error),
            }
        }
        if !gone.is_empty() {
            self.owned.remove(name, &gone);
            self.save(problems);
        }
        wanted.intersection(&present).copied().collect()
    }

    fn save(&self, problems: &mut Problems) -> bool {
        let outcome = self.record.save(&self.owned);
        if let Err(error) = &outcome {
            problems.unrecorded = Some(error.to_string());
        }
        outcome.is_ok()
    }

    /// What has come is announced everywhere, and everything where an interface has
    /// come up.
    fn announce(&self, new: &Settled, present: &BTreeSet<IpAddr>) {
        let over = self.settled.wanted.difference(present).copied();
        self.announcer.withdraw(over.collect());
        let is_known = |port: &Port| self.settled.ports.contains(port);
        let (known, fresh): (Vec<_>, Vec<_>) = new.ports.iter().copied().partition(is_known);
        let come = present.difference(&self.settled.wanted).copied();
        self.announcer.announce(come.collect(), &known);
        self.announcer
            .announce(present.iter().copied().collect(), &fresh);
    }

    /// Takes away all that lbd has added: there will be nobody to forward.
    pub(super) async fn remove_all(&mut self) {
        let problems = remove_all(&self.record, &mut self.owned).await;
        for problem in problems {
            warn!("{problem}");
        }
    }
}

/// Takes away what an earlier daemon has added. How many addresses, and what is in the
/// way.
pub(super) async fn unload(state_dir: &Path) -> (usize, Vec<String>) {
    let record = Record::new(state_dir);
    let (mut owned, warning) = record.load();
    let before = owned.len();
    let mut problems = remove_all(&record, &mut owned).await;
    problems.extend(warning);
    (before - owned.len(), problems)
}

async fn remove_all(record: &Record, owned: &mut Owned) -> Vec<String> {
    let mut problems = Problems::default();
    let names: Vec<_> = owned.interfaces().collect();
    for name in &names {
        let addresses = owned.on(name);
        let interface = match Interface::find(name).await {
            Ok(interface) => Some(interface),
            Err(NetError::NoInterface { .. }) => None,
            Err(error) => {
                problems.note("removed from", name, None, &error);
                continue;
            }
        };
        for address in addresses {
            let outcome = match &interface {
                Some(interface) => interface.remove(address).await,
                None => Ok(()),
            };
            match outcome {
                Ok(()) => owned.remove(name, [&address]),
                Err(error) => problems.note("removed from", name, Some(address), &error),
            }
        }
    }
    if !names.is_empty()
        && let Err(error) = record.save(owned)
    {
        problems.unrecorded = Some(error.to_string());
    }
    problems.into_lines()
}

/// The first address of several, if there is one, what is in its way, and how many
/// more there are.
type Kind = (Option<IpAddr>, String, usize);

/// What could not be done: of the same kind, one line with the first address.
#[derive(Debug, Default)]
struct Problems {
    /// What was not done, and to which interface.
    by_kind: BTreeMap<(&'static str, String), Kind>,
    unrecorded: Option<String>,
}

impl Problems {
    fn note(&mut self, what: &'static str, name: &str, address: Option<IpAddr>, error: &NetError) {
        self.by_kind
            .entry((what, name.to_owned()))
            .and_modify(|(_, _, more)| *more += 1)
            .or_insert_with(|| (address, error.to_string(), 0));
    }

    fn into_lines(self) -> Vec<String> {
        let unrecorded = self.unrecorded.map(|error| {
            format!("virtual addresses: what lbd has added cannot be recorded: {error}")
        });
        let line = |((what, name), (address, error, more)): ((&str, String), Kind)| {
            let which = match (address, more) {
                (None, _) => "virtual addresses".into(),
                (Some(address), 0) => format!("virtual address {address}"),
                (Some(address), more) => format!("virtual address {address} and {more} more"),
            };
            format!("{which} cannot be {what} {name}: {error}")
        };
        let lines = self.by_kind.into_iter().map(line);
        lines.chain(unrecorded).collect()
    }
}

/// The addresses that are to be there: the services', and those of lbd's that deleted ones
/// still need.
fn with_lingering(
    desired: &Desired,
    lingering: &BTreeSet<model::ServiceId>,
    owned: &BTreeSet<IpAddr>,
) -> BTreeSet<IpAddr> {
    let mut wanted = virtual_addresses(desired, &BTreeSet::new());
    if !lingering.is_empty() {
        let needed = virtual_addresses(desired, lingering);
        wanted.extend(needed.intersection(owned));
    }
    wanted
}

/// The services' own addresses, those of `others`, and those that marks of both stand for
/// alone.
fn virtual_addresses(desired: &Desired, others: &BTreeSet<model::ServiceId>) -> BTreeSet<IpAddr> {
    let services = || {
        let own = desired.services.iter().map(|entry| entry.id);
        own.chain(others.iter().copied())
    };
    let own = services().filter_map(model::ServiceId::address);
    let marks: BTreeSet<_> = services()
        .filter_map(|id| match id {
            model::ServiceId::Mark(mark) => Some((mark.mark, mark.family)),
            model::ServiceId::Address(_) => None,
        })
        .collect();
    let marked = desired.marks.iter().filter_map(|entry| {
        let rule = &entry.rule;
        let (address, length) = rule.destination;
        let is_single = length == if address.is_ipv4() { 32 } else { 128 };
        (is_single && marks.contains(&(rule.mark, rule.family()))).then_some(address)
    });
    own.chain(marked).collect()
}

const fn state(link: &Link) -> (u32, bool, u32) {
    (link.index, link.up, link.carrier_ups)
}

/// Where VIPs are announced: on all of lbd's interfaces, as Linux answers for them on
/// all; or, where the operator has put them on one of those, on that one.
fn ports(config: &model::Director, links: &Links) -> Vec<Port> {
    let vip_interface = std::slice::from_ref(&config.vip_interface);
    let names = if config.interfaces.contains(&config.vip_interface) {
        vip_interface
    } else {
        &config.interfaces
    };
    names
        .iter()
        .filter_map(|name| {
            let link = links.named(name).filter(|link| link.is_usable())?;
            let is_router = forwarding::is_enabled(Family::V6, [name.as_str()]);
            Some(Port {
                index: link.index,
                mac: link.mac?,
                is_router: matches!(is_router, Ok(true)),
                carrier_ups: link.carrier_ups,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
