//! The task of one check: it asks, waits, and tells the state task when what it
//! thinks of its real changes. What it thinks is in a [`Known`], for everybody to
//! read.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    sync::{Notify, mpsc},
    time::{sleep, sleep_until, timeout},
};
use tracing::warn;

use super::{
    dampener::Dampener,
    probe::{Load, Outcome, Prober, Target},
};
use crate::{
    config::{
        health::{Check, ProbeType},
        model::ServiceId,
    },
    net::jitter::Jitter,
};

/// First probes are spread over so much of the interval, and at most over
/// [`MOST_SPREAD`].
const SPREAD: f64 = 0.1;
const MOST_SPREAD: Duration = Duration::from_millis(200);
/// By so much of itself an interval is shorter at most.
const SHORTER: f64 = 0.05;

/// After so long a warning that still holds is told again.
const TOLD_AGAIN: Duration = Duration::from_secs(86_400);

/// A check made ready, for all reals that have it.
#[derive(Debug)]
pub struct Plan {
    pub check: Check,
    /// Or what of it this host cannot do.
    prober: Result<Prober, String>,
}

/// What a check thinks of its real.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub is_up: bool,
    /// Since when, as far as it knows.
    pub since: SystemTime,
    /// Why, if it is down.
    pub reason: String,
    /// What the real said last of its weight.
    pub load: Option<Load>,
    /// None: it has not been asked yet.
    pub last: Option<Last>,
}

/// What an answer was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    /// Why it did not count; none: it did.
    pub failure: Option<String>,
    pub took: Duration,
    /// What will make it fail before long.
    pub warning: Option<String>,
}

/// A running check. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    pub plan: Arc<Plan>,
    pub target: Target,
    /// Its way is closed: it is not asked at all.
    pub is_blocked: bool,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    known: Mutex<Known>,
    /// The next probe is not to wait.
    hurry: Notify,
}

/// How a check begins.
#[derive(Clone, Debug)]
pub enum Begin {
    /// Of a real that nothing is known of. Only of one that is new the first answer
    /// decides.
    Anew { is_new: bool },
    /// Where another one was.
    With(Known),
}

impl Plan {
    #[must_use]
    pub fn new(check: Check) -> Self {
        let prober = Prober::new(check.probe.clone());
        Self { check, prober }
    }

    /// What of it this host cannot do.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.prober.as_ref().err().map(String::as_str)
    }

    async fn ask(&self, target: &Target) -> Outcome {
        let prober = match &self.prober {
            Ok(prober) => prober,
            Err(problem) => return Outcome::Down(problem.clone()),
        };
        // Thousands wait for their next probe at any time, and what one needs while it
        // runs is many times what it needs then.
        let asked = Box::pin(prober.ask(target));
        timeout(self.check.timing.timeout, asked)
            .await
            .unwrap_or_else(|_| Outcome::Down("timed out".into()))
    }
}

impl Known {
    /// As it begins.
    #[must_use]
    pub fn new(is_up: bool, reason: String) -> Self {
        Self {
            is_up,
            since: SystemTime::now(),
            reason,
            load: None,
            last: None,
        }
    }
}

impl Running {
    /// Begins to watch `target`; `changes` is told its service when something
    /// is new.
    #[must_use]
    pub fn start(
        plan: Arc<Plan>,
        target: Target,
        is_blocked: bool,
        begin: Begin,
        changes: mpsc::UnboundedSender<ServiceId>,
    ) -> Self {
        let (known, on_probation) = match begin {
            Begin::With(known) => (known, false),
            Begin::Anew { is_new: true } if plan.check.alpha => {
                (Known::new(false, "not yet up".into()), false)
            }
            Begin::Anew { is_new } => (Known::new(true, String::new()), is_new),
        };
        let Check { rise, fall, .. } = plan.check;
        let dampener = Dampener::new(rise, fall, known.is_up, on_probation);
        let shared = Arc::new(Shared {
            known: Mutex::new(known),
            hurry: Notify::new(),
        });
        let watch = watch(
            Arc::clone(&plan),
            target,
            Arc::clone(&shared),
            dampener,
            changes,
        );
        let task = match is_blocked {
            true => tokio::spawn(std::future::ready(())),
            false => tokio::spawn(watch),
        };
        Self {
            plan,
            target,
            is_blocked,
            shared,
            task,
        }
    }

    #[must_use]
    pub fn known(&self) -> Known {
        self.shared.lock().clone()
    }

    #[must_use]
    pub fn probe_type(&self) -> ProbeType {
        self.plan.check.probe.probe_type()
    }

    /// The next probe comes at once.
    pub fn hurry(&self) {
        self.shared.hurry.notify_one();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        // Nobody panics with it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an answer; whether the state has to hear of it.
    fn note(&self, outcome: Outcome, took: Duration, dampener: &mut Dampener) -> bool {
        let mut known = self.lock();
        let turned = match outcome {
            Outcome::Unasked(_) => None,
            Outcome::Up { .. } | Outcome::Down(_) => dampener.note(outcome.is_up()),
        };
        let before = known.load;
        let (failure, warning) = match outcome {
            Outcome::Up { load, warning } => {
                known.load = load.or(known.load);
                (None, warning)
            }
            Outcome::Down(reason) | Outcome::Unasked(reason) => (Some(reason), None),
        };
        if let Some(is_up) = turned {
            known.is_up = is_up;
            known.since = SystemTime::now();
        }
        if !known.is_up
            && let Some(reason) = &failure
        {
            known.reason.clone_from(reason);
        }
        known.last = Some(Last {
            failure,
            took,
            warning,
        });
        turned.is_some() || known.load != before
    }
}

/// The warning that was told last, and when.
#[derive(Debug, Default)]
struct Told(Option<(String, Instant)>);

impl Told {
    /// Those of an answer that are to be told: what is new, and once a day what is not.
    fn news<'a>(&mut self, warning: Option<&'a str>, now: Instant) -> Option<&'a str> {
        let Some(text) = warning else {
            self.0 = None;
            return None;
        };
        let is_told = |(told, at): &(String, Instant)| told == text && now < *at + TOLD_AGAIN;
        if self.0.as_ref().is_some_and(is_told) {
            return None;
        }
        self.0 = Some((text.to_owned(), now));
        Some(text)
    }
}

async fn watch(
    plan: Arc<Plan>,
    target: Target,
    shared: Arc<Shared>,
    mut dampener: Dampener,
    changes: mpsc::UnboundedSender<ServiceId>,
) {
    let mut jitter = Jitter::default();
    let mut told = Told::default();
    let timing = plan.check.timing;
    let spread = timing.interval.mul_f64(SPREAD).min(MOST_SPREAD);
    sleep(timing.warmup + jitter.within(spread)).await;
    loop {
        let began = Instant::now();
        let outcome = plan.ask(&target).await;
        if let Outcome::Up { warning, .. } = &outcome {
            let of_type = plan.check.probe.probe_type().name();
            if let Some(text) = told.news(warning.as_deref(), began) {
                warn!(service = %target.service, real = %target.real, check = of_type, "{text}");
            }
        }
        if shared.note(outcome, began.elapsed(), &mut dampener)
            && changes.send(target.service).is_err()
        {
            return;
        }
        let interval = match timing.fast_interval {
            Some(fast) if dampener.is_changing() => fast,
            _ => timing.interval,
        };
        // Never longer: within which time a failure is found is a promise.
        let next = began + interval - jitter.within(interval.mul_f64(SHORTER));
        tokio::select! {
            () = sleep_until(next.into()) => {}
            () = shared.hurry.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_told_once_a_day() {
        let mut told = Told::default();
        let now = Instant::now();
        let later = now + TOLD_AGAIN;
        for (warning, at, news) in [
            (None, now, None),
            (Some("5 days"), now, Some("5 days")),
            (Some("5 days"), now, None),
            (Some("4 days"), now, Some("4 days")),
            (Some("4 days"), later, Some("4 days")),
            (None, later, None),
            (Some("4 days"), later, Some("4 days")),
        ] {
            assert_eq!(told.news(warning, at), news);
        }
    }
}
