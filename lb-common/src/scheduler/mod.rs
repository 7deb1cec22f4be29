//! The schedulers: for each, the plan that the daemon lays out and the pick
//! that the program makes from it. One file each.

pub mod maglev;
pub mod rr;
pub mod wrr;

/// A scheduler. The number is the plan's `scheduler` and the index of its
/// program in the program array.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheduler {
    Rr = 0,
    Wrr = 1,
}

impl Scheduler {
    pub const ALL: &[Self] = &[Self::Rr, Self::Wrr];

    /// As in `lbd.toml` and ipvsadm's `-s`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
        }
    }

    /// Name of its program in the object file.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Rr => "schedule_rr",
            Self::Wrr => "schedule_wrr",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|s| s.name() == name)
    }

    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|s| *s as u32 == number)
    }
}

/// A listed real as the plans see it: its slot and its effective weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    pub slot: u32,
    pub weight: u32,
}

/// What a pick may look at: the words of the plan in force.
pub trait PlanWords {
    /// The word at `index` of the plan's list, if there is one.
    fn word(&self, index: u32) -> Option<u32>;
}

#[cfg(test)]
impl PlanWords for &[u32] {
    fn word(&self, index: u32) -> Option<u32> {
        self.get(index as usize).copied()
    }
}
