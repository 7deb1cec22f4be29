//! One connection table: the walk that ends what is over, and the one that ends
//! what somebody chooses. The entries are memory: to look at them takes no call.

use std::{io, sync::Arc, time::Instant};

use aya::Pod;
use lb_common::{
    connection::{Connection, direction, is_idle, mark},
    connection_state::{ConnectionState, is_active_number, is_half_open_number},
    flow::FlowKey,
    limits::HALF_OPEN_REST_S,
    real::Live,
    sweep::{Ending, Pace, mode},
};

use super::{SweptConnections, ender::Ender};
use crate::dataplane::connection_table::ConnectionTable;

/// Places that are looked at before others get the processor, if they want it.
const STRETCH: u32 = 4096;

pub(super) struct Connections<K> {
    table: Arc<ConnectionTable<K>>,
    pub ender: Ender<K>,
}

/// What a walk goes by.
pub(super) struct Rules {
    pub pace: Pace,
    /// By state number.
    pub timeouts_s: [u32; ConnectionState::NUMBERS],
    /// `drop_entry` is in force.
    pub drops_half_open: bool,
}

impl<K: FlowKey + Pod + Ord> Connections<K> {
    pub fn new(swept: SweptConnections<K>) -> Self {
        Self {
            table: swept.table,
            ender: Ender::new(swept.program),
        }
    }

    /// Counts every entry for its real, and ends what is over. Returns how many
    /// entries there are.
    pub fn walk(&mut self, rules: &Rules, live: &mut [Live]) -> io::Result<u64> {
        self.ender.begin();
        let mut entries = 0;
        let table = Arc::clone(&self.table);
        for place in 0..table.ever_used()? {
            if place % STRETCH == 0 {
                std::thread::yield_now();
            }
            let Some((key, connection)) = table.at(place) else {
                continue;
            };
            entries += 1;
            if let Some(live) = live.get_mut(connection.real as usize) {
                note(&connection, live);
            }
            if mark::is_gone(connection.state) {
                continue;
            }
            match rules.judge(&connection) {
                Some(Ending { mode, after_ms: 0 }) => self.ender.choose(mode, key)?,
                Some(Ending { after_ms, .. }) => {
                    self.ender.wait_for(key, after_ms, Instant::now());
                }
                None => {}
            }
        }
        self.ender.end_all()?;
        Ok(entries)
    }

    /// Shows every entry to `judge`, and ends in the mode that comes back.
    pub fn end_chosen(&mut self, judge: impl Fn(&K, &Connection) -> Option<u8>) -> io::Result<()> {
        let table = Arc::clone(&self.table);
        for (key, connection) in table.iter()? {
            if let Some(mode) = judge(&key, &connection) {
                self.ender.choose(mode, key)?;
            }
        }
        self.ender.end_all()
    }
}

/// Counts an entry for its real.
fn note(connection: &Connection, live: &mut Live) {
    live.references += 1;
    let number = connection.state & ConnectionState::MASK;
    if mark::is_gone(connection.state)
        || connection.direction != direction::FORWARD
        || number == ConnectionState::Cut as u32
    {
        return;
    }
    if is_active_number(number) {
        live.active += 1;
    } else {
        live.inactive += 1;
    }
}

impl Rules {
    /// How the entry is to end, if it is. A reverse entry too: the sweep ends it
    /// when its forward entry is gone.
    fn judge(&self, connection: &Connection) -> Option<Ending> {
        let number = connection.state & ConnectionState::MASK;
        let is_forward = connection.direction == direction::FORWARD;
        let seen_ns = connection.last_seen_ns;
        let ending = Ending::of_idle(seen_ns, self.timeouts_s[number as usize], &self.pace);
        if ending.is_some_and(|ending| ending.after_ms == 0) {
            return ending;
        }
        // A client who answers has answered by then.
        let is_late = is_half_open_number(number)
            && is_forward
            && is_idle(self.pace.now_ns, seen_ns, HALF_OPEN_REST_S);
        if is_late && self.drops_half_open && fastrand::bool() {
            return Some(Ending::now(mode::HALF_OPEN));
        }
        // The forward entry will be there then.
        ending.filter(|_| is_forward)
    }
}
