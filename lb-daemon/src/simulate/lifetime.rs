//! How long connections are active.

use std::{str::FromStr, time::Duration};

use super::chance::Chance;
use crate::config::file;

/// Pareto's shape: the mean is there, the variance is infinite, as the sizes of
/// what is fetched over the web are.
const SHAPE: f64 = 1.5;

/// The longest mean that is accepted: a year.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// A distribution of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    Fixed(Duration),
    /// Evenly between the two.
    Uniform(Duration, Duration),
    /// With this mean.
    Exponential(Duration),
    /// With this mean: most are short, a few very long.
    Pareto(Duration),
}

impl Lifetime {
    /// A time in ns by chance.
    pub fn draw(self, chance: &mut Chance) -> u64 {
        let unit = chance.unit();
        let seconds = match self {
            Self::Fixed(time) => return time.as_nanos() as u64,
            Self::Uniform(from, to) => from.as_secs_f64() + (to - from).as_secs_f64() * unit,
            Self::Exponential(mean) => -unit.ln() * mean.as_secs_f64(),
            Self::Pareto(mean) => {
                let least = mean.as_secs_f64() * (SHAPE - 1.0) / SHAPE;
                least / unit.powf(1.0 / SHAPE)
            }
        };
        nanoseconds(seconds)
    }
}

/// A casting `as` stays within the type's range.
pub(super) fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

impl FromStr for Lifetime {
    type Err = String;

    /// `2s`, `fixed:2s`, `uniform:1s-3s`, `exp:2s`, `pareto:2s`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, times) = text.split_once(':').unwrap_or(("fixed", text));
        match kind {
            "fixed" => time(times).map(Self::Fixed),
            "exp" => time(times).map(Self::Exponential),
            "pareto" => time(times).map(Self::Pareto),
            "uniform" => {
                let (from, to) = times
                    .split_once('-')
                    .ok_or_else(|| format!("{text:?}: expected uniform:1s-3s"))?;
                let (from, to) = (time(from)?, time(to)?);
                if from > to {
                    return Err(format!("{text:?}: the first time is the longer one"));
                }
                Ok(Self::Uniform(from, to))
            }
            _ => Err(format!(
                "{text:?} is not a distribution: expected 2s, uniform:1s-3s, exp:2s or pareto:2s"
            )),
        }
    }
}

/// A duration as in `lbd.toml`, of a year at most.
pub fn time(text: &str) -> Result<Duration, String> {
    let time = file::duration(text)?;
    if time > LONGEST {
        return Err(format!("{text:?} is too long: 365d at most"));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(text: &str) -> f64 {
        let (lifetime, mut chance): (Lifetime, _) = (text.parse().unwrap(), Chance::new(1, 1));
        let sum: f64 = (0..20_000).map(|_| lifetime.draw(&mut chance) as f64).sum();
        sum / 20_000.0 / 1e9
    }

    #[test]
    fn distributions_have_their_means() {
        for (text, expected, within) in [
            ("2s", 2.0, 1e-9),
            ("fixed:500ms", 0.5, 1e-9),
            ("uniform:1s-3s", 2.0, 0.05),
            ("exp:2s", 2.0, 0.05),
            ("pareto:2s", 2.0, 0.4),
        ] {
            let mean = mean(text);
            assert!((mean - expected).abs() <= within, "{text}: {mean}");
        }
    }

    #[test]
    fn what_is_none_is_said() {
        for (text, part) in [
            ("", "is not a duration"),
            ("2", "is not a duration"),
            ("exp:", "is not a duration"),
            ("normal:2s", "is not a distribution"),
            ("uniform:1s", "expected uniform:1s-3s"),
            ("uniform:3s-1s", "the first time is the longer one"),
            ("366d", "is too long"),
        ] {
            let error = text.parse::<Lifetime>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
