//! Things to do at a time, at most one time for each thing.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    time::Instant,
};

/// The agenda; `K` names what is to be done.
#[derive(Debug)]
pub(super) struct Agenda<K> {
    times: HashMap<K, Instant>,
    order: BTreeSet<(Instant, K)>,
}

impl<K> Default for Agenda<K> {
    fn default() -> Self {
        Self {
            times: HashMap::new(),
            order: BTreeSet::new(),
        }
    }
}

impl<K: Copy + Eq + Hash + Ord> Agenda<K> {
    /// Puts `what` down for `at`, in place of any other time.
    pub(super) fn set(&mut self, what: K, at: Instant) {
        if let Some(former) = self.times.insert(what, at) {
            self.order.remove(&(former, what));
        }
        self.order.insert((at, what));
    }

    /// Puts `what` down for `at` unless it is due earlier anyway.
    pub(super) fn hasten(&mut self, what: K, at: Instant) {
        if self.times.get(&what).is_none_or(|due| *due > at) {
            self.set(what, at);
        }
    }

    /// Strikes `what` out.
    pub(super) fn remove(&mut self, what: K) {
        if let Some(at) = self.times.remove(&what) {
            self.order.remove(&(at, what));
        }
    }

    /// When the next thing is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes one thing that is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<K> {
        let (at, what) = *self.order.first()?;
        if at > now {
            return None;
        }
        self.remove(what);
        Some(what)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_time_set_counts_and_order_is_by_time() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut agenda = Agenda::default();
        agenda.set('a', at(5));
        agenda.set('b', at(3));
        agenda.set('a', at(1));
        agenda.hasten('b', at(4));
        assert_eq!(agenda.next(), Some(at(1)));
        assert_eq!(agenda.pop(at(0)), None);
        assert_eq!(agenda.pop(at(9)), Some('a'));
        assert_eq!(agenda.next(), Some(at(3)));
        agenda.hasten('b', at(2));
        assert_eq!(agenda.next(), Some(at(2)));
        agenda.remove('b');
        assert_eq!(agenda.pop(at(9)), None);
    }
}
