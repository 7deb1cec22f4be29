//! Which reals cannot be reached, and who has been told: a network that fails takes
//! thousands of them at once, of which a few are named and the others counted.

use std::{collections::HashSet, net::IpAddr};

/// Reals named from one [`Reach::take_others`] to the next, of each kind.
const NAMED: usize = 10;

/// The reals that the log has called unreachable.
#[derive(Debug, Default)]
pub(super) struct Reach {
    lost: HashSet<IpAddr>,
    new_losses: Tally,
    returns: Tally,
}

/// What was named of late, and what only counted.
#[derive(Debug, Default)]
struct Tally {
    named: usize,
    others: usize,
}

impl Tally {
    /// Whether this one is to be named.
    fn count(&mut self) -> bool {
        let is_named = self.named < NAMED;
        *(if is_named {
            &mut self.named
        } else {
            &mut self.others
        }) += 1;
        is_named
    }
}

impl Reach {
    /// Whether to tell that a real cannot be reached any more.
    pub(super) fn lose(&mut self, real: IpAddr) -> bool {
        self.lost.insert(real) && self.new_losses.count()
    }

    /// Whether to tell that a real can be reached again.
    pub(super) fn regain(&mut self, real: IpAddr) -> bool {
        self.lost.remove(&real) && self.returns.count()
    }

    /// Forgets those that nobody needs any more.
    pub(super) fn retain(&mut self, is_needed: impl Fn(&IpAddr) -> bool) {
        self.lost.retain(is_needed);
    }

    /// How many were lost and have come back since the last time without being named.
    pub(super) fn take_others(&mut self) -> (usize, usize) {
        let lost = std::mem::take(&mut self.new_losses);
        let returned = std::mem::take(&mut self.returns);
        (lost.others, returned.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real(n: u8) -> IpAddr {
        [10, 0, 0, n].into()
    }

    /// One that is told again and again, or that nobody is told of, shows as another
    /// number.
    #[test]
    fn a_few_are_named_and_the_others_counted() {
        let mut reach = Reach::default();
        let lose = |reach: &mut Reach| (0..100).filter(|n| reach.lose(real(*n))).count();
        assert_eq!(lose(&mut reach), NAMED);
        assert_eq!(lose(&mut reach), 0);
        assert_eq!(reach.take_others(), (100 - NAMED, 0));
        assert_eq!(reach.take_others(), (0, 0));
        assert!(!reach.regain(real(200)));
        let named = (0..50).filter(|n| reach.regain(real(*n))).count();
        assert_eq!(named, NAMED);
        // Lost again, after a while: a few are named again.
        assert_eq!(reach.take_others(), (0, 50 - NAMED));
        assert_eq!(lose(&mut reach), NAMED);
        reach.retain(|_| false);
        assert!(!reach.regain(real(60)));
    }
}
