//! How far packets get: a generator whose packets all pass tests nothing.

use std::{collections::BTreeMap, fmt};

use crate::{generate::Kind, judge::Fate};

/// Fates in the order of the columns.
const FATES: [&str; 4] = ["passed", "dropped", "answered", "forwarded"];

#[derive(Clone, Debug, Default)]
pub struct Tally {
    kinds: BTreeMap<&'static str, [u64; FATES.len()]>,
    /// Packets that the reals' counters took in.
    pub seen_by_reals: u64,
}

impl Tally {
    pub fn count(&mut self, kind: Kind, fate: Fate) {
        let column = match fate {
            Fate::Passed => 0,
            Fate::Dropped => 1,
            Fate::Answered => 2,
            Fate::Forwarded(_) => 3,
        };
        self.kinds.entry(kind.name()).or_default()[column] += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (kind, counts) in &other.kinds {
            let sum = self.kinds.entry(kind).or_default();
            for (sum, count) in sum.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        self.seen_by_reals += other.seen_by_reals;
    }

    pub fn packets(&self) -> u64 {
        self.kinds.values().flatten().sum()
    }

    /// Packets that were forwarded or answered, in percent.
    pub fn reach(&self) -> f64 {
        percent(self.column(2) + self.column(3), self.packets())
    }

    /// Packets that a real's counters took in, in percent: what `local` passes
    /// looks like any other passed packet.
    pub fn counted(&self) -> f64 {
        percent(self.seen_by_reals, self.packets())
    }

    fn column(&self, column: usize) -> u64 {
        self.kinds.values().map(|counts| counts[column]).sum()
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 * 100.0 / whole as f64
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:18}{:>10}", "", "packets")?;
        for fate in FATES {
            write!(f, "{fate:>11}")?;
        }
        for (kind, counts) in &self.kinds {
            let packets: u64 = counts.iter().sum();
            write!(f, "\n  {kind:16}{packets:>10}")?;
            for count in counts {
                write!(f, "{:>10.1}%", percent(*count, packets))?;
            }
        }
        Ok(())
    }
}
