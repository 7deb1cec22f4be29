//! Putting another configuration in the place of what runs, as a whole: from a
//! file that `lbctl save` wrote, or for as long as nobody confirms it.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use super::{
    desired::{Desired, RealEntry, ServiceEntry},
    differences::{differences, mark_differences, other_differences},
    director::Director,
    entries::Entries,
    handle::{By, ChangeError, ReloadReport},
    marks::MarkEntry,
    reload::{check_fixed, rehearse},
    store::write_whole,
    stored::Stored,
    timeouts::TimeoutEdits,
};
use crate::{
    api::wire::{EventKind, Owner},
    config::{
        file,
        model::{Config, ServiceId},
        write,
    },
};

const FILE: &str = "rollback.json";

/// What an applied configuration goes back to, unless it is confirmed.
#[derive(Debug)]
pub(super) struct Rollback {
    before: Desired,
    pub(super) at: Instant,
}

/// `state_dir/rollback.json`: it holds over a crash as well.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRollback {
    /// Seconds since 1970.
    at_s: u64,
    before: Stored,
}

impl Desired {
    /// The services and marks of `wanted` in the place of what was there before. What
    /// the file has stays the file's, as if it had been edited; the rest is
    /// the runtime's. What the operator has reals do stays.
    #[must_use]
    pub fn replaced(wanted: &Config, file: &Config, before: &Self) -> Self {
        let of_file: HashMap<_, _> = file.services.iter().map(|s| (s.id, s)).collect();
        let of_before: HashMap<_, _> = before.services.iter().map(|s| (s.id, s)).collect();
        let mut services = Entries::with_capacity(wanted.services.len());
        for service in &wanted.services {
            let mut entry = match of_file.get(&service.id) {
                None => ServiceEntry::new(service.clone(), Owner::Runtime),
                Some(file) => edited(
                    ServiceEntry::new(service.clone(), Owner::File),
                    &ServiceEntry::new((*file).clone(), Owner::File),
                ),
            };
            if let Some(before) = of_before.get(&service.id) {
                entry.keep_states(before);
            }
            services.push(entry);
        }
        let is_wanted = |id: &ServiceId| wanted.services.iter().any(|s| s.id == *id);
        let mut timeouts = TimeoutEdits::default();
        timeouts.note(&TimeoutEdits::all(&wanted.timeouts), &file.timeouts);
        Self {
            services,
            deleted: of_file.into_keys().filter(|id| !is_wanted(id)).collect(),
            marks: wanted
                .marks
                .iter()
                .map(|rule| MarkEntry {
                    rule: rule.clone(),
                    owner: match file.marks.contains(rule) {
                        true => Owner::File,
                        false => Owner::Runtime,
                    },
                })
                .collect(),
            deleted_marks: file
                .marks
                .iter()
                .filter(|rule| !wanted.marks.contains(rule))
                .cloned()
                .collect(),
            timeouts,
        }
    }
}

/// The file's service with other values.
fn edited(mut entry: ServiceEntry, file: &ServiceEntry) -> ServiceEntry {
    let of_file: HashMap<_, _> = file.reals.iter().map(|r| (r.real.id, r)).collect();
    let settings = |entry: &ServiceEntry| ServiceEntry {
        reals: Vec::new(),
        ..entry.clone()
    };
    entry.edited = settings(&entry) != settings(file);
    for real in &mut entry.reals {
        match of_file.get(&real.real.id) {
            Some(file) => real.edited = real.real != file.real,
            None => real.owner = Owner::Runtime,
        }
    }
    let ids = of_file.into_keys();
    entry.deleted_reals = ids
        .filter(|id| entry.reals.iter().all(|real| real.real.id != *id))
        .collect();
    entry
}

impl ServiceEntry {
    fn keep_states(&mut self, before: &Self) {
        let states: HashMap<_, _> = before
            .reals
            .iter()
            .map(|RealEntry { real, .. }| (real.id, real.state))
            .collect();
        for entry in &mut self.reals {
            if let Some(state) = states.get(&entry.real.id) {
                entry.real.state = *state;
            }
        }
    }
}

impl Director {
    /// What runs, as `lbd.toml` says it.
    pub(super) fn save_config(&self) -> String {
        write::toml(&Config {
            services: self
                .desired
                .services
                .iter()
                .map(ServiceEntry::service)
                .collect(),
            marks: self.desired.mark_rules(),
            timeouts: self.timeouts(),
            ..self.config.clone()
        })
    }

    /// What a reload would change.
    pub(super) fn diff(&self) -> Result<Vec<String>, ChangeError> {
        let invalid = |error: &dyn std::fmt::Display| ChangeError::Invalid(error.to_string());
        let config = file::load(&self.config_path).map_err(|error| invalid(&error))?;
        check_fixed(&self.config, &config)?;
        let (desired, _) = Desired::merge(&config.services, &config.marks, &self.desired, false);
        let services = differences(&self.desired, &desired).into_iter();
        let mut lines: Vec<_> = services.flat_map(|(_, lines)| lines).collect();
        lines.extend(mark_differences(&self.desired, &desired));
        let running = Config {
            timeouts: self.timeouts(),
            ..self.config.clone()
        };
        lines.extend(other_differences(&running, &config));
        Ok(lines)
    }

    /// Puts a configuration in the place of what runs; with a time, until nobody
    /// has confirmed it.
    pub(super) async fn replace(
        &mut self,
        wanted: Config,
        confirm_within: Option<Duration>,
        by: By,
    ) -> Result<ReloadReport, ChangeError> {
        self.check_nothing_waits()?;
        check_fixed(&self.config, &wanted)?;
        self.check_is_files(&wanted)?;
        let desired = Desired::replaced(&wanted, &self.config, &self.desired);
        let before = self.desired.clone();
        if let Some(time) = confirm_within {
            let stored = StoredRollback {
                at_s: seconds_since_1970(SystemTime::now() + time),
                before: Stored::from(&before),
            };
            write_whole(&self.rollback_path(), &stored).map_err(|error| failed(&error))?;
        }
        let changes = match self.install_all(desired, by).await {
            Ok(changes) => changes,
            Err(error) => {
                self.drop_rollback();
                return Err(error);
            }
        };
        self.rollback = confirm_within.map(|time| Rollback {
            before,
            at: Instant::now() + time,
        });
        Ok(ReloadReport {
            changes,
            warnings: self.all_warnings(),
        })
    }

    /// What is changed while a configuration waits would go back with it.
    pub(super) const fn check_nothing_waits(&self) -> Result<(), ChangeError> {
        match self.rollback {
            Some(_) => Err(ChangeError::Waiting),
            None => Ok(()),
        }
    }

    /// The applied configuration stays.
    pub(super) fn confirm(&mut self, by: By) -> Result<(), ChangeError> {
        if self.rollback.is_none() {
            return Err(nothing_waits());
        }
        self.forget_rollback().map_err(|error| {
            ChangeError::Failed(format!("remove what there was to go back to: {error}"))
        })?;
        self.rollback = None;
        let text = "applied configuration confirmed".to_owned();
        self.events_out.tell(EventKind::Reload, by, text);
        Ok(())
    }

    /// Goes back to what was there before the configuration that waits.
    pub(super) async fn undo(&mut self, by: By) -> Result<Vec<String>, ChangeError> {
        let rollback = self.rollback.take().ok_or_else(nothing_waits)?;
        let mut before = rollback.before.clone();
        // What the operator has had reals do meanwhile stays, as over a reload.
        for entry in &mut before.services {
            if let Some(now) = self.desired.entry(entry.id) {
                entry.keep_states(now);
            }
        }
        let outcome = self.install_all(before, by).await;
        match &outcome {
            Ok(_) => {
                self.drop_rollback();
                let text = "applied configuration undone".to_owned();
                self.events_out.tell(EventKind::Reload, by, text);
            }
            // Tried again.
            Err(_) => {
                self.rollback = Some(Rollback {
                    at: Instant::now() + Duration::from_secs(10),
                    ..rollback
                });
            }
        }
        outcome
    }

    /// The time to confirm is over.
    pub(super) async fn roll_back(&mut self) {
        if let Err(error) = self.undo(By::Timeout).await {
            error!(%error, "undoing the applied configuration failed");
        }
        // Nobody waits.
        self.endings.clear();
    }

    /// What was waiting when the last daemon ended.
    pub(super) fn resume_rollback(&mut self) {
        let path = self.rollback_path();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                warn!(%error, "{} cannot be read", path.display());
                return;
            }
        };
        let parsed = serde_json::from_slice::<StoredRollback>(&text).map_err(|e| e.to_string());
        let before = parsed.and_then(|stored| Ok((stored.at_s, Desired::try_from(stored.before)?)));
        match before {
            Ok((at_s, stored)) => {
                let config = &self.config;
                let (before, _) = Desired::merge(&config.services, &config.marks, &stored, true);
                let left = at_s.saturating_sub(seconds_since_1970(SystemTime::now()));
                self.rollback = Some(Rollback {
                    before,
                    at: Instant::now() + Duration::from_secs(left),
                });
            }
            Err(error) => {
                warn!(
                    "{}: {error}; the applied configuration stays",
                    path.display()
                );
                self.drop_rollback();
            }
        }
    }

    /// Makes the whole of `desired` the state; the lines say what has changed.
    async fn install_all(&mut self, desired: Desired, by: By) -> Result<Vec<String>, ChangeError> {
        let invalid = |error: &dyn std::fmt::Display| ChangeError::Invalid(error.to_string());
        desired.validate().map_err(|error| invalid(&error))?;
        let (changed, lines): (Vec<_>, Vec<_>) =
            differences(&self.desired, &desired).into_iter().unzip();
        let mut lines = lines.concat();
        lines.extend(mark_differences(&self.desired, &desired));
        rehearse(self.reconciler.image(), &desired, &changed).map_err(|error| invalid(&error))?;
        let before = self.timeouts();
        let after = desired.timeouts.over(&self.config.timeouts);
        if before != after {
            lines.push("timeouts changed".into());
            self.write_timeouts(&after)?;
        }
        if let Err(error) = self.install(desired, &changed).await {
            self.write_timeouts(&before)?;
            return Err(error);
        }
        self.doom_deleted(self.config.options.expire_nodest);
        for line in &lines {
            self.events_out.tell(EventKind::Service, by, line.clone());
        }
        Ok(lines)
    }

    /// What the runtime has no say in must be as the file has it.
    fn check_is_files(&self, wanted: &Config) -> Result<(), ChangeError> {
        let as_in_file = Config {
            services: Vec::new(),
            marks: Vec::new(),
            timeouts: wanted.timeouts,
            ..self.config.clone()
        };
        let wanted = Config {
            services: Vec::new(),
            marks: Vec::new(),
            ..wanted.clone()
        };
        if as_in_file == wanted {
            return Ok(());
        }
        let mut what = other_differences(&as_in_file, &wanted).join(", ");
        if what.is_empty() {
            what = "other sections changed".into();
        }
        Err(ChangeError::Invalid(format!(
            "{what}: only services, firewall marks and timeouts can be replaced; the rest is that of {}, for which \
             there is reload",
            self.config_path.display()
        )))
    }

    fn rollback_path(&self) -> PathBuf {
        rollback_path(&self.config.director.state_dir)
    }

    /// Removes the file, so that it is gone after a power failure as well.
    fn forget_rollback(&self) -> io::Result<()> {
        match fs::remove_file(self.rollback_path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::File::open(&self.config.director.state_dir)?.sync_all(),
        }
    }

    /// As [`Self::forget_rollback`], where nobody can be told of an error.
    fn drop_rollback(&self) {
        if let Err(error) = self.forget_rollback() {
            error!(%error, "{} cannot be removed", self.rollback_path().display());
        }
    }
}

fn rollback_path(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

fn seconds_since_1970(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn nothing_waits() -> ChangeError {
    ChangeError::Invalid("no applied configuration waits to be confirmed".into())
}

fn failed(error: &dyn std::fmt::Display) -> ChangeError {
    ChangeError::Failed(format!("save what to go back to: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::RealState;

    const HEAD: &str = "[director]\ninterfaces = [\"eth0\"]\n";

    fn config(text: &str) -> Config {
        file::parse(&format!("{HEAD}{text}"), "lbd.toml").unwrap()
    }

    fn service(port: u16, more: &str, reals: &[u8]) -> String {
        let mut text = format!(
            "[[service]]\nprotocol = \"tcp\"\naddress = \"192.0.2.10\"\nport = {port}\n{more}\n"
        );
        for real in reals {
            text += &format!("[[service.real]]\naddress = \"10.0.0.{real}\"\n");
        }
        text
    }

    /// Whatever was done at run time: saved, replaced by something else and brought
    /// back it is the same, and a restart finds it so.
    #[test]
    fn what_was_saved_comes_back() {
        let file =
            config(&(service(80, "", &[1, 2]) + &service(81, "", &[1]) + &service(82, "", &[])));
        let (start, _) = Desired::merge(&file.services, &file.marks, &Desired::default(), true);
        let wanted_text = "[timeouts]\ntcp = \"60s\"\n".to_owned()
            + "[[firewall_mark]]\nmark = 7\nprotocol = \"tcp\"\ndestination = \"192.0.2.77\"\n"
            + &service(
                80,
                "scheduler = \"rr\"\nhealth = { type = \"tcp\" }",
                &[2, 3],
            )
            + &service(81, "", &[1])
            + &service(90, "", &[4]);
        let wanted = config(&wanted_text);
        let mut drained = start.clone();
        drained.services[0].reals[1].real.state = RealState::Drain;
        let replaced = Desired::replaced(&wanted, &file, &drained);

        let mut services: Vec<_> = replaced
            .services
            .iter()
            .map(ServiceEntry::service)
            .collect();
        assert_eq!(services[0].reals[0].state, RealState::Drain);
        services[0].reals[0].state = RealState::Ready;
        assert_eq!(services, wanted.services);
        assert_eq!(replaced.mark_rules(), wanted.marks);
        assert_eq!(replaced.timeouts.over(&file.timeouts), wanted.timeouts);
        let services: Vec<_> = replaced.services.iter().collect();
        let [web, same, new] = services[..] else {
            panic!("{replaced:?}")
        };
        assert_eq!((web.owner, web.edited), (Owner::File, true));
        assert_eq!(web.deleted_reals.len(), 1);
        assert_eq!(web.reals[1].owner, Owner::Runtime);
        assert!(same.is_as_in_file());
        assert_eq!(new.owner, Owner::Runtime);
        assert_eq!(replaced.deleted, [file.services[2].id]);

        let stored = serde_json::to_string(&Stored::from(&replaced)).unwrap();
        let stored = Desired::try_from(serde_json::from_str::<Stored>(&stored).unwrap()).unwrap();
        let (again, notes) = Desired::merge(&file.services, &file.marks, &stored, true);
        assert!(notes.warnings.is_empty(), "{notes:?}");
        assert_eq!(differences(&replaced, &again), []);
        assert_eq!(again.mark_rules(), replaced.mark_rules());
        assert_eq!(again.timeouts, replaced.timeouts);

        let back = Desired::replaced(&file, &file, &replaced);
        assert_eq!(differences(&drained, &back), []);
        let mut others = back.services.iter().skip(1);
        assert!(others.all(ServiceEntry::is_as_in_file));
    }
}
