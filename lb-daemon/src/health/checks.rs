//! All running checks, by service and real. What stays the same in a new
//! configuration goes on, with all that it knows.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use tokio::sync::mpsc;

use super::{
    check::{Begin, Known, Plan, Running},
    path::Path,
    probe::Target,
    verdict::{Opinion, Verdict},
};
use crate::{
    config::{
        health::{Check, Health},
        model::{Real, RealId, RealState, ServiceId},
        via::Way,
    },
    dataplane::probe_path::Redirect,
};

/// Dropping it ends them.
#[derive(Debug)]
pub struct Checks {
    services: HashMap<ServiceId, HashMap<RealId, Vec<Running>>>,
    changes: mpsc::UnboundedSender<ServiceId>,
    pub path: Path,
    /// A daemon that adopts a data plane begins: its reals have been watched before.
    pub is_restart: bool,
}

impl Checks {
    /// None yet, and the services of which something is new.
    #[must_use]
    pub fn new() -> (Self, mpsc::UnboundedReceiver<ServiceId>) {
        let (changes, receiver) = mpsc::unbounded_channel();
        let services = HashMap::new();
        let is_restart = false;
        (
            Self {
                services,
                changes,
                path: Path::default(),
                is_restart,
            },
            receiver,
        )
    }

    /// Makes a service's checks be those that are configured. `former` is what was
    /// known of a real before anybody watched it; `is_serving`: it was there without a
    /// check, and is not new.
    pub fn set<'a>(
        &mut self,
        service: ServiceId,
        health: &Health,
        reals: impl Iterator<Item = &'a Real>,
        former: impl Fn(RealId) -> Option<Known>,
        is_serving: impl Fn(RealId) -> bool,
    ) {
        let mut before = self.services.remove(&service).unwrap_or_default();
        let mut plans = Plans::of(before.values().flatten());
        let mut running = HashMap::new();
        for real in reals.filter(|real| real.state != RealState::Maint) {
            let wanted = real.own_checks().unwrap_or(&health.checks);
            if wanted.is_empty() {
                continue;
            }
            let mut old: Vec<_> = before.remove(&real.id).unwrap_or_default();
            // Each that is the same goes on, wherever it stands now.
            let kept: Vec<_> = wanted
                .iter()
                .map(|check| {
                    let way = Way::of_check(service, real, check);
                    let is_same =
                        |old: &Running| old.plan.check == *check && self.goes(old, real, way);
                    let position = old.iter().position(is_same)?;
                    Some(old.remove(position))
                })
                .collect();
            let mut former_ones = old.into_iter();
            let mut of_real = Vec::with_capacity(wanted.len());
            for (check, kept) in wanted.iter().zip(kept) {
                of_real.push(match kept {
                    Some(running) => running,
                    None => {
                        let other = former_ones.next();
                        let known = other.as_ref().map(|other| inherited(other, check));
                        self.end(other);
                        let is_new = !self.is_restart && !is_serving(real.id);
                        let begin = known
                            .or_else(|| former(real.id))
                            .map_or(Begin::Anew { is_new }, Begin::With);
                        self.start(plans.get(check), service, real, begin)
                    }
                });
            }
            self.end(former_ones);
            running.insert(real.id, of_real);
        }
        self.end(before.into_values().flatten());
        if !running.is_empty() {
            self.services.insert(service, running);
        }
    }

    fn start(&mut self, plan: Arc<Plan>, service: ServiceId, real: &Real, begin: Begin) -> Running {
        let check = &plan.check;
        let way = Way::of_check(service, real, check);
        let redirect = redirect(real, check, way);
        let mark = redirect.and_then(|redirect| self.path.open(redirect));
        let target = Target {
            service,
            real: real.id,
            address: address(real, check, way),
            mark,
            timeout: check.timing.timeout,
        };
        // At the real's own address it would say nothing of the way.
        let is_blocked = redirect.is_some() && mark.is_none();
        Running::start(plan, target, is_blocked, begin, self.changes.clone())
    }

    /// Services with checks whose way was closed when they began.
    #[must_use]
    pub fn blocked(&self) -> Vec<ServiceId> {
        let has_one = |reals: &HashMap<RealId, Vec<Running>>| {
            reals.values().flatten().any(|running| running.is_blocked)
        };
        let blocked = self.services.iter().filter(|(_, reals)| has_one(reals));
        blocked.map(|(service, _)| *service).collect()
    }

    /// Whether a check goes this way already.
    fn goes(&self, running: &Running, real: &Real, way: Way) -> bool {
        let check = &running.plan.check;
        let redirect = redirect(real, check, way);
        running.target.address == address(real, check, way)
            && running
                .target
                .mark
                .and_then(|mark| self.path.redirect(mark))
                == redirect
    }

    fn end(&mut self, running: impl IntoIterator<Item = Running>) {
        for mark in running.into_iter().filter_map(|of| of.target.mark) {
            self.path.close(mark);
        }
    }

    /// Ends a service's.
    pub fn remove(&mut self, service: ServiceId) {
        let reals = self.services.remove(&service).unwrap_or_default();
        self.end(reals.into_values().flatten());
    }

    /// Those of a real, in order of configuration.
    #[must_use]
    pub fn of(&self, service: ServiceId, real: RealId) -> &[Running] {
        let reals = self.services.get(&service);
        reals
            .and_then(|reals| reals.get(&real))
            .map_or(&[], Vec::as_slice)
    }

    /// All of them, in no order.
    pub fn all(&self) -> impl Iterator<Item = (ServiceId, RealId, &Running)> {
        self.services.iter().flat_map(|(service, reals)| {
            reals.iter().flat_map(|(real, running)| {
                running.iter().map(|running| (*service, *real, running))
            })
        })
    }

    /// What a real's checks say together.
    #[must_use]
    pub fn verdict(&self, service: ServiceId, health: &Health, real: &Real) -> Verdict {
        let running = self.of(service, real.id);
        let known: Vec<_> = running.iter().map(Running::known).collect();
        let opinion = |(running, known): (&Running, _)| Opinion {
            of_type: running.probe_type().name(),
            known,
            on_failure: running.plan.check.on_failure,
        };
        let opinions: Vec<_> = running.iter().zip(&known).map(opinion).collect();
        Verdict::of(&opinions, health.require, real.weight.get())
    }
}

/// What the check in the place of another one takes over: the state, and what the real said
/// of its weight only where it is still asked the same.
fn inherited(other: &Running, check: &Check) -> Known {
    let mut known = other.known();
    if other.plan.check.probe != check.probe {
        known.load = None;
    }
    known
}

/// Where a probe's socket is connected to.
fn address(real: &Real, check: &Check, way: Way) -> SocketAddr {
    let host = match way {
        Way::Local(vip) => vip,
        Way::Real | Way::Through { .. } => real.id.address,
    };
    SocketAddr::new(host, check.port.unwrap_or(real.id.port))
}

/// What is done with its packets.
fn redirect(real: &Real, check: &Check, way: Way) -> Option<Redirect> {
    match way {
        Way::Real | Way::Local(_) => None,
        Way::Through { vip, tunnel } => Some(Redirect {
            vip,
            real: real.id.address,
            tunnel,
            timeout: check.timing.timeout,
        }),
    }
}

/// Plans of checks, each made once: regular expressions and certificates are not small.
struct Plans(Vec<Arc<Plan>>);

impl Plans {
    fn of<'a>(running: impl Iterator<Item = &'a Running>) -> Self {
        let mut plans: Vec<Arc<Plan>> = Vec::new();
        for of in running {
            if !plans.iter().any(|plan| Arc::ptr_eq(plan, &of.plan)) {
                plans.push(Arc::clone(&of.plan));
            }
        }
        Self(plans)
    }

    fn get(&mut self, check: &Check) -> Arc<Plan> {
        if let Some(plan) = self.0.iter().find(|plan| plan.check == *check) {
            return Arc::clone(plan);
        }
        let plan = Arc::new(Plan::new(check.clone()));
        self.0.push(Arc::clone(&plan));
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{
            health::{OnFailure, Probe},
            model::ForwardingMethod,
        },
        health::probe::Load,
    };

    fn real() -> Real {
        let id = RealId {
            address: [127, 0, 0, 1].into(),
            port: 9,
        };
        Real::new(id, ForwardingMethod::Nat)
    }

    fn service() -> ServiceId {
        "tcp:192.0.2.10:80".parse().unwrap()
    }

    fn check(port: u16) -> Check {
        let mut check = Check::new(Probe::Tcp);
        // They are not asked while the test runs.
        check.timing.warmup = std::time::Duration::from_secs(3600);
        check.port = Some(port);
        check
    }

    fn set(checks: &mut Checks, wanted: &[Check], former: Option<&Known>) -> Vec<Known> {
        let health = Health {
            checks: wanted.to_vec(),
            ..Health::default()
        };
        let real = real();
        let former = |_| former.cloned();
        checks.set(service(), &health, std::iter::once(&real), former, |_| {
            false
        });
        let running = checks.of(service(), real.id);
        running.iter().map(Running::known).collect()
    }

    fn states(known: &[Known]) -> Vec<bool> {
        known.iter().map(|known| known.is_up).collect()
    }

    #[tokio::test]
    async fn what_is_the_same_goes_on_wherever_it_stands() {
        let (mut checks, _changes) = Checks::new();
        let down = Known::new(false, "refused".into());
        let up = Known::new(true, String::new());
        assert_eq!(states(&set(&mut checks, &[check(1)], Some(&down))), [false]);
        let moved = set(&mut checks, &[check(2), check(1)], Some(&up));
        assert_eq!(states(&moved), [true, false]);
        // The one that is gone leaves its state to nobody who has one.
        assert_eq!(states(&set(&mut checks, &[check(1)], None)), [false]);
        assert_eq!(states(&set(&mut checks, &[check(2)], None)), [false]);
        let mut quiesces = check(2);
        quiesces.on_failure = OnFailure::Quiesce;
        assert_eq!(states(&set(&mut checks, &[quiesces], None)), [false]);
        assert_eq!(set(&mut checks, &[], None), []);
        assert_eq!(states(&set(&mut checks, &[check(2)], None)), [true]);
    }

    /// A check that is asked something else has said nothing of the weight.
    #[tokio::test]
    async fn a_load_is_that_of_its_question() {
        let (mut checks, _changes) = Checks::new();
        let drained = Known {
            load: Some(Load::Drain),
            ..Known::new(true, String::new())
        };
        set(&mut checks, &[check(1)], Some(&drained));
        let other_port = set(&mut checks, &[check(2)], None);
        assert_eq!(other_port[0].load, Some(Load::Drain));
        let mut icmp = check(2);
        icmp.probe = Probe::Icmp;
        assert_eq!(set(&mut checks, &[icmp], None)[0].load, None);
    }

    #[tokio::test]
    async fn only_what_is_new_begins_by_alpha() {
        let (mut checks, _changes) = Checks::new();
        let mut alpha = check(1);
        alpha.alpha = true;
        assert_eq!(
            states(&set(&mut checks, std::slice::from_ref(&alpha), None)),
            [false]
        );
        checks.remove(service());
        checks.is_restart = true;
        assert_eq!(states(&set(&mut checks, &[alpha], None)), [true]);
    }
}
