//! The end of what lblc and lblcr remember of destinations that nobody asks for
//! any more: `ip_vs_lblc_check_expire()` of `ip_vs_lblc.c`, in the thread that
//! walks the connection tables.
//!
//! IPVS looks through a service's table every 60 s and forgets what has been
//! idle for 6 minutes where there is more than there should be, and every half
//! hour what has been idle for `lblc_expiry`. Here every look is of both kinds.
//!
//! No lock is held against the programs. A set that comes into use between the
//! look and its end is lost: the next connection to that destination goes by
//! wlc, as the first one did. What is remembered during a walk may be counted
//! twice; the next walk corrects that.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    time::{Duration, Instant},
};

use lb_common::{abi::Settings, scheduler::locality::MOST_DESTINATIONS};

use super::now_ns;
use crate::{
    dataplane::{
        localities::{LOCALITIES, Localities},
        syscall::lookup,
    },
    net::jitter::Jitter,
};

/// `CHECK_EXPIRE_INTERVAL`.
const PERIOD: Duration = Duration::from_mins(1);
/// `ENTRY_TIMEOUT`.
const PATIENCE_WHEN_FULL: Duration = Duration::from_mins(6);
/// Of all services, from which on the map is as good as full.
const NEARLY_FULL: u64 = LOCALITIES as u64 / 10 * 9;
/// Rest after each batch: the walk is spread out, not a burst.
const REST: Duration = Duration::from_millis(1);

pub(super) struct Forgetting {
    localities: Localities,
    settings: OwnedFd,
    next: Instant,
    jitter: Jitter,
}

impl Forgetting {
    /// The first time comes at once: nobody may have looked for long.
    pub fn new(localities: Localities, settings: OwnedFd) -> Self {
        Self {
            localities,
            settings,
            next: Instant::now(),
            jitter: Jitter::default(),
        }
    }

    /// Forgets what is idle, if it is time; where nothing is remembered, that
    /// takes one call.
    pub fn forget_when_due(&mut self, now: Instant) -> io::Result<()> {
        if now < self.next {
            return Ok(());
        }
        self.next = now + self.jitter.around(PERIOD);
        let before = self.localities.counts()?;
        let all = before.iter().copied().map(u64::from).sum();
        if all == 0 {
            return Ok(());
        }
        let settings: Option<Settings> = lookup(self.settings.as_fd(), &0_u32)?;
        let expiry_s = settings.map_or(u32::MAX, |settings| settings.locality_s);
        let expiry = Duration::from_secs(expiry_s.into());
        self.forget(&before, now_ns(), |count| patience(count, all, expiry))
    }

    /// `before`: what each service has had so far.
    fn forget(
        &self,
        before: &[u32],
        now_ns: u64,
        patience: impl Fn(u32) -> Duration,
    ) -> io::Result<()> {
        let mut left = vec![0; before.len()];
        self.localities.walk(REST, |key, set| {
            let service = key.service as usize;
            let count = before.get(service).copied().unwrap_or_default();
            if is_idle(set.used_ns, now_ns, patience(count)) {
                return self.localities.remove(key);
            }
            if let Some(left) = left.get_mut(service) {
                *left += 1;
            }
            Ok(())
        })?;
        let after = self.localities.counts()?;
        let services = before.iter().zip(left).zip(after);
        for (service, ((before, left), after)) in (0..).zip(services) {
            if let Some(count) = corrected(*before, left, after) {
                self.localities.set_count(service, count)?;
            }
        }
        Ok(())
    }
}

/// How long a destination of a service that has `count` may be idle; there are
/// `all` of all services.
fn patience(count: u32, all: u64, expiry: Duration) -> Duration {
    if count >= MOST_DESTINATIONS || all >= NEARLY_FULL {
        expiry.min(PATIENCE_WHEN_FULL)
    } else {
        expiry
    }
}

fn is_idle(used_ns: u64, now_ns: u64, patience: Duration) -> bool {
    let idle = Duration::from_nanos(now_ns.saturating_sub(used_ns));
    idle >= patience
}

/// What a service's count is to be after a walk that left so many; none: as it
/// is. What came during the walk counts, met or not: too many are corrected by
/// the next walk, but a count of 0 says that there is nothing to forget. One
/// that has fallen is the state task's, which has counted meanwhile.
fn corrected(before: u32, left: u32, after: u32) -> Option<u32> {
    let added = after.checked_sub(before)?;
    let count = left.saturating_add(added);
    (count != after).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_are_impatient() {
        let (day, minute) = (Duration::from_hours(24), Duration::from_mins(1));
        for (what, count, all, expiry, expected) in [
            ("room", MOST_DESTINATIONS - 1, 100_000, day, day),
            ("full", MOST_DESTINATIONS, 100_000, day, minute * 6),
            ("beyond", MOST_DESTINATIONS + 3, 100_000, day, minute * 6),
            ("map nearly full", 1, NEARLY_FULL, day, minute * 6),
            ("map not quite", 1, NEARLY_FULL - 1, day, day),
            ("short, full", MOST_DESTINATIONS, 100_000, minute, minute),
            ("short", 1, 1, minute, minute),
        ] {
            assert_eq!(patience(count, all, expiry), expected, "{what}");
        }
    }

    #[test]
    fn idle_from_the_last_moment_on() {
        let patience = Duration::from_secs(5);
        let second = 1_000_000_000;
        assert!(!is_idle(10 * second, 15 * second - 1, patience));
        assert!(is_idle(10 * second, 15 * second, patience));
        // Used after the walk began.
        assert!(!is_idle(16 * second, 15 * second, patience));
        assert!(!is_idle(u64::MAX, 15 * second, patience));
    }

    #[test]
    fn counts_are_made_right() {
        for (what, before, left, after, expected) in [
            ("right", 7, 7, 7, None),
            ("some ended", 7, 3, 7, Some(3)),
            ("all ended", 7, 0, 7, Some(0)),
            ("more than was known", 0, 2, 0, Some(2)),
            ("one came, met or not", 7, 3, 8, Some(4)),
            ("one came, as many went", 7, 7, 8, None),
            ("forgotten meanwhile", 7, 5, 2, None),
        ] {
            assert_eq!(corrected(before, left, after), expected, "{what}");
        }
    }
}
