//! Who is told of what has turned: the log, events, the history, the operator's programs,
//! and by mail.

use std::time::{Duration, SystemTime};

use tracing::{info, warn};

use super::Health;
use crate::{
    api::wire::EventKind,
    config::model::{RealId, ServiceId},
    dataplane::sweep::{How, Whose},
    health::{
        history::Transition,
        mail::Alert,
        notify::{Notice, NoticeEvent},
        verdict::Verdict,
    },
    state::{director::Director, events::Events},
};

/// Something that has turned, to be told when the maps have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::state) enum Turn {
    Real {
        real: RealId,
        verdict: Verdict,
        argv: Vec<String>,
        /// Its connections are cut.
        resets: bool,
    },
    Quorum {
        is_up: bool,
        argv: Vec<String>,
    },
}

impl Director {
    /// Everything that follows from what has turned, and is in the maps by now.
    pub(in crate::state) fn tell_turns(&mut self, turns: Vec<(ServiceId, Turn)>) {
        if turns.is_empty() {
            return;
        }
        let mut cut = Vec::new();
        for (service, turn) in turns {
            if let Turn::Real {
                real, resets: true, ..
            } = &turn
            {
                cut.extend(self.reconciler.real_slot(service, *real));
            }
            self.health.tell(&self.events_out, service, turn);
        }
        if !cut.is_empty() {
            drop(self.sweeper.end(Whose::Reals(cut), How::Cut));
        }
        if let Err(error) = self.health.history.flush() {
            warn!(%error, "the history of health cannot be written");
        }
    }

    /// The daemon has started: who asked for it is told of what is up, as a stop has told
    /// of the opposite. Of what has turned since he will hear.
    pub(in crate::state) fn greet(&self, turned: &[(ServiceId, Turn)]) {
        self.run_omega(true, turned);
    }

    /// The daemon stops: who asked for it is told as of a failure.
    pub(in crate::state) fn stop_health(&self) {
        self.run_omega(false, &[]);
    }

    fn run_omega(&self, is_up: bool, except: &[(ServiceId, Turn)]) {
        let is_left_out = |service: ServiceId, of: Option<RealId>| {
            except.iter().any(|(other, turn)| {
                let turned = match turn {
                    Turn::Real { real, .. } => Some(*real),
                    Turn::Quorum { .. } => None,
                };
                *other == service && turned == of
            })
        };
        let health = &self.health;
        let events = match is_up {
            true => [NoticeEvent::RealUp, NoticeEvent::QuorumUp],
            false => [NoticeEvent::RealDown, NoticeEvent::QuorumDown],
        };
        for entry in &self.desired.services {
            let mut is_meant = false;
            for of in &entry.reals {
                let running = health.checks.of(entry.id, of.real.id);
                let has_omega = running.iter().any(|check| check.plan.check.omega);
                if !has_omega || !health.standing(entry.id, of.real.id).is_up() {
                    continue;
                }
                is_meant = true;
                if is_left_out(entry.id, Some(of.real.id)) {
                    continue;
                }
                let own = of.real.health.as_deref();
                let argv = own.map(|own| match is_up {
                    true => own.notify_up.clone(),
                    false => own.notify_down.clone(),
                });
                let argv = argv.unwrap_or_default();
                health.run(argv, entry.id, Some(of.real.id), events[0]);
            }
            if is_meant && health.has_quorum(entry.id) && !is_left_out(entry.id, None) {
                let quorum = &entry.health.quorum;
                let argv = match is_up {
                    true => &quorum.notify_up,
                    false => &quorum.notify_down,
                };
                health.run(argv.clone(), entry.id, None, events[1]);
            }
        }
    }
}

impl Health {
    fn run(&self, argv: Vec<String>, service: ServiceId, real: Option<RealId>, event: NoticeEvent) {
        if !argv.is_empty() {
            self.notifier.run(Notice {
                argv,
                service,
                real,
                event,
            });
        }
    }

    fn tell(&mut self, events: &Events, service: ServiceId, turn: Turn) {
        match turn {
            Turn::Real {
                real,
                verdict,
                argv,
                resets: _,
            } => {
                let is_up = verdict.standing.is_up();
                let transition = transition(&verdict);
                let Verdict { checks, reason, .. } = verdict;
                let text = if is_up {
                    info!(%service, %real, "real server up");
                    format!("service {service}: real {real} is up")
                } else {
                    warn!(%service, %real, check = checks, reason, "real server down");
                    format!("service {service}: real {real} is down: {checks}: {reason}")
                };
                events.send(EventKind::Health, None, text);
                self.mailer.tell(Alert {
                    at: SystemTime::now(),
                    service,
                    real: Some(real),
                    is_up,
                    reason: reason.clone(),
                });
                self.history.note(service, real, transition);
                let event = match is_up {
                    true => NoticeEvent::RealUp,
                    false => NoticeEvent::RealDown,
                };
                self.run(argv, service, Some(real), event);
            }
            Turn::Quorum { is_up, argv } => {
                let (text, event) = if is_up {
                    info!(%service, "quorum regained");
                    ("has its quorum again", NoticeEvent::QuorumUp)
                } else {
                    warn!(%service, "quorum lost");
                    ("has lost its quorum", NoticeEvent::QuorumDown)
                };
                events.send(EventKind::Health, None, format!("service {service} {text}"));
                self.mailer.tell(Alert {
                    at: SystemTime::now(),
                    service,
                    real: None,
                    is_up,
                    reason: String::new(),
                });
                self.run(argv, service, None, event);
            }
        }
    }

    /// What is still to be run and to be sent is, for a while.
    pub(in crate::state) async fn finish(self, limit: Duration) {
        tokio::join!(self.notifier.finish(limit), self.mailer.finish(limit));
    }
}

/// As the history has it.
pub(super) fn transition(verdict: &Verdict) -> Transition {
    Transition {
        at: SystemTime::now(),
        is_up: verdict.standing.is_up(),
        reason: verdict.reason.clone(),
        check: verdict.checks.clone(),
    }
}
