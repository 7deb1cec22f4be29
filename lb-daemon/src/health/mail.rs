//! Mail about reals and services that go up or down, to whom `[alerts]` names.
//! Behind the state, which never waits for it. A rack that fails is one mail and
//! not a hundred: what happens within some seconds goes together, and there are
//! only so many mails an hour.

mod batch;
mod delivery;
mod pace;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time,
};
use tracing::{debug, info, warn};

use self::{
    batch::Batch,
    delivery::{Failure, deliver},
    pace::{Admission, Pace},
};
use crate::config::{
    alerts::Alerts,
    model::{RealId, ServiceId},
};

/// What happened, one line of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    pub at: SystemTime,
    pub service: ServiceId,
    /// None: it is about the service's quorum.
    pub real: Option<RealId>,
    pub is_up: bool,
    /// Why; may be empty.
    pub reason: String,
}

/// Gathers what it is told and mails it. Dropped, it stops where it is.
#[derive(Debug)]
pub struct Mailer {
    alerts: watch::Receiver<Option<Alerts>>,
    gathered: Arc<Gathered>,
    closing: watch::Sender<bool>,
    /// The one task; in a set, so that it ends with this.
    task: JoinSet<()>,
}

/// How long things take.
#[derive(Clone, Copy, Debug)]
struct Timing {
    /// From the first event to its mail: for those that come with it, and between
    /// two mails.
    gather: Duration,
    /// For the whole of a dialogue with the server.
    dialogue: Duration,
    /// Before a mail that failed is tried again, each time.
    retries: [Duration; 3],
    /// In which there are [`pace::MAILS`].
    window: Duration,
}

#[derive(Debug, Default)]
struct Gathered {
    batch: Mutex<Batch>,
    changed: Notify,
}

/// What the task has.
struct Mailing {
    alerts: watch::Receiver<Option<Alerts>>,
    gathered: Arc<Gathered>,
    closing: watch::Receiver<bool>,
    timing: Timing,
    host: String,
    pace: Pace,
}

impl Mailer {
    /// Within a runtime of tokio. `[alerts]` may change while it runs; without any,
    /// nothing is sent.
    #[must_use]
    pub fn start(alerts: watch::Receiver<Option<Alerts>>) -> Self {
        Self::with_timing(alerts, Timing::default())
    }

    fn with_timing(alerts: watch::Receiver<Option<Alerts>>, timing: Timing) -> Self {
        let gathered = Arc::new(Gathered::default());
        let (closing, closed) = watch::channel(false);
        let mailing = Mailing {
            alerts: alerts.clone(),
            gathered: gathered.clone(),
            closing: closed,
            timing,
            host: own_name(),
            pace: Pace::new(timing.window),
        };
        let mut task = JoinSet::new();
        task.spawn(mailing.run());
        Self {
            alerts,
            gathered,
            closing,
            task,
        }
    }

    /// Puts it into the next mail; never waits.
    pub fn tell(&self, alert: Alert) {
        if self.alerts.borrow().is_some() {
            self.gathered.batch().push(alert);
            self.gathered.changed.notify_one();
        }
    }

    /// Sends what is gathered, with one try that takes no longer than `limit`.
    pub async fn finish(mut self, limit: Duration) {
        self.closing.send_replace(true);
        self.gathered.changed.notify_one();
        if time::timeout(limit, self.task.join_next()).await.is_err() {
            warn!("the last mail was not sent before the end");
        }
    }
}

impl Mailing {
    async fn run(mut self) {
        while self.wait_for_an_event().await {
            self.pause(self.timing.gather).await;
            let Some(held_until) = self.wait_for_the_pace().await else {
                warn!("the last changes are not mailed: there were too many mails in the hour");
                return;
            };
            let batch = std::mem::take(&mut *self.gathered.batch());
            self.mail(&batch, held_until).await;
        }
    }

    /// False: there is none and none will come.
    async fn wait_for_an_event(&self) -> bool {
        while self.gathered.batch().is_empty() {
            if *self.closing.borrow() {
                return false;
            }
            self.gathered.changed.notified().await;
        }
        true
    }

    /// Until a mail may be sent; gives until when it is the last one, if it is. None:
    /// the end comes first.
    async fn wait_for_the_pace(&mut self) -> Option<Option<SystemTime>> {
        loop {
            match self.pace.admit(Instant::now()) {
                Admission::Send => return Some(None),
                Admission::SendLast(wait) => return Some(Some(SystemTime::now() + wait)),
                Admission::Hold(_) if *self.closing.borrow() => return None,
                Admission::Hold(wait) => self.pause(wait).await,
            }
        }
    }

    /// Not beyond the beginning of the end.
    async fn pause(&mut self, duration: Duration) {
        let _ = time::timeout(duration, self.closing.wait_for(|is_closing| *is_closing)).await;
    }

    async fn mail(&mut self, batch: &Batch, held_until: Option<SystemTime>) {
        let (subject, body) = (batch.subject(&self.host), batch.body(held_until));
        let mut retries = self.timing.retries.into_iter();
        loop {
            // The server may be another one by now.
            let Some(alerts) = self.alerts.borrow().clone() else {
                debug!("no mail: [alerts] is gone");
                return;
            };
            let server = &alerts.smtp;
            let dialogue = self.timing.dialogue;
            let outcome = deliver(&alerts, &self.host, &subject, &body, dialogue).await;
            let error = match outcome {
                Ok(()) => {
                    info!(%server, changes = batch.len(), "mail sent");
                    return;
                }
                Err(error) => error,
            };
            let next = retries.next().filter(|_| {
                let is_worth_it = matches!(error, Failure::Transient(_));
                is_worth_it && !*self.closing.borrow()
            });
            let Some(wait) = next else {
                warn!(%server, changes = batch.len(), %error, "mail not sent, it is dropped");
                return;
            };
            debug!(%server, %error, ?wait, "mail not sent, it is tried again");
            self.pause(wait.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
        }
    }
}

impl Gathered {
    fn batch(&self) -> MutexGuard<'_, Batch> {
        // Nothing panics while it holds the lock.
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            gather: Duration::from_secs(5),
            dialogue: Duration::from_secs(10),
            retries: [5, 30, 120].map(Duration::from_secs),
            window: Duration::from_secs(3600),
        }
    }
}

/// The host's, as far as a sender's address can have it.
fn own_name() -> String {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || ".-_".contains(*c);
    let name: String = super::host_name().chars().filter(allowed).collect();
    if name.is_empty() {
        "localhost".into()
    } else {
        name
    }
}

#[cfg(test)]
mod tests;
