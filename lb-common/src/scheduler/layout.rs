//! The daemon's half of a scheduler: from the reals that are listed to the
//! words of a plan.

use alloc::vec::Vec;

use super::FULL_SHARE;

/// A listed real as the plans see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    pub slot: u32,
    /// In force: 0 for one that is quiesced.
    pub weight: u32,
    /// The last weight above 0 that it had; 0: none.
    pub last_weight: u32,
    /// How much of its part it takes in its slow start, in sixteenths, 1 to
    /// [`FULL_SHARE`].
    pub share: u32,
    /// What tells it from others, the same on every director: the hash of its
    /// address and port.
    pub identity: u64,
}

impl Listed {
    /// A real that is what its weight says.
    #[must_use]
    pub const fn new(slot: u32, weight: u32, identity: u64) -> Self {
        Self {
            slot,
            weight,
            last_weight: weight,
            share: FULL_SHARE,
            identity,
        }
    }
}

/// What a service asks of its scheduler besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bits of [`super::flag`].
    pub flags: u32,
    /// mh: a prime.
    pub table_size: u32,
}

/// A plan that another one of the same scheduler takes the place of.
#[derive(Clone, Copy, Debug)]
pub struct Former<'a> {
    /// The reals it was made for.
    pub reals: &'a [Listed],
    pub words: &'a [u32],
    pub cycle: u32,
    /// The turn that it began at, and the next one.
    pub start: u64,
    pub turn: u64,
}

/// A scheduler as the daemon prepares it.
pub trait Layout: Sync {
    /// Writes the plan's words; returns its `cycle`, 0 where there is nobody to
    /// pick. `reals` are in the order of configuration, those of weight 0 too.
    fn plan(&self, reals: &[Listed], options: Options, words: &mut Vec<u32>) -> u32;

    /// The turn at which a plan for `after` starts.
    fn resume(&self, before: &Former<'_>, after: &[Listed]) -> u64 {
        let _ = (before, after);
        0
    }

    /// Whether plans for `before` and `after` stand at the same turn if they
    /// have the same words.
    fn keeps_turn(&self, before: &[Listed], after: &[Listed]) -> bool {
        let _ = (before, after);
        true
    }

    /// Names of the flags that it takes, with their bits of [`super::flag`].
    fn flags(&self) -> &'static [(&'static str, u32)] {
        &[]
    }

    /// Whether the address that a client wants decides, and not the client.
    fn is_by_destination(&self) -> bool {
        false
    }

    /// Whether a real that comes up begins with a small share where the
    /// service has a slow start: not where the pick says who, not how many.
    fn starts_slowly(&self) -> bool {
        true
    }
}

/// A real slot with the weight that it is picked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighted {
    pub slot: u32,
    pub weight: u32,
}

/// The reals with their weights; all in sixteenths while one of them has not its
/// whole share. `weight` is of those that have one at all.
#[must_use]
pub fn weighted(reals: &[Listed], weight: impl Fn(&Listed) -> u32) -> Vec<Weighted> {
    let is_starting = reals
        .iter()
        .any(|real| real.weight > 0 && real.share < FULL_SHARE);
    if is_starting {
        return in_sixteenths(reals, weight);
    }
    each(reals, weight)
}

/// As [`weighted`], always in sixteenths: for who compares weights with something
/// else than each other.
#[must_use]
pub fn in_sixteenths(reals: &[Listed], weight: impl Fn(&Listed) -> u32) -> Vec<Weighted> {
    each(reals, |real| weight(real) * real.share)
}

fn each(reals: &[Listed], weight: impl Fn(&Listed) -> u32) -> Vec<Weighted> {
    let weighted = |real: &Listed| Weighted {
        slot: real.slot,
        weight: if real.weight > 0 { weight(real) } else { 0 },
    };
    reals.iter().map(weighted).collect()
}
