//! The rules of `[[firewall_mark]]` in the desired state: who owns which, and
//! who wins when the file and the runtime both have a say.

use super::{
    desired::{Desired, Notes, invalid},
    handle::{ChangeError, ObjectKind},
};
use crate::{
    api::wire::Owner,
    config::{
        mark::{self, MarkRule},
        rules::Invalid,
    },
};

/// A rule and who it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkEntry {
    pub rule: MarkRule,
    pub owner: Owner,
}

impl Desired {
    /// The rules as the data plane is to have them.
    #[must_use]
    pub fn mark_rules(&self) -> Vec<MarkRule> {
        self.marks.iter().map(|entry| entry.rule.clone()).collect()
    }

    pub fn add_mark(&mut self, rule: MarkRule) -> Result<(), ChangeError> {
        let mut rules = self.marks.iter().map(|entry| &entry.rule);
        if rules.any(|other| *other == rule) {
            return Err(ChangeError::Exists(
                ObjectKind::Mark,
                format!("{rule} exists already"),
            ));
        }
        mark::check(&rule, self.marks.iter().map(|entry| &entry.rule)).map_err(invalid)?;
        let owner = Owner::Runtime;
        self.marks.push(MarkEntry { rule, owner });
        Ok(())
    }

    pub fn delete_mark(&mut self, rule: &MarkRule) -> Result<(), ChangeError> {
        let position = self.marks.iter().position(|entry| entry.rule == *rule);
        let Some(position) = position else {
            return Err(ChangeError::Unknown(ObjectKind::Mark, format!("no {rule}")));
        };
        let entry = self.marks.remove(position);
        if entry.owner == Owner::File {
            self.deleted_marks.push(entry.rule);
        }
        Ok(())
    }

    /// Every rule against those before it. A merge can make two contradict
    /// each other: the file's and the runtime's.
    pub(super) fn check_marks(&self) -> Result<(), Invalid> {
        self.marks.iter().enumerate().try_for_each(|(i, entry)| {
            let others = self.marks[..i].iter().map(|e| &e.rule);
            mark::check(&entry.rule, others).map_err(|mut invalid| {
                if entry.owner == Owner::Runtime {
                    invalid.problem.push_str("; it was made at run time");
                }
                invalid
            })
        })
    }

    /// The file's rules over what was there before, as [`Desired::merge`] does
    /// with services.
    pub(super) fn merge_marks(
        &mut self,
        file: &[MarkRule],
        before: &Self,
        keep_edits: bool,
        notes: &mut Notes,
    ) {
        for rule in file {
            if before.deleted_marks.contains(rule) {
                if keep_edits {
                    self.deleted_marks.push(rule.clone());
                    continue;
                }
                notes
                    .reverted
                    .push(format!("{rule}: back, as the file has it"));
            }
            self.marks.push(MarkEntry {
                rule: rule.clone(),
                owner: Owner::File,
            });
        }
        for old in before.marks.iter().filter(|e| e.owner == Owner::Runtime) {
            let rule = &old.rule;
            if file.contains(rule) && !self.deleted_marks.contains(rule) {
                notes.warnings.push(format!(
                    "{rule}: made at run time, the file owns it from now on"
                ));
                continue;
            }
            let contradiction = mark::check(rule, self.marks.iter().map(|e| &e.rule));
            // The file was changed while no daemon ran, which would have
            // refused it.
            match contradiction {
                Err(invalid) if keep_edits => notes
                    .warnings
                    .push(format!("{invalid}: made at run time, dropped")),
                _ => self.marks.push(old.clone()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Protocol;

    fn rule(mark: u32, ports: &str) -> MarkRule {
        MarkRule {
            mark,
            protocol: Protocol::Tcp,
            destination: ([192, 0, 2, 10].into(), 32),
            ports: mark::ports(ports).unwrap(),
        }
    }

    fn merged(file: &[MarkRule], before: &Desired, keep_edits: bool) -> (Desired, Notes) {
        Desired::merge(&[], file, before, keep_edits)
    }

    fn loaded(file: &[MarkRule]) -> Desired {
        merged(file, &Desired::default(), true).0
    }

    #[test]
    fn a_deleted_rule_of_the_file_comes_back_with_a_reload() {
        let file = [rule(80, "80")];
        let mut desired = loaded(&file);
        desired.delete_mark(&file[0]).unwrap();
        assert_eq!(desired.mark_rules(), []);
        assert_eq!(
            merged(&file, &desired, true),
            (desired.clone(), Notes::default())
        );
        let (reloaded, notes) = merged(&file, &desired, false);
        assert_eq!(reloaded, loaded(&file));
        assert_eq!(notes.reverted.len(), 1, "{notes:?}");
        // Made again, it is the runtime's until the reload.
        desired.add_mark(file[0].clone()).unwrap();
        assert_eq!(merged(&file, &desired, true).0, desired);
        assert_eq!(merged(&file, &desired, false).0, loaded(&file));
    }

    #[test]
    fn a_runtime_rule_stays_until_the_file_has_it() {
        let mut desired = loaded(&[]);
        desired.add_mark(rule(80, "80")).unwrap();
        assert_eq!(merged(&[], &desired, false).0, desired);
        let file = [rule(80, "80")];
        let (reloaded, notes) = merged(&file, &desired, false);
        assert_eq!(reloaded, loaded(&file));
        assert_eq!(notes.warnings.len(), 1, "{notes:?}");
    }

    #[test]
    fn contradictions_are_refused_or_at_a_start_dropped() {
        let mut desired = loaded(&[rule(80, "80")]);
        let error = desired.add_mark(rule(80, "80")).unwrap_err();
        assert!(matches!(error, ChangeError::Exists(..)), "{error}");
        let error = desired.add_mark(rule(81, "all")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "firewall mark 81: tcp 192.0.2.10/32 contradicts firewall mark 80: tcp 192.0.2.10/32 80"
        );
        let error = desired.delete_mark(&rule(80, "443")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no firewall mark 80: tcp 192.0.2.10/32 443"
        );
        desired.add_mark(rule(81, "443")).unwrap();

        let file = [rule(80, "80"), rule(82, "443")];
        let error = merged(&file, &desired, false).0.validate().unwrap_err();
        assert_eq!(
            error.to_string(),
            "firewall mark 81: tcp 192.0.2.10/32 443 contradicts firewall mark 82: tcp 192.0.2.10/32 443; it was \
             made at run time"
        );
        let (started, notes) = merged(&file, &desired, true);
        assert_eq!(started, loaded(&file));
        assert!(notes.warnings[0].contains("firewall mark 81"), "{notes:?}");
    }
}
