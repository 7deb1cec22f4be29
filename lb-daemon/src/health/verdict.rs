//! What a real's checks say together. Pure.

use lb_common::limits::MAX_WEIGHT;

use super::{check::Known, probe::Load};
use crate::{
    config::health::{OnFailure, Require},
    reconcile::standing::Standing,
};

/// What is held of a real, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub standing: Standing,
    /// If it is down: the types of the checks that say so, and the first one's reason.
    pub checks: String,
    pub reason: String,
}

/// What one check thinks, and what is to become of a real that it fails.
#[derive(Clone, Copy, Debug)]
pub struct Opinion<'a> {
    pub of_type: &'static str,
    pub known: &'a Known,
    pub on_failure: OnFailure,
}

impl Verdict {
    #[must_use]
    pub const fn up() -> Self {
        Self {
            standing: Standing::Up,
            checks: String::new(),
            reason: String::new(),
        }
    }

    /// Of all opinions of a real of this weight; none: it is up.
    #[must_use]
    pub fn of(opinions: &[Opinion<'_>], require: Require, weight: u32) -> Self {
        let mut against = opinions.iter().filter(|opinion| !opinion.known.is_up);
        let is_up = match require {
            Require::All => against.clone().next().is_none(),
            Require::Any => opinions.is_empty() || against.clone().count() < opinions.len(),
        };
        if is_up {
            let loads = opinions.iter().filter_map(|opinion| opinion.known.load);
            let wanted = loads.filter_map(|load| load_weight(load, weight)).min();
            return Self {
                standing: wanted.map_or(Standing::Up, Standing::Weighs),
                checks: String::new(),
                reason: String::new(),
            };
        }
        let types: Vec<_> = against.clone().map(|opinion| opinion.of_type).collect();
        // The strictest of them is followed.
        let removes = |opinion: &Opinion<'_>| opinion.on_failure == OnFailure::Remove;
        let on_failure = match against.clone().any(removes) {
            true => OnFailure::Remove,
            false => OnFailure::Quiesce,
        };
        Self {
            standing: Standing::Down(on_failure),
            checks: types.join(", "),
            reason: against
                .next()
                .map_or_else(String::new, |first| first.known.reason.clone()),
        }
    }
}

/// The weight that a real of this one asks for; none: its own.
fn load_weight(load: Load, weight: u32) -> Option<u32> {
    match load {
        Load::Ready => None,
        Load::Drain => Some(0),
        Load::Weight(wanted) => Some(wanted.min(MAX_WEIGHT)),
        // What has a part at all has no less than 1.
        Load::Percent(percent) => {
            let part = (u64::from(weight) * u64::from(percent)).div_ceil(100);
            Some(part.min(MAX_WEIGHT.into()) as u32)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(is_up: bool, load: Option<Load>) -> Known {
        Known {
            load,
            ..Known::new(is_up, "refused".into())
        }
    }

    fn standing(of: &[(bool, OnFailure)], require: Require) -> Standing {
        let known: Vec<_> = of.iter().map(|(is_up, _)| known(*is_up, None)).collect();
        let opinions: Vec<_> = known
            .iter()
            .zip(of)
            .map(|(known, (_, on_failure))| Opinion {
                of_type: "tcp",
                known,
                on_failure: *on_failure,
            })
            .collect();
        Verdict::of(&opinions, require, 1).standing
    }

    #[test]
    fn all_or_any_must_succeed() {
        use OnFailure::{Quiesce, Remove};
        let down = Standing::Down;
        for (of, all, any) in [
            (&[][..], Standing::Up, Standing::Up),
            (&[(true, Remove)], Standing::Up, Standing::Up),
            (&[(false, Quiesce)], down(Quiesce), down(Quiesce)),
            (
                &[(false, Quiesce), (true, Remove)],
                down(Quiesce),
                Standing::Up,
            ),
            (
                &[(false, Quiesce), (false, Remove)],
                down(Remove),
                down(Remove),
            ),
        ] {
            assert_eq!(standing(of, Require::All), all, "{of:?}");
            assert_eq!(standing(of, Require::Any), any, "{of:?}");
        }
    }

    #[test]
    fn the_lowest_load_is_the_weight() {
        let weight = |loads: &[Option<Load>], weight| {
            let known: Vec<_> = loads.iter().map(|load| known(true, *load)).collect();
            let opinion = |known| Opinion {
                of_type: "agent",
                known,
                on_failure: OnFailure::Remove,
            };
            let opinions: Vec<_> = known.iter().map(opinion).collect();
            Verdict::of(&opinions, Require::All, weight).standing
        };
        for (loads, configured, expected) in [
            (&[None][..], 4, Standing::Up),
            (&[Some(Load::Ready)], 4, Standing::Up),
            (&[Some(Load::Percent(50))], 4, Standing::Weighs(2)),
            (&[Some(Load::Percent(1))], 4, Standing::Weighs(1)),
            (&[Some(Load::Percent(0))], 4, Standing::Weighs(0)),
            (
                &[Some(Load::Percent(65_535))],
                65_535,
                Standing::Weighs(65_535),
            ),
            (&[Some(Load::Weight(70_000))], 4, Standing::Weighs(65_535)),
            (&[Some(Load::Percent(75))], 0, Standing::Weighs(0)),
            (&[Some(Load::Weight(9)), None], 4, Standing::Weighs(9)),
            (
                &[Some(Load::Weight(9)), Some(Load::Drain)],
                4,
                Standing::Weighs(0),
            ),
        ] {
            assert_eq!(weight(loads, configured), expected, "{loads:?}");
        }
    }
}
