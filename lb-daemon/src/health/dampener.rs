//! Rise and fall: how many results in a row turn a real's state over, so that one
//! lost answer takes nobody out. One per check of a real, between the probe and
//! what the state is told.

/// One check's state, up or down, and the streak of results against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dampener {
    /// Successes in a row that turn down into up; 0 counts as 1.
    rise: u32,
    /// Failures in a row that turn up into down; 0 counts as 1.
    fall: u32,
    is_up: bool,
    /// The real was never judged before: what is held of it is a guess.
    on_probation: bool,
    /// Results in a row that contradict `is_up`.
    against: u32,
}

impl Dampener {
    /// On probation, the first result decides at once: a real that has just been
    /// added and is dead must not be sent clients for `fall` intervals.
    #[must_use]
    pub const fn new(rise: u32, fall: u32, is_up: bool, on_probation: bool) -> Self {
        Self {
            rise,
            fall,
            is_up,
            on_probation,
            against: 0,
        }
    }

    /// Takes a result in; gives the new state if it changes.
    pub fn note(&mut self, ok: bool) -> Option<bool> {
        let was_on_probation = std::mem::replace(&mut self.on_probation, false);
        if ok == self.is_up {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = if ok { self.rise } else { self.fall };
        if self.against < needed && !was_on_probation {
            return None;
        }
        self.against = 0;
        self.is_up = ok;
        Some(ok)
    }

    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.is_up
    }

    /// Whether a streak against the present state is under way: the fast interval
    /// applies.
    #[must_use]
    pub const fn is_changing(&self) -> bool {
        self.against > 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_lost_answer_takes_nobody_out() {
        let mut dampener = Dampener::new(2, 3, true, false);
        for ok in [false, false, true, false, false] {
            assert_eq!(dampener.note(ok), None);
            assert_eq!(dampener.is_changing(), !ok);
        }
        assert_eq!(dampener.note(false), Some(false));
        assert!(!dampener.is_up() && !dampener.is_changing());
        assert_eq!(dampener.note(false), None);
        assert_eq!(dampener.note(true), None);
        assert!(dampener.is_changing());
        assert_eq!(dampener.note(true), Some(true));
        assert!(dampener.is_up() && !dampener.is_changing());
    }

    #[test]
    fn the_first_result_on_probation_decides() {
        for is_up in [true, false] {
            let mut dampener = Dampener::new(5, 5, is_up, true);
            assert_eq!(dampener.note(!is_up), Some(!is_up));
            // The second one does not.
            assert_eq!(dampener.note(is_up), None);
            let mut dampener = Dampener::new(5, 5, is_up, true);
            assert_eq!(dampener.note(is_up), None);
            assert_eq!(dampener.note(!is_up), None);
        }
    }

    /// From all results so far, without a counter: the state turns over where the
    /// last `needed` ones since it last did so all contradict it.
    fn modelled(rise: u32, fall: u32, is_up: bool, on_probation: bool, results: &[bool]) -> bool {
        let (mut is_up, mut since) = (is_up, 0);
        for end in 1..=results.len() {
            let needed = if is_up { fall } else { rise }.max(1) as usize;
            let is_first = on_probation && end == 1;
            let needed = if is_first { 1 } else { needed };
            let seen = &results[since..end];
            if seen.len() >= needed && seen[seen.len() - needed..].iter().all(|ok| *ok != is_up) {
                is_up = !is_up;
                since = end;
            }
        }
        is_up
    }

    proptest! {
        #[test]
        fn it_is_the_models(
            rise in 0_u32..6,
            fall in 0_u32..6,
            is_up: bool,
            on_probation: bool,
            results in prop::collection::vec(any::<bool>(), 0..60),
        ) {
            let mut dampener = Dampener::new(rise, fall, is_up, on_probation);
            for (i, ok) in results.iter().enumerate() {
                let before = dampener.is_up();
                let told = dampener.note(*ok);
                let after = modelled(rise, fall, is_up, on_probation, &results[..=i]);
                prop_assert_eq!(dampener.is_up(), after);
                prop_assert_eq!(told, (before != after).then_some(after));
                prop_assert_eq!(dampener.is_changing(), *ok != after);
            }
        }
    }
}
