//! From a data plane whose maps have other sizes to this daemon's: its maps are made
//! beside the old ones and filled from them while those forward, then the links are
//! given the new programs, and what has changed meanwhile is carried over.
//!
//! ```text
//! v7 (forwards)   v7_new: copy, set up, catch up
//! v7_old          v7: the links are moved here ([`PinDir::promote`]) and take the
//!                     new programs; carry over
//!                 v7 (forwards)
//! ```
//!
//! Until the last step is done the new programs have no stage that makes or ends
//! connections ([`HELD`]): packets that would are dropped and come again, and nobody
//! but [`Migration::carry_over`] writes the new index. Whatever it is cut off at, the
//! next start goes back or finishes ([`PinDir::recover`]).
//!
//! Slots keep their numbers, as connections refer to them. What has no room is said
//! before anything is changed.

use std::{collections::HashSet, io, path::Path};

use aya::Pod;
use lb_common::{
    abi::{ABI_VERSION, map, stage},
    connection::{Connection, mark},
    flow::FlowKey,
    persistence::{Template, TemplateKey},
    real::{NextHop, RealServer, slot},
    service::{Plan, ServiceKey},
    sweep::Repair,
};

use super::{
    DataPlaneError, Sizes, connection_table::ConnectionTable, pinned::PinDir, sweep::now_ns,
};
use folder::Folder;

mod folder;

/// Stages that make connections or end them.
pub const HELD: [u32; 11] = [
    stage::ARRIVE_V4,
    stage::ARRIVE_V6,
    stage::CONNECT_V4,
    stage::CONNECT_V6,
    stage::STATELESS_V4,
    stage::STATELESS_V6,
    stage::OVER_V4,
    stage::OVER_V6,
    stage::MAKE_ROOM_V4,
    stage::MAKE_ROOM_V6,
    stage::TEMPLATE,
];

/// Copied as they are, by [`Migration::copy`]. Not among them: the connection tables,
/// which are made anew, and what programs or a walk keep for a moment.
const COPIED: [&str; 27] = [
    map::SETTINGS,
    map::TEMPLATES,
    map::DENY,
    map::ALLOW,
    map::MARKS,
    map::SOURCE_RATES,
    map::SERVICE_RATES,
    map::POLICIES,
    map::ONE_PACKET_REALS,
    map::FRAGMENTS,
    map::FILTER,
    map::ADDRESSES,
    map::MASQUERADE,
    map::PORTS,
    map::PLAN_WORDS,
    map::PLANS,
    map::CURRENT_PLANS,
    map::SERVICE_STATS,
    map::LOCALITIES,
    map::LOCALITY_COUNTS,
    map::NEXT_HOPS,
    map::CLIENT_HOPS,
    map::REALS,
    map::REAL_COUNTS,
    map::REAL_STATS,
    map::SERVICES,
    map::DROPS,
];

/// The coarse clock's tick is up to 10 ms long (`CONFIG_HZ` 100): what happened in the
/// tick in which a pass began may have come after it.
const TICK_NS: u64 = 10_000_000;

/// A data plane on its way into other maps.
#[derive(Debug)]
pub struct Migration {
    from: Folder,
    to: Option<Folder>,
    /// Changes from this time on are not carried over yet.
    since_ns: u64,
    /// Real slots that the old data plane has in use.
    reals: Vec<u32>,
}

impl Migration {
    /// Opens what is pinned in `folder` by an lbd of this ABI; another layout needs a
    /// way to read it here.
    ///
    /// # Errors
    /// [`DataPlaneError::OtherAbi`] where no way is known, and whatever the maps say.
    pub fn open(folder: &Path, abi: u32) -> Result<Self, DataPlaneError> {
        let from = match abi {
            ABI_VERSION => Folder::open(folder)?,
            found => {
                return Err(DataPlaneError::OtherAbi {
                    path: folder.to_owned(),
                    found,
                    ours: ABI_VERSION,
                });
            }
        };
        Ok(Self {
            from,
            to: None,
            since_ns: 0,
            reals: Vec::new(),
        })
    }

    /// The sizes that the old maps have.
    #[must_use]
    pub fn sizes(&self) -> &Sizes {
        &self.from.sizes
    }

    /// Whether all that is in use has room in maps of `sizes`; else the key of
    /// `[capacity]` that is too small, what is there, and what it was to be.
    ///
    /// # Errors
    /// [`DataPlaneError::NoRoom`], and whatever the maps say.
    pub fn check_room(&self, sizes: &Sizes) -> Result<(), DataPlaneError> {
        let from = &self.from;
        let reals: Vec<RealServer> = from.array(map::REALS)?;
        let hops: Vec<NextHop> = from.array(map::NEXT_HOPS)?;
        let plans: Vec<Plan> = from.array(map::PLANS)?;
        let current: Vec<u64> = from.array(map::CURRENT_PLANS)?;
        let services: HashSet<u32> = from
            .entries::<ServiceKey, u32>(map::SERVICES)?
            .into_iter()
            .map(|(_, slot)| slot)
            .collect();
        let used = |slot: u8| slot != slot::FREE;
        let of_reals = reals.iter().filter(|real| used(real.slot));
        let service_end = end(services.iter().copied().chain(of_reals.map(|r| r.service)));
        let real_end = end((0..)
            .zip(&reals)
            .filter(|(_, r)| used(r.slot))
            .map(|(i, _)| i));
        let hop_end = end((0..)
            .zip(&hops)
            .filter(|(_, h)| used(h.slot))
            .map(|(i, _)| i));
        let in_force = || {
            let slots = services
                .iter()
                .filter_map(|slot| current.get(*slot as usize));
            slots.filter_map(|plan| Some((*plan as u32, plans.get(*plan as usize)?)))
        };
        let plan_end = end(in_force().map(|(slot, _)| slot));
        let word_end = in_force().map(|(_, plan)| {
            let words = [plan.length, plan.table_length, plan.listed].map(u64::from);
            u64::from(plan.first) + words.iter().sum::<u64>()
        });
        let fault = |source| from.fault(map::TABLE_STATES, source);
        let v4 = from.v4.iter().map_err(fault)?.count() as u64;
        let v6 = from.v6.iter().map_err(fault)?.count() as u64;
        let templates = from.entries::<TemplateKey, Template>(map::TEMPLATES)?.len() as u64;
        let used = [
            ("connections", v4.max(v6), sizes.connections),
            ("persistence", templates, sizes.templates),
            ("reals", real_end, sizes.reals),
            ("reals", hop_end, sizes.next_hops),
            ("services", service_end, sizes.services),
            ("services", plan_end, sizes.plans),
            ("reals", word_end.max().unwrap_or(0), sizes.plan_words),
        ];
        for (key, needed, room) in used {
            if needed > u64::from(room) {
                return Err(DataPlaneError::NoRoom {
                    path: from.path.clone(),
                    key,
                    needed,
                    room,
                });
            }
        }
        Ok(())
    }

    /// Fills the new maps, pinned in `folder`, while the old data plane forwards.
    pub fn copy(&mut self, folder: &Path) -> Result<(), DataPlaneError> {
        let mut to = Folder::open(folder)?;
        for name in COPIED {
            self.from.copy_map(name, &to)?;
        }
        let reals: Vec<RealServer> = self.from.array(map::REALS)?;
        let used = (0..)
            .zip(&reals)
            .filter(|(_, real)| real.slot != slot::FREE);
        self.reals = used.map(|(slot, _)| slot).collect();
        let fault = |folder: &Folder, source| folder.fault(map::TABLE_STATES, source);
        to.v4
            .begin_as(&self.from.v4)
            .and_then(|()| to.v6.begin_as(&self.from.v6))
            .map_err(|source| fault(&self.from, source))?;
        let now = now_ns();
        let left_out = pass(&self.from, &mut to, 0)?;
        if left_out > 0 {
            return Err(DataPlaneError::NoRoom {
                path: self.from.path.clone(),
                key: "connections",
                needed: u64::from(to.sizes.connections) + left_out,
                room: to.sizes.connections,
            });
        }
        (self.to, self.since_ns) = (Some(to), now.saturating_sub(TICK_NS));
        Ok(())
    }

    /// Copies what has changed since [`Self::copy`], and the counters: the last thing
    /// before the links are given the new programs.
    pub fn catch_up(&mut self) -> Result<(), DataPlaneError> {
        let Some(to) = &mut self.to else {
            return Ok(());
        };
        let now = now_ns();
        pass(&self.from, to, self.since_ns)?;
        self.from.copy_values(map::REAL_STATS, &self.reals, to)?;
        self.from.copy_map(map::DROPS, to)?;
        let counts = self.from.real_counts();
        to.set_real_counts(&self.reals, &counts);
        self.from.counts = counts;
        self.since_ns = now.saturating_sub(TICK_NS);
        Ok(())
    }

    /// Carries over what the old programs did until they were replaced; `folder` has
    /// the new maps now. What is to be added to the reals' counts, and how many
    /// connections found no room.
    pub fn carry_over(&mut self, folder: &Path) -> Result<(Vec<Repair>, u64), DataPlaneError> {
        if self.to.is_none() {
            // An earlier daemon was killed on its way: all is compared, and what it
            // has counted is left to the walk.
            self.to = Some(Folder::open(folder)?);
            self.reals.clear();
        }
        let Some(to) = &mut self.to else {
            return Ok((Vec::new(), 0));
        };
        let left_out = pass(&self.from, to, self.since_ns)?;
        let counts = self.from.real_counts();
        let repairs = self.reals.iter().filter_map(|real| {
            let before = self.from.counts.get(*real as usize)?;
            let after = counts.get(*real as usize)?;
            let repair = Repair {
                real: *real,
                active: after.active.wrapping_sub(before.active),
                inactive: after.inactive.wrapping_sub(before.inactive),
                persistent: after.persistent.wrapping_sub(before.persistent),
            };
            let is_changed = repair
                != Repair {
                    real: *real,
                    ..Repair::default()
                };
            is_changed.then_some(repair)
        });
        Ok((repairs.collect(), left_out))
    }
}

/// One behind the last.
fn end(numbers: impl Iterator<Item = u32>) -> u64 {
    numbers.max().map_or(0, |last| u64::from(last) + 1)
}

/// Puts connections and templates into the new maps that have been seen since a time
/// and are not there, or were seen there before. How many connections had no room.
fn pass(from: &Folder, to: &mut Folder, since_ns: u64) -> Result<u64, DataPlaneError> {
    let connections = table(&from.v4, &mut to.v4, since_ns)
        .and_then(|v4| Ok(v4 + table(&from.v6, &mut to.v6, since_ns)?))
        .map_err(|source| from.fault(map::TABLE_STATES, source))?;
    for (key, template) in from.entries::<TemplateKey, Template>(map::TEMPLATES)? {
        if template.last_seen_ns >= since_ns {
            to.put_newer(&key, &template)?;
        }
    }
    Ok(connections)
}

fn table<K: FlowKey + Pod>(
    from: &ConnectionTable<K>,
    to: &mut ConnectionTable<K>,
    since_ns: u64,
) -> io::Result<u64> {
    let mut left_out = 0;
    for (key, connection) in from.iter()? {
        // What is being filled or taken out is seen by the next pass as it is then.
        let is_due = connection.last_seen_ns >= since_ns && !mark::is_gone(connection.state);
        let there = if is_due { to.find(&key) } else { continue };
        if is_newer(&connection, there.as_ref()) && !to.put(&key, connection)? {
            left_out += 1;
        }
    }
    Ok(left_out)
}

/// Whether an entry is to go where another one, or none, is.
fn is_newer(connection: &Connection, there: Option<&Connection>) -> bool {
    there.is_none_or(|there| {
        // The clock is a coarse one.
        there.last_seen_ns < connection.last_seen_ns
            || there.last_seen_ns == connection.last_seen_ns && there.state != connection.state
    })
}

/// Whether the old data plane, pinned by an lbd of `abi`, can be taken over, and how.
pub(super) fn of(pins: &PinDir, sizes: &Sizes) -> Result<Migration, DataPlaneError> {
    let migration = Migration::open(pins.path(), ABI_VERSION)?;
    // What the sizes do not explain is another layout.
    pins.check(migration.sizes())?;
    migration.check_room(sizes)?;
    Ok(migration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_sight_of_a_connection_counts() {
        let at = |last_seen_ns| Connection {
            last_seen_ns,
            ..Connection::default()
        };
        assert!(is_newer(&at(5), None));
        assert!(is_newer(&at(5), Some(&at(4))));
        let closing = Connection { state: 4, ..at(5) };
        assert!(is_newer(&closing, Some(&at(5))));
        assert!(!is_newer(&at(5), Some(&at(5))));
        assert!(!is_newer(&at(5), Some(&at(6))));
        assert_eq!(end([3, 0, 7].into_iter()), 8);
        assert_eq!(end(std::iter::empty()), 0);
    }

    #[test]
    fn another_layout_needs_a_way_to_read_it() {
        let error = Migration::open(Path::new("/v1"), ABI_VERSION - 1).unwrap_err();
        assert!(
            matches!(error, DataPlaneError::OtherAbi { found, .. } if found == ABI_VERSION - 1)
        );
    }

    #[test]
    fn every_map_is_copied_made_anew_or_of_the_moment() {
        const NOT_COPIED: [&str; 17] = [
            map::CONNECTIONS_V4,
            map::CONNECTIONS_V6,
            map::INDEX_V4,
            map::INDEX_V6,
            map::FREE_V4,
            map::FREE_V6,
            map::TABLE,
            map::TABLE_STATES,
            map::HALF_OPEN_V4,
            map::HALF_OPEN_V6,
            map::LIVE,
            map::PACE,
            map::PAUSE,
            map::SCRATCH,
            map::STAGES,
            map::EVENTS,
            map::EXPIRIES,
        ];
        let capacity = crate::config::model::Capacity {
            services: 1,
            reals: 1,
            connections: 1,
            persistence: 1,
        };
        for layout in Sizes::from(capacity).layouts() {
            let is = |names: &[&str]| names.contains(&layout.name);
            assert!(is(&COPIED) != is(&NOT_COPIED), "{}", layout.name);
        }
    }
}
