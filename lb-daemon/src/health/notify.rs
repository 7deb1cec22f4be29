//! Runs what operators want run when a real or a quorum goes up or down:
//! `notify_up` and `notify_down`. Behind the state, which never waits for them.
//!
//! A command is a program and its arguments, never a shell's line. It finds nothing
//! in its environment but this:
//!
//! | variable | value |
//! | --- | --- |
//! | `LBD_EVENT` | `up` or `down` |
//! | `LBD_OBJECT` | `real` or `quorum` |
//! | `LBD_SERVICE` | `tcp:192.0.2.10:80`, `fwmark:80` |
//! | `LBD_REAL` | `10.0.0.2:80`; a real's only |
//! | `PATH` | that of the system's programs |

mod command;
mod queue;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::{sync::Notify, task::JoinSet, time};
use tracing::warn;

use self::queue::Queue;
use crate::config::model::{RealId, ServiceId};

/// Commands under way at a time.
const AT_A_TIME: usize = 16;
/// For one command; then it is killed.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A command to run, and what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Empty: nothing is run.
    pub argv: Vec<String>,
    pub service: ServiceId,
    /// None: the event is the quorum's.
    pub real: Option<RealId>,
    pub event: NoticeEvent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeEvent {
    RealUp,
    RealDown,
    QuorumUp,
    QuorumDown,
}

/// Runs the commands of one service in order, one after the other, those of
/// different services at the same time. Dropped, it kills what it runs.
#[derive(Debug)]
pub struct Notifier {
    shared: Arc<Shared>,
    /// The one task; in a set, so that it ends with this.
    task: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is more to run, or no more to come.
    changed: Notify,
}

impl Notifier {
    /// Within a runtime of tokio.
    #[must_use]
    pub fn start() -> Self {
        Self::with_timeout(TIMEOUT)
    }

    fn with_timeout(timeout: Duration) -> Self {
        let shared = Arc::new(Shared::default());
        let mut task = JoinSet::new();
        task.spawn(run_all(shared.clone(), timeout));
        Self { shared, task }
    }

    /// Queues the command; never waits. Where a service has too many waiting, its
    /// oldest is dropped: what holds now matters more than what once did.
    pub fn run(&self, notice: Notice) {
        if notice.argv.is_empty() {
            return;
        }
        let service = notice.service;
        let dropped = self.shared.queue().push(notice);
        if let Some(dropped) = dropped {
            warn!(%service, program = dropped.argv[0], "too many commands wait, the oldest is not run");
        }
        self.shared.changed.notify_one();
    }

    /// Runs what is queued, for `limit` at most; what still runs then is killed.
    pub async fn finish(mut self, limit: Duration) {
        self.shared.queue().close();
        self.shared.changed.notify_one();
        if time::timeout(limit, self.task.join_next()).await.is_err() {
            let left = self.shared.queue().len();
            warn!(left, "not all commands were run before the end");
            self.task.shutdown().await;
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it holds the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run_all(shared: Arc<Shared>, timeout: Duration) {
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < AT_A_TIME {
            let Some(notice) = shared.queue().next() else {
                break;
            };
            running.push(async move {
                command::run(&notice, timeout).await;
                notice.service
            });
        }
        if running.is_empty() && shared.queue().is_over() {
            return;
        }
        tokio::select! {
            () = shared.changed.notified() => {}
            Some(service) = running.next() => shared.queue().ended(service),
        }
    }
}

impl NoticeEvent {
    const fn event(self) -> &'static str {
        match self {
            Self::RealUp | Self::QuorumUp => "up",
            Self::RealDown | Self::QuorumDown => "down",
        }
    }

    const fn object(self) -> &'static str {
        match self {
            Self::RealUp | Self::RealDown => "real",
            Self::QuorumUp | Self::QuorumDown => "quorum",
        }
    }
}

#[cfg(test)]
mod tests;
