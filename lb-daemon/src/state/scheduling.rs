//! What an edit makes of a service's scheduler.

use std::time::Duration;

use super::patch::Switch;
use crate::config::{
    model::{DEFAULT_TABLE_SIZE, Scheduler, Scheduling},
    scheduling,
};

/// What is asked of a service's scheduler; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchedulingPatch {
    pub scheduler: Option<Scheduler>,
    /// By name: which scheduler they are for is known when the patch is applied.
    pub flags: Option<Vec<String>>,
    pub table_size: Option<u32>,
    pub slow_start: Switch<Duration>,
}

impl SchedulingPatch {
    /// What `before` becomes. Another scheduler takes over what it has itself:
    /// flags, a table or a slow start that it cannot have are gone unless asked
    /// for, and then refused, the latter two by the service's rules.
    pub fn apply(&self, before: Scheduling) -> Result<Scheduling, String> {
        let scheduler = self.scheduler.unwrap_or(before.scheduler);
        let flags = match &self.flags {
            Some(words) => scheduling::flags(scheduler, words)
                .map_err(|problem| format!("scheduler_flags: {problem}"))?,
            // Two schedulers' flags are two flags, also where they mean the same.
            None if scheduler == before.scheduler => before.flags,
            None => 0,
        };
        let table_size = match scheduler {
            Scheduler::Mh => before.table_size,
            _ => DEFAULT_TABLE_SIZE,
        };
        let starts_slowly = scheduler.layout().starts_slowly();
        Ok(Scheduling {
            scheduler,
            flags,
            table_size: self.table_size.unwrap_or(table_size),
            slow_start: match self.slow_start {
                Switch::Stays => before.slow_start.filter(|_| starts_slowly),
                Switch::Off => None,
                Switch::On(time) => Some(time),
            },
        })
    }

    /// With the default in the place of what is not named.
    #[must_use]
    pub fn or_default(self) -> Self {
        let default = Scheduling::default();
        Self {
            scheduler: Some(self.scheduler.unwrap_or(default.scheduler)),
            flags: Some(self.flags.unwrap_or_default()),
            table_size: Some(self.table_size.unwrap_or(default.table_size)),
            slow_start: match self.slow_start {
                Switch::Stays => Switch::Off,
                named => named,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(scheduler: Scheduler) -> SchedulingPatch {
        SchedulingPatch {
            scheduler: Some(scheduler),
            ..SchedulingPatch::default()
        }
    }

    #[test]
    fn another_scheduler_keeps_what_it_has_itself() {
        let sh = Scheduling {
            flags: scheduling::flags(Scheduler::Sh, &["sh-port"]).unwrap(),
            ..Scheduling::plain(Scheduler::Sh)
        };
        let mh = Scheduling {
            table_size: 251,
            ..Scheduling::plain(Scheduler::Mh)
        };
        let slow = Scheduling {
            slow_start: Some(Duration::from_secs(30)),
            ..Scheduling::plain(Scheduler::Wlc)
        };
        for (before, patch, after) in [
            (sh, SchedulingPatch::default(), sh),
            (sh, to(Scheduler::Sh), sh),
            (sh, to(Scheduler::Mh), Scheduling::plain(Scheduler::Mh)),
            (mh, to(Scheduler::Mh), mh),
            (mh, to(Scheduler::Rr), Scheduling::plain(Scheduler::Rr)),
            (slow, to(Scheduler::Dh), Scheduling::plain(Scheduler::Dh)),
            (
                slow,
                to(Scheduler::Rr),
                Scheduling {
                    scheduler: Scheduler::Rr,
                    ..slow
                },
            ),
        ] {
            assert_eq!(patch.apply(before), Ok(after));
        }
    }

    #[test]
    fn what_is_asked_for_is_not_dropped() {
        let flags = |words: &[&str]| SchedulingPatch {
            flags: Some(words.iter().map(|&word| word.to_owned()).collect()),
            ..to(Scheduler::Mh)
        };
        let before = Scheduling::plain(Scheduler::Sh);
        assert_ne!(flags(&["mh-port"]).apply(before).unwrap().flags, 0);
        assert_eq!(flags(&[]).apply(before).unwrap().flags, 0);
        assert_eq!(
            flags(&["sh-port"]).apply(before).unwrap_err(),
            "scheduler_flags: mh has no flag \"sh-port\"; it takes mh-fallback, mh-port"
        );
        // The service's rules refuse these.
        let time = Duration::from_secs(30);
        let patch = SchedulingPatch {
            table_size: Some(251),
            slow_start: Switch::On(time),
            ..to(Scheduler::Dh)
        };
        let after = patch.apply(before).unwrap();
        assert_eq!((after.table_size, after.slow_start), (251, Some(time)));
    }

    #[test]
    fn a_whole_one_is_the_default_but_for_what_it_names() {
        let before = Scheduling {
            table_size: 251,
            ..Scheduling::plain(Scheduler::Mh)
        };
        let whole = SchedulingPatch::default().or_default();
        assert_eq!(whole.apply(before), Ok(Scheduling::default()));
        let whole = to(Scheduler::Mh).or_default();
        assert_eq!(whole.apply(before), Ok(Scheduling::plain(Scheduler::Mh)));
    }
}
