//! The file over the desired state: who wins when the file and the runtime
//! both have a say. Pure.

use std::collections::{HashMap, HashSet};

use lb_common::limits::MAX_REALS_PER_SERVICE;

use super::desired::{Desired, ServiceEntry};
use crate::{
    api::wire::Owner,
    config::model::{MarkRule, Service},
};

/// What a [`Desired::merge`] is to be told about, a line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Runtime changes that the file's values replaced.
    pub reverted: Vec<String>,
    pub warnings: Vec<String>,
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
        let deleted: HashSet<_> = before.deleted.iter().collect();
        let known: HashMap<_, _> = before.services.iter().map(|old| (old.id, old)).collect();
        for service in file {
            if deleted.contains(&service.id) {
                if keep_edits {
                    merged.deleted.push(service.id);
                    continue;
                }
                notes
                    .reverted
                    .push(format!("service {}: back, as the file has it", service.id));
            }
            let mut entry = ServiceEntry::new(service.clone(), Owner::File);
            if let Some(old) = known.get(&service.id) {
                merge_service(&mut entry, old, keep_edits, &mut notes);
            }
            merged.services.push(entry);
        }
        let kept: HashSet<_> = merged.services.iter().map(|entry| entry.id).collect();
        for old in before.services.iter().filter(|old| !kept.contains(&old.id)) {
            match old.owner {
                Owner::Runtime => merged.services.push(old.clone()),
                Owner::File => warn_of_lost_reals(old, &mut notes),
            }
        }
        merged.drop_taken_names(file, &mut notes);
        merged.merge_marks(marks, before, keep_edits, &mut notes);
        if keep_edits {
            merged.timeouts = before.timeouts;
        } else {
            notes.reverted.extend(before.timeouts.describe_revert());
        }
        (merged, notes)
    }

    /// A name that the file gives to a service or a group of them cannot stay
    /// with another.
    fn drop_taken_names(&mut self, file: &[Service], notes: &mut Notes) {
        let named = file
            .iter()
            .filter_map(|of| Some((of.id, of.name.as_deref()?)));
        let given: HashMap<_, _> = named.collect();
        let taken: HashSet<_> = given.values().copied().collect();
        for entry in &mut self.services {
            let Some(name) = entry.name.as_deref() else {
                continue;
            };
            if taken.contains(name) && given.get(&entry.id) != Some(&name) {
                notes.warnings.push(format!(
                    "service {}: its name {name} belongs to a service of the file now",
                    entry.id,
                ));
                entry.name = None;
            }
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
        entry.health.clone_from(&old.health);
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
                entry.reals[position] = old_real.clone();
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
            (None, Owner::Runtime) => entry.reals.push(old_real.clone()),
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
