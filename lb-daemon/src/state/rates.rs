//! What reals' counters have grown by a second of late, as IPVS reckons it
//! (`ip_vs_est.c`): looked at every two seconds, each time a quarter of the way
//! from what was thought before.

use std::time::{Duration, Instant};

use lb_common::stats::RealStats;
use tracing::warn;

use super::{
    director::Director,
    handle::{By, ChangeError, ServiceRef},
    view::failed,
};
use crate::api::wire::EventKind;

const PERIOD: Duration = Duration::from_secs(2);

/// Fractional bits of an estimate.
const SCALE: u32 = 10;

/// The estimates of all reals.
#[derive(Debug)]
pub(super) struct Rates {
    /// By real slot; none where it is free.
    estimates: Vec<Option<Estimate>>,
    next: Instant,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Estimate {
    /// The counters when they were looked at last.
    last: RealStats,
    /// A second's, times 2^[`SCALE`].
    scaled: RealStats,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            estimates: Vec::new(),
            next: Instant::now(),
        }
    }
}

impl Rates {
    /// When the counters are to be looked at next.
    pub(super) const fn next(&self) -> Instant {
        self.next
    }

    /// The sum for some slots, a second's.
    pub(super) fn of(&self, slots: impl IntoIterator<Item = u32>) -> RealStats {
        let mut sum = RealStats::default();
        for slot in slots {
            if let Some(Some(estimate)) = self.estimates.get(slot as usize) {
                sum += estimate.scaled;
            }
        }
        each(sum, RealStats::default(), |scaled, _| {
            (scaled + (1 << (SCALE - 1))) >> SCALE
        })
    }

    /// Takes a look: at the counters of every slot, of which some are in use.
    fn sample(&mut self, counters: &[RealStats], is_used: impl Fn(u32) -> bool) {
        self.estimates.resize(counters.len(), None);
        for ((slot, estimate), now) in (0..).zip(&mut self.estimates).zip(counters) {
            let next = |before: &Estimate| before.next(*now);
            *estimate =
                is_used(slot).then(|| estimate.as_ref().map_or_else(|| Estimate::new(*now), next));
        }
    }

    fn forget(&mut self, slots: &[u32]) {
        for slot in slots {
            if let Some(estimate) = self.estimates.get_mut(*slot as usize) {
                *estimate = None;
            }
        }
    }
}

impl Estimate {
    fn new(now: RealStats) -> Self {
        Self {
            last: now,
            scaled: RealStats::default(),
        }
    }

    fn next(self, now: RealStats) -> Self {
        // The slot is another real's.
        if now.connections < self.last.connections || now.in_packets < self.last.in_packets {
            return Self::new(now);
        }
        let grown = each(now, self.last, |now, last| {
            now.saturating_sub(last) << (SCALE - 1)
        });
        let scaled = each(self.scaled, grown, |old, new| {
            // Rounded down either way, as the kernel's shift is.
            old.wrapping_add(((new.wrapping_sub(old)).cast_signed() >> 2).cast_unsigned())
        });
        Self { last: now, scaled }
    }
}

fn each(a: RealStats, b: RealStats, f: impl Fn(u64, u64) -> u64) -> RealStats {
    RealStats {
        connections: f(a.connections, b.connections),
        in_packets: f(a.in_packets, b.in_packets),
        in_bytes: f(a.in_bytes, b.in_bytes),
        out_packets: f(a.out_packets, b.out_packets),
        out_bytes: f(a.out_bytes, b.out_bytes),
    }
}

impl Director {
    pub(super) fn sample_rates(&mut self) {
        self.rates.next = Instant::now() + PERIOD;
        let image = self.reconciler.image();
        let counters = self
            .reconciler
            .tables()
            .all_real_stats(image.real_slots_end());
        match counters {
            Ok(counters) => {
                self.rates
                    .sample(&counters, |slot| image.is_real_slot(slot));
                self.hurry_checks(&counters);
            }
            Err(error) => warn!(%error, "the counters cannot be read"),
        }
    }

    /// Sets counters to 0, those of deleted reals too.
    pub(super) fn zero(&mut self, at: Option<&ServiceRef>, by: By) -> Result<(), ChangeError> {
        let services: Vec<_> = match at {
            Some(at) => {
                let found = self.desired.find_all(at)?.into_iter();
                found.map(|index| self.desired.services[index].id).collect()
            }
            None => self.desired.services.iter().map(|entry| entry.id).collect(),
        };
        for &id in &services {
            let image = self.reconciler.image();
            let slots: Vec<_> = image.slots_of(id).collect();
            let service = image.service_slot(id);
            self.rates.forget(&slots);
            let tables = self.reconciler.tables_mut();
            tables.clear_real_stats(&slots).map_err(failed)?;
            if let Some(slot) = service {
                tables
                    .set_service_stats(slot, RealStats::default())
                    .map_err(failed)?;
            }
        }
        let what = at.map_or("all services".into(), |at| format!("service {at}"));
        let text = format!("{what}: counters zeroed");
        self.events_out.tell(EventKind::Counters, by, text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(connections: u64, in_bytes: u64) -> RealStats {
        RealStats {
            connections,
            in_bytes,
            ..RealStats::default()
        }
    }

    /// A look at slot 7, which is the only one in use.
    fn sample(rates: &mut Rates, of_7: RealStats) {
        let mut all = [RealStats::default(); 8];
        all[7] = of_7;
        rates.sample(&all, |slot| slot == 7);
    }

    /// A steady flow is seen as it is after a while, a quarter at once; when it
    /// ends the rate goes down to 0.
    #[test]
    fn a_steady_flow_is_seen_as_it_is() {
        let mut rates = Rates::default();
        let look = |rates: &mut Rates, n| sample(rates, counters(n, 1000 * n));
        look(&mut rates, 1_000_000);
        assert_eq!(rates.of([7]), RealStats::default());
        look(&mut rates, 1_000_200);
        assert_eq!(rates.of([7]), counters(25, 25_000));
        for n in 2..60 {
            look(&mut rates, 1_000_000 + 200 * n);
        }
        assert_eq!(rates.of([7, 8]), counters(100, 100_000));
        for _ in 0..60 {
            look(&mut rates, 1_000_000 + 200 * 59);
        }
        assert_eq!(rates.of([7]), RealStats::default());
    }

    #[test]
    fn another_real_in_the_slot_begins_at_nothing() {
        let mut rates = Rates::default();
        for connections in [500, 900, 3] {
            sample(&mut rates, counters(connections, 0));
        }
        assert_eq!(rates.of([7]), RealStats::default());
        sample(&mut rates, counters(11, 0));
        assert_eq!(rates.of([7]), counters(1, 0));
        rates.sample(&[counters(11, 0); 8], |_| false);
        assert_eq!(rates.estimates, [None; 8]);
        rates.sample(&[], |_| false);
        assert!(rates.estimates.is_empty());
    }
}
