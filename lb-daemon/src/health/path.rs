//! The way of probes with `via = "service"`: their marks, and the programs that lead
//! packets with them to the VIP through the real. They are there while such a check is.

use std::collections::HashMap;

use tracing::warn;

use crate::dataplane::{
    DataPlaneError,
    probe_path::{ProbePath, Redirect, mark},
};

/// Marks in use, and the programs once there are any.
#[derive(Debug, Default)]
pub struct Path {
    redirects: HashMap<u32, Redirect>,
    next: u16,
    /// Where probes leave and their answers come in.
    interfaces: Vec<String>,
    programs: Option<ProbePath>,
    /// Why there are none though there should be.
    problem: Option<String>,
}

impl Path {
    /// The mark for a probe's packets, which go this way from now on; none: they cannot.
    pub fn open(&mut self, redirect: Redirect) -> Option<u32> {
        let marks = (0..=u16::MAX).map(|ahead| mark(self.next.wrapping_add(ahead)));
        let mut free = marks.filter(|mark| !self.redirects.contains_key(mark));
        let mark = free.next()?;
        self.next = (mark as u16).wrapping_add(1);
        match self.try_open(mark, redirect) {
            Ok(()) => {
                self.redirects.insert(mark, redirect);
                Some(mark)
            }
            Err(error) => {
                let problem = format!("probes cannot go by the service's address: {error}");
                if self.problem.as_ref() != Some(&problem) {
                    warn!("{problem}");
                }
                self.problem = Some(problem);
                None
            }
        }
    }

    fn try_open(&mut self, mark: u32, redirect: Redirect) -> Result<(), DataPlaneError> {
        let programs = match &mut self.programs {
            Some(programs) => programs,
            None => self.programs.insert(ProbePath::start(&self.interfaces)?),
        };
        programs.insert(mark, redirect)
    }

    /// Nothing is to be said of ways that were closed before.
    pub fn forgive(&mut self) {
        self.problem = None;
    }

    /// Where packets with this mark go.
    #[must_use]
    pub fn redirect(&self, mark: u32) -> Option<Redirect> {
        self.redirects.get(&mark).copied()
    }

    /// The probe is no more.
    pub fn close(&mut self, mark: u32) {
        self.redirects.remove(&mark);
        if self.redirects.is_empty() {
            self.programs = None;
            self.problem = None;
        } else if let Some(programs) = &mut self.programs
            && let Err(error) = programs.remove(mark)
        {
            warn!(%error, "the way of a probe that is no more stays");
        }
    }

    /// Where probes leave and their answers come in from now on.
    pub fn set_interfaces(&mut self, interfaces: Vec<String>) {
        self.interfaces = interfaces;
        if let Some(programs) = &mut self.programs
            && let Err(error) = programs.set_interfaces(&self.interfaces)
        {
            warn!(%error, "an interface has no way for probes by the service's address");
        }
    }

    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }
}
