//! The connections as the API lists them: a page at a time, read from the
//! pinned tables by whoever asks, with a [`Roster`] of what the slots mean.
//! The state task gives the roster and goes on; no table is ever held whole.

mod cursor;
mod filter;
mod page;
mod row;

use std::{
    collections::HashMap,
    io,
    sync::{Arc, LazyLock},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use cursor::Cursor;
pub use filter::{Filter, state_name};

use crate::{
    api::wire,
    config::model::{ForwardingMethod, RealId, ServiceId, Timeouts},
    dataplane::{
        buckets::ConnectionTables,
        sweep::{SlotSet, now_ns},
    },
};
use cursor::Table;
use page::Page;
use row::{Connections, Templates};

/// Pages that are read at a time; who asks for one more waits.
const READERS: usize = 2;

/// What slots meant when the state task was asked.
#[derive(Clone, Debug)]
pub struct Roster {
    pub tables: Arc<ConnectionTables>,
    /// By service slot, deleted services too.
    pub services: HashMap<u32, ServiceId>,
    /// By real slot, deleted reals too.
    pub reals: HashMap<u32, (RealId, ForwardingMethod)>,
    /// The real slots that were asked about; none: all.
    pub chosen: Option<SlotSet>,
    pub timeouts: Timeouts,
}

/// Waits for one's turn to read a page, which lasts while the permit does.
pub async fn turn() -> Option<OwnedSemaphorePermit> {
    static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(READERS)));
    // The semaphore is never closed.
    Arc::clone(&TURNS).acquire_owned().await.ok()
}

/// At most `limit` rows from `from` on, and where the next ones are; none:
/// there are no more. Blocks, for up to a second where it looks at a million
/// entries.
///
/// A connection that is there from the first page to the last is on one of
/// them, once; others may be or not.
pub fn page(
    roster: &Roster,
    filter: &Filter,
    from: Cursor,
    limit: usize,
) -> io::Result<(Vec<wire::Connection>, Option<Cursor>)> {
    let mut page = Page::new(limit);
    let tables = &roster.tables;
    let mut from = Some(from);
    while let Some(Cursor { table, place }) = from {
        let now_ns = now_ns();
        let stopped = match table {
            _ if !filter.reads(table) => None,
            Table::V4 => {
                let connections = Connections::new(&*tables.v4, roster, filter, now_ns);
                page.fill(&*tables.v4, &connections, place)?
            }
            Table::V6 => {
                let connections = Connections::new(&*tables.v6, roster, filter, now_ns);
                page.fill(&*tables.v6, &connections, place)?
            }
            Table::Templates => {
                let templates = Templates::new(roster, filter, now_ns);
                page.fill(&*tables.templates, &templates, place)?
            }
        };
        match stopped {
            Some(place) => return Ok((page.rows, Some(Cursor { table, place }))),
            None => from = table.next().map(Cursor::start_of),
        }
    }
    Ok((page.rows, None))
}

#[cfg(test)]
pub(crate) mod tests;
