//! How often the tables are walked over: seldom enough to cost little, with a look
//! ahead that is long enough for nothing to count for 5 s after it is over, unless
//! a walk takes seconds itself.

use std::time::Duration;

use lb_common::limits::SHORT_TIMEOUT_S;

/// From the start of one walk to the start of the next.
pub(super) const SHORTEST: Duration = Duration::from_millis(4500);
const LONGEST: Duration = Duration::from_secs(33);
/// Walks take one part in so many of one CPU's time.
const SHARE: u32 = 60;

/// The same while half-open entries are dropped: as IPVS's `defense_work`.
const SHORTEST_IN_DEFENCE: Duration = Duration::from_secs(1);
const SHARE_IN_DEFENCE: u32 = 10;

/// What is over so long before the next walk, or later, waits for it.
const LATE: Duration = Duration::from_secs(3);

const _: () = assert!(LONGEST.as_secs() == LATE.as_secs() + SHORT_TIMEOUT_S as u64);

/// The period after a walk that took so much CPU time.
pub(super) fn after(cost: Duration) -> Duration {
    (cost * SHARE).clamp(SHORTEST, LONGEST)
}

/// Likewise, while `drop_entry` is in force.
pub(super) fn in_defence(cost: Duration) -> Duration {
    (cost * SHARE_IN_DEFENCE).clamp(SHORTEST_IN_DEFENCE, LONGEST)
}

/// How far a walk looks ahead: what is over by then is ended without the next.
pub(super) fn ahead(period: Duration) -> Duration {
    period.saturating_sub(LATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_take_a_sixtieth_of_a_cpu_at_most() {
        let ms = Duration::from_millis;
        assert_eq!(after(Duration::ZERO), SHORTEST);
        assert_eq!(after(ms(75)), SHORTEST);
        assert_eq!(after(ms(300)), Duration::from_secs(18));
        assert_eq!(after(ms(2000)), LONGEST);
        assert_eq!(in_defence(ms(1)), Duration::from_secs(1));
        assert_eq!(in_defence(ms(300)), Duration::from_secs(3));
    }
}
