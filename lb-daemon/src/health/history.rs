//! The last changes of every real's health, with why: what `lbctl` shows, and what
//! holds over a restart, so that a real that was down is not sent clients until it
//! is asked again. In memory, at most [`MAX_PER_REAL`] of a real, and in
//! `state_dir/health.log`, to which changes are appended; without fsync, since a
//! crash of the machine may cost the last ones. Written and read by the state alone.

mod line;
mod log;

use std::{
    collections::{HashMap, VecDeque},
    io,
    path::Path,
    time::SystemTime,
};

use self::{line::Line, log::Log};
use crate::config::model::{RealId, ServiceId};

/// Of a real; older ones are forgotten.
pub const MAX_PER_REAL: usize = 100;
/// Of what a probe said, and of a check's description.
const MAX_TEXT_BYTES: usize = 200;
/// Of lines in the file beyond twice those that are held: a small file is left alone.
const SLACK_LINES: usize = 1000;

/// A real went up or down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Kept to the millisecond.
    pub at: SystemTime,
    pub is_up: bool,
    /// Why; cut where it is long.
    pub reason: String,
    /// Which check saw it.
    pub check: String,
}

#[derive(Debug)]
pub struct History {
    reals: HashMap<(ServiceId, RealId), VecDeque<Transition>>,
    log: Log,
    /// Lines that are not in the file yet.
    pending: Vec<Line>,
    /// The file does not end where it should: it is written anew.
    is_broken: bool,
}

impl History {
    /// That of the daemon's last run; none and a warning if it cannot be read. Never
    /// fatal.
    #[must_use]
    pub fn open(state_dir: &Path) -> (Self, Option<String>) {
        let (log, read, warning) = Log::open(state_dir);
        let mut history = Self {
            reals: HashMap::new(),
            log,
            pending: Vec::new(),
            is_broken: read.is_torn,
        };
        for line in read.lines {
            history.keep(line);
        }
        (history, warning)
    }

    /// Keeps a change; it is in the file after the next [`History::flush`].
    pub fn note(&mut self, service: ServiceId, real: RealId, mut transition: Transition) {
        cut(&mut transition.reason);
        cut(&mut transition.check);
        let line = Line::Changed(service, real, transition);
        self.pending.push(line.clone());
        self.keep(line);
    }

    /// Writes what is new. After an error the next call writes all of it, so that
    /// nothing is lost but by a restart in between.
    pub fn flush(&mut self) -> io::Result<()> {
        let held: usize = self.reals.values().map(VecDeque::len).sum();
        let lines = self.log.lines() + self.pending.len();
        if self.is_broken || lines > 2 * held + SLACK_LINES {
            self.pending.clear();
            // Until it is known to be whole.
            self.is_broken = true;
            self.log.write_anew(&self.all())?;
            self.is_broken = false;
            return Ok(());
        }
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        self.log
            .append(&pending)
            .inspect_err(|_| self.is_broken = true)
    }

    /// A real's, the oldest first.
    pub fn of(&self, service: ServiceId, real: RealId) -> impl Iterator<Item = &Transition> {
        self.reals.get(&(service, real)).into_iter().flatten()
    }

    /// What a real was last seen to be; none: it never changed.
    #[must_use]
    pub fn is_up(&self, service: ServiceId, real: RealId) -> Option<bool> {
        let transitions = self.reals.get(&(service, real))?;
        transitions.back().map(|last| last.is_up)
    }

    /// Drops the reals that `keep` does not want, in the file too: one that comes
    /// back later is a new one.
    pub fn forget(&mut self, keep: impl Fn(ServiceId, RealId) -> bool) {
        let pending = &mut self.pending;
        self.reals.retain(|(service, real), _| {
            let stays = keep(*service, *real);
            if !stays {
                pending.push(Line::Forgotten(*service, *real));
            }
            stays
        });
    }

    fn keep(&mut self, line: Line) {
        match line {
            Line::Changed(service, real, transition) => {
                let transitions = self.reals.entry((service, real)).or_default();
                if transitions.len() >= MAX_PER_REAL {
                    transitions.pop_front();
                }
                transitions.push_back(transition);
            }
            Line::Forgotten(service, real) => {
                self.reals.remove(&(service, real));
            }
        }
    }

    fn all(&self) -> Vec<Line> {
        let of = |(id, transitions): (&(ServiceId, RealId), &VecDeque<Transition>)| {
            let (service, real) = *id;
            let line = move |of: &Transition| Line::Changed(service, real, of.clone());
            transitions.iter().map(line).collect::<Vec<_>>()
        };
        self.reals.iter().flat_map(of).collect()
    }
}

/// To [`MAX_TEXT_BYTES`], with its last character whole.
fn cut(text: &mut String) {
    text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
}

#[cfg(test)]
mod tests;
