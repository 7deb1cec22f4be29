//! Slow start: a real that comes up beside others has a small share of its part
//! at first, and its whole one after the service's `slow_start`. Since when is in
//! the maps, so that a new daemon goes on with it.

use std::time::{Duration, Instant};

use lb_common::scheduler::{FULL_SHARE, Listed};
use nix::time::{ClockId, clock_gettime};

use super::image::{Image, ServiceImage};
use crate::config::model::{RealId, Service, ServiceId};

/// The monotonic clock as the maps have it, beside the one of this process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    read_at: Instant,
    read_ms: u32,
}

impl Clock {
    pub fn read() -> Self {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        Self {
            read_at: Instant::now(),
            read_ms: now.as_millis() as u32,
        }
    }

    /// Milliseconds modulo 2^32, and not 0.
    pub fn ms(self, at: Instant) -> u32 {
        let since = at.saturating_duration_since(self.read_at).as_millis() as u32;
        self.read_ms.wrapping_add(since).max(1)
    }

    /// How long ago `ms` was, of at most 24 days.
    fn age(self, ms: u32, now: Instant) -> Duration {
        // A clock that two CPUs read may go back.
        let age_ms = self.ms(now).wrapping_sub(ms).cast_signed().max(0);
        Duration::from_millis(age_ms.unsigned_abs().into())
    }
}

/// Whether a real that comes up has others beside it to spare it.
pub(super) fn has_others(service: &ServiceImage) -> bool {
    let plan = service.plan.as_ref();
    plan.is_some_and(|plan| plan.listed.iter().any(|real| real.weight > 0))
}

/// How much of its part a real takes that has been up for so long, in sixteenths.
pub(super) fn share(service: &Service, up: Duration) -> u32 {
    let Some(slow_start) = service.slow_start else {
        return FULL_SHARE;
    };
    if !service.scheduler.layout().starts_slowly() {
        return FULL_SHARE;
    }
    let sixteenths = up.as_millis() * u128::from(FULL_SHARE) / slow_start.as_millis().max(1);
    u32::try_from(sixteenths).map_or(FULL_SHARE, |done| (done + 1).min(FULL_SHARE))
}

impl Image {
    /// How long a real has been in its slow start; none: it is in none.
    pub(super) fn starting_for(&self, slot: u32, now: Instant) -> Option<Duration> {
        let up_since_ms = self.reals.get(&slot)?.server.up_since_ms;
        (up_since_ms != 0).then(|| self.clock.age(up_since_ms, now))
    }

    /// When it was made: times in it count from here.
    #[must_use]
    pub const fn began(&self) -> Instant {
        self.clock.read_at
    }

    /// When a service is to be planned anew because the share of one of its
    /// reals grows, by `slow_start` of the desired state: not before `now`.
    #[must_use]
    pub fn next_share_at(
        &self,
        id: ServiceId,
        slow_start: Duration,
        now: Instant,
    ) -> Option<Instant> {
        let plan = self.services.get(&id)?.plan.as_ref()?;
        let starting = plan.listed.iter().filter(|real| real.share < FULL_SHARE);
        let grows_in = |real: &Listed| {
            // A whole millisecond more: by then it has grown for sure.
            let grows = slow_start * real.share / FULL_SHARE + Duration::from_millis(1);
            Some(grows.saturating_sub(self.starting_for(real.slot, now)?))
        };
        Some(now + starting.filter_map(grows_in).min()?)
    }

    /// The sixteenths of its part that a real takes by the plan in force.
    #[must_use]
    pub fn share(&self, service: ServiceId, real: RealId) -> u32 {
        self.listed_share(service, real).unwrap_or(FULL_SHARE)
    }

    fn listed_share(&self, service: ServiceId, real: RealId) -> Option<u32> {
        let service = self.services.get(&service)?;
        let slot = *service.reals.get(&real)?;
        // Most are through, and not looked for.
        if self.reals.get(&slot)?.server.up_since_ms == 0 {
            return None;
        }
        let mut listed = service.plan.as_ref()?.listed.iter();
        listed
            .find(|listed| listed.slot == slot)
            .map(|listed| listed.share)
    }
}

#[cfg(test)]
mod tests {
    use lb_common::scheduler::Scheduler;

    use super::*;

    #[test]
    fn a_share_grows_from_one_sixteenth_to_all_of_them() {
        let mut web = Service::new("tcp:192.0.2.10:80".parse().unwrap(), Scheduler::Wlc);
        let share =
            |service: &Service, seconds| super::share(service, Duration::from_secs(seconds));
        assert_eq!(share(&web, 0), FULL_SHARE);
        web.slow_start = Some(Duration::from_secs(32));
        let shares = [0, 1, 2, 15, 16, 29, 30, 32, 3600].map(|at| share(&web, at));
        assert_eq!(shares, [1, 1, 2, 8, 9, 15, 16, 16, 16]);
        web.scheduler = Scheduler::Sh;
        assert_eq!(share(&web, 0), FULL_SHARE);
    }

    /// However long the daemon has been running, and when the clock wraps.
    #[test]
    fn ages_are_right_on_any_day() {
        let clock = Clock {
            read_at: Instant::now(),
            read_ms: u32::MAX - 100,
        };
        for days in [0, 20, 25, 49, 50, 75, 400] {
            let up = clock.read_at + Duration::from_hours(24 * days);
            let since_ms = clock.ms(up);
            assert_ne!(since_ms, 0);
            for ms in [0, 99, 102, 3_600_000] {
                let age = Duration::from_millis(ms);
                assert_eq!(clock.age(since_ms, up + age), age, "{days} days");
            }
        }
        let before = clock.ms(clock.read_at + Duration::from_millis(5));
        assert_eq!(clock.age(before, clock.read_at), Duration::ZERO);
        let wraps_to_0 = clock.read_at + Duration::from_millis(101);
        assert_ne!(clock.ms(wraps_to_0), 0);
    }
}
