//! When a service counts as up: by the sum of its up reals' weights, with a
//! hysteresis, as keepalived has it (`keepalived/check/ipwrapper.c`,
//! `update_quorum_state`, and `check_data.c`, `validate_check_config`).
//! A service has its quorum until shown otherwise.

use crate::config::health::Quorum;

/// The sums of weights at which a service's quorum is lost and regained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// From 1 on: without any weight there is never one.
    lost_below: u64,
    /// Not below `lost_below`.
    regained_at: u64,
}

impl Thresholds {
    /// Those of a service whose reals' weights, up or not, add up to
    /// `total_weight`.
    ///
    /// keepalived lowers a quorum above the total to it, "otherwise we will never be
    /// able to come up", and then a hysteresis that is not below the quorum to one
    /// less. The sum of both it leaves above the total, and such a service never
    /// regains what it lost; here it does with all of its reals.
    #[must_use]
    pub fn new(config: &Quorum, total_weight: u64) -> Self {
        let up = u64::from(config.up).min(total_weight).max(1);
        let hysteresis = u64::from(config.hysteresis).min(up - 1);
        Self {
            lost_below: up - hysteresis,
            regained_at: (up + hysteresis).min(total_weight).max(up),
        }
    }

    /// Whether there is a quorum now. keepalived: regained if `weight_sum >= quorum +
    /// hysteresis`, lost if `!weight_sum || weight_sum < quorum - hysteresis`.
    #[must_use]
    pub const fn next(self, has_quorum: bool, up_weight: u64) -> bool {
        let threshold = if has_quorum {
            self.lost_below
        } else {
            self.regained_at
        };
        up_weight >= threshold
    }

    /// Whether there is a quorum after all of `turns`, in order of time: the weight of a
    /// real, and whether it came up or went down. Before the first one the up reals'
    /// weights add up to `up_weight`.
    #[must_use]
    pub fn after(&self, mut up_weight: u64, turns: impl IntoIterator<Item = (u64, bool)>) -> bool {
        let mut has_quorum = self.next(true, up_weight);
        for (weight, is_up) in turns {
            up_weight = match is_up {
                true => up_weight.saturating_add(weight),
                false => up_weight.saturating_sub(weight),
            };
            has_quorum = self.next(has_quorum, up_weight);
        }
        has_quorum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Where the weights of all reals are enough for what is configured.
    fn next(config: &Quorum, has_quorum: bool, up_weight: u64) -> bool {
        Thresholds::new(config, u64::MAX).next(has_quorum, up_weight)
    }

    fn quorum(up: u32, hysteresis: u32) -> Quorum {
        Quorum {
            up,
            hysteresis,
            ..Quorum::default()
        }
    }

    /// Three of four that come back do not regain it, four do.
    #[test]
    fn after_what_happened() {
        let thresholds = Thresholds::new(&quorum(3, 1), 4);
        let turns = [false, false, false, true, true, true].map(|is_up| (1, is_up));
        for (count, has_quorum) in [(0, true), (2, true), (3, false), (5, false), (6, true)] {
            let turns = turns.into_iter().take(count);
            assert_eq!(thresholds.after(4, turns), has_quorum, "{count}");
        }
        assert!(!thresholds.after(1, []));
    }

    #[test]
    fn by_default_one_real_is_enough() {
        let config = Quorum::default();
        for has_quorum in [true, false] {
            assert!(next(&config, has_quorum, 1));
            assert!(!next(&config, has_quorum, 0));
        }
    }

    /// Lost below 3, regained at 7: between them it is as it was.
    #[test]
    fn it_is_lost_and_regained_apart() {
        let config = quorum(5, 2);
        for (has_quorum, up_weight, then) in [
            (true, 4, true),
            (true, 3, true),
            (true, 2, false),
            (false, 3, false),
            (false, 6, false),
            (false, 7, true),
        ] {
            assert_eq!(
                next(&config, has_quorum, up_weight),
                then,
                "{has_quorum} {up_weight}"
            );
        }
    }

    /// A sum of 6 never gets to 7, one of 4 not even to 5.
    #[test]
    fn what_cannot_be_reached_is_regained_with_all() {
        let at_most = |total| Thresholds::new(&quorum(5, 2), total);
        assert!(!at_most(6).next(false, 5) && at_most(6).next(false, 6));
        assert!(at_most(6).next(true, 3) && !at_most(6).next(true, 2));
        assert!(!at_most(4).next(false, 3) && at_most(4).next(false, 4));
        assert!(at_most(4).next(true, 2) && !at_most(4).next(true, 1));
        assert!(at_most(1).next(false, 1) && !at_most(1).next(true, 0));
        assert!(!at_most(0).next(true, 0) && !at_most(0).next(false, 0));
    }

    proptest! {
        #[test]
        fn all_are_enough_and_none_never(
            up in 1..=u32::MAX,
            hysteresis in 0..=u32::MAX,
            total in 1_u64..,
            has_quorum: bool,
        ) {
            let thresholds = Thresholds::new(&quorum(up, hysteresis), total);
            prop_assert!(thresholds.lost_below <= thresholds.regained_at);
            prop_assert!(thresholds.next(has_quorum, total));
            prop_assert!(!thresholds.next(has_quorum, 0));
        }

        /// Once it has turned over, the same sum does not turn it back.
        #[test]
        fn it_does_not_flap(up in 1_u32..100, hysteresis in 0_u32..100, sum in 0_u64..300, total in 0_u64..300) {
            let thresholds = Thresholds::new(&quorum(up, hysteresis), total);
            for has_quorum in [true, false] {
                let then = thresholds.next(has_quorum, sum);
                prop_assert_eq!(thresholds.next(then, sum), then);
            }
        }
    }
}
