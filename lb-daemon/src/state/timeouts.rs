//! The runtime's say in `[timeouts]`: what `lbctl timeouts set` changed holds
//! until the next reload, which puts the file's values back.

use std::collections::BTreeMap;

use lb_common::connection_state::ConnectionState;

use super::{
    director::Director,
    handle::{By, ChangeError},
};
use crate::{
    api::wire::EventKind,
    config::timeouts::{KEYS, MAX_TIMEOUT_S, Timeouts},
};

/// Seconds by state number that stand in place of others; 0: those stay, as
/// with ipvsadm's `--set`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeoutEdits([u32; ConnectionState::NUMBERS]);

impl TimeoutEdits {
    pub const fn set(&mut self, state: ConnectionState, seconds: u32) {
        self.0[state as usize] = seconds;
    }

    /// Every one of them.
    pub(super) fn all(timeouts: &Timeouts) -> Self {
        let mut edits = Self::default();
        for key in KEYS {
            edits.set(key.state, timeouts.of(key.state));
        }
        edits
    }

    /// `timeouts` with these changes.
    #[must_use]
    pub fn over(&self, timeouts: &Timeouts) -> Timeouts {
        let mut edited = *timeouts;
        for key in KEYS {
            match self.0[key.state as usize] {
                0 => {}
                seconds => edited.set(key.state, seconds),
            }
        }
        edited
    }

    /// Adds what `patch` makes of `timeouts`, which are those that run. A value
    /// that runs already is no change.
    pub fn note(&mut self, patch: &Self, timeouts: &Timeouts) {
        let patched = patch.over(timeouts);
        for key in KEYS {
            let seconds = patched.of(key.state);
            if seconds != timeouts.of(key.state) {
                self.set(key.state, seconds);
            }
        }
    }

    /// A line for each value that a reload puts back.
    pub(super) fn describe_revert(&self) -> impl Iterator<Item = String> {
        self.named()
            .map(|(name, _)| format!("timeouts.{name}: back, as the file has it"))
    }

    /// As the state file has them.
    pub(super) fn to_stored(self) -> BTreeMap<String, u32> {
        let named = self.named();
        named.map(|(name, s)| (name.to_owned(), s)).collect()
    }

    pub(super) fn from_stored(stored: &BTreeMap<String, u32>) -> Result<Self, String> {
        let mut edits = Self::default();
        for (name, seconds) in stored {
            let key = KEYS
                .iter()
                .find(|key| key.name == name)
                .ok_or_else(|| format!("unknown timeout {name}"))?;
            if !(1..=MAX_TIMEOUT_S).contains(seconds) {
                return Err(format!("timeout {name}: {seconds} s"));
            }
            edits.set(key.state, *seconds);
        }
        Ok(edits)
    }

    fn named(self) -> impl Iterator<Item = (&'static str, u32)> {
        KEYS.into_iter()
            .map(move |key| (key.name, self.0[key.state as usize]))
            .filter(|(_, seconds)| *seconds != 0)
    }
}

impl Director {
    /// The timeouts that run.
    pub(super) fn timeouts(&self) -> Timeouts {
        self.desired.timeouts.over(&self.config.timeouts)
    }

    /// Changes the timeouts in the maps and in the state file, or nowhere. They
    /// hold for connections that are there already, too.
    pub(super) async fn set_timeouts(
        &mut self,
        patch: TimeoutEdits,
        by: By,
    ) -> Result<Timeouts, ChangeError> {
        self.check_nothing_waits()?;
        let before = self.timeouts();
        let mut desired = self.desired.clone();
        desired.timeouts.note(&patch, &before);
        let after = desired.timeouts.over(&self.config.timeouts);
        if desired.timeouts == self.desired.timeouts {
            return Ok(after);
        }
        self.write_timeouts(&after)?;
        if let Err(error) = self.install(desired, &[]).await {
            if let Err(error) = self.write_timeouts(&before) {
                tracing::error!(%error, "going back after a failed change failed");
            }
            return Err(error);
        }
        let text = "timeouts changed".to_owned();
        self.events_out.tell(EventKind::Timeouts, by, text);
        Ok(after)
    }

    pub(super) fn write_timeouts(&mut self, timeouts: &Timeouts) -> Result<(), ChangeError> {
        let config = &self.config;
        self.reconciler
            .set_policy(&config.options, &config.defence, timeouts)
            .map_err(|error| ChangeError::Failed(error.to_string()))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edits(values: &[(ConnectionState, u32)]) -> TimeoutEdits {
        let mut edits = TimeoutEdits::default();
        for (state, seconds) in values {
            edits.set(*state, *seconds);
        }
        edits
    }

    use ConnectionState::{Established, FinWait, Udp};

    #[test]
    fn zero_leaves_what_is() {
        let file = Timeouts::default();
        let mut kept = TimeoutEdits::default();
        kept.note(&edits(&[(Established, 0), (Udp, 60)]), &file);
        let running = kept.over(&file);
        assert_eq!((running.of(Established), running.of(Udp)), (900, 60));
        kept.note(&edits(&[(FinWait, 30)]), &running);
        let running = kept.over(&file);
        assert_eq!((running.of(FinWait), running.of(Udp)), (30, 60));
    }

    /// Else the file's next value would not hold after a restart, though
    /// nobody asked for another.
    #[test]
    fn what_runs_already_is_no_change() {
        let mut kept = TimeoutEdits::default();
        kept.note(&edits(&[(Established, 900)]), &Timeouts::default());
        assert_eq!(kept, TimeoutEdits::default());
    }

    #[test]
    fn edits_are_stored_by_their_keys() {
        let edits = edits(&[(FinWait, 30), (ConnectionState::SctpClosed, 5)]);
        let stored = edits.to_stored();
        let text = serde_json::to_string(&stored).unwrap();
        assert_eq!(text, r#"{"sctp_closed":5,"tcp_fin_wait":30}"#);
        assert_eq!(TimeoutEdits::from_stored(&stored), Ok(edits));
        for (name, seconds) in [("tcp", 5), ("udp", 0), ("udp", MAX_TIMEOUT_S + 1)] {
            let stored = [(name.to_owned(), seconds)].into();
            assert!(TimeoutEdits::from_stored(&stored).is_err(), "{name}");
        }
    }

    #[test]
    fn a_reload_names_what_it_puts_back() {
        let lines: Vec<_> = edits(&[(Udp, 1), (Established, 2)])
            .describe_revert()
            .collect();
        assert_eq!(
            lines,
            [
                "timeouts.tcp_established: back, as the file has it",
                "timeouts.udp: back, as the file has it"
            ]
        );
    }
}
