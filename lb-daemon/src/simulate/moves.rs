//! Who goes to another real than the time before.

use serde::Serialize;

/// A key's last connection.
#[derive(Clone, Copy)]
struct Last {
    real: u32,
    /// Events that there had been.
    events: u32,
}

/// What came of the connections of keys that had had one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Connections of keys that have had one before.
    pub returning: u64,
    /// To another real, and since the key's last connection an event was about
    /// this one or that one.
    pub related: u64,
    /// To another real, without such an event.
    pub unrelated: u64,
}

pub(super) struct Moves {
    last: Vec<Option<Last>>,
    /// Of each real, the number of the last event that was about it; 0: none.
    touched: Vec<u32>,
    events: u32,
    pub(super) counts: Counts,
}

impl Moves {
    pub(super) fn new(keys: u32, reals: usize) -> Self {
        Self {
            last: vec![None; keys as usize],
            touched: vec![0; reals],
            events: 0,
            counts: Counts::default(),
        }
    }

    /// An event is about a real.
    pub(super) fn touch(&mut self, real: u32) {
        self.events += 1;
        self.touched[real as usize] = self.events;
    }

    /// A key has a connection to a real.
    pub(super) fn meet(&mut self, key: u32, real: u32) {
        let events = self.events;
        let last = self.last[key as usize].replace(Last { real, events });
        let Some(last) = last else { return };
        self.counts.returning += 1;
        if last.real == real {
            return;
        }
        let is_touched = |real: u32| self.touched[real as usize] > last.events;
        if is_touched(last.real) || is_touched(real) {
            self.counts.related += 1;
        } else {
            self.counts.unrelated += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_explains_the_moves_of_its_real_once() {
        let mut moves = Moves::new(3, 3);
        moves.meet(0, 0);
        moves.meet(1, 1);
        moves.touch(0);
        moves.meet(0, 1); // From the real of the event.
        moves.meet(1, 2); // Neither.
        moves.meet(1, 0); // To the real of the event, but it was there already.
        moves.meet(2, 0);
        let expected = Counts {
            returning: 3,
            related: 1,
            unrelated: 2,
        };
        assert_eq!(moves.counts, expected);
    }
}
