//! The figures of all rounds, and what is said of them: medians, quartiles, ratios.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;

/// What the other contenders are compared to.
pub(crate) const PLAIN: &str = "plain forwarding";

/// A figure of a contender in a case, one sample a round.
struct Series {
    case: &'static str,
    unit: &'static str,
    contender: String,
    samples: Vec<f64>,
}

/// All series.
#[derive(Default)]
pub(crate) struct Figures {
    series: Vec<Series>,
}

/// What a series comes to.
struct Summary {
    median: f64,
    q1: f64,
    q3: f64,
}

impl Figures {
    /// Takes another round's sample.
    pub(crate) fn add(
        &mut self,
        case: &'static str,
        unit: &'static str,
        contender: &str,
        sample: f64,
    ) {
        if let Some(series) = self
            .series
            .iter_mut()
            .find(|series| series.case == case && series.contender == contender)
        {
            series.samples.push(sample);
            return;
        }
        self.series.push(Series {
            case,
            unit,
            contender: contender.to_owned(),
            samples: vec![sample],
        });
    }

    /// `median (q1-q3)` for a table, in another unit: times `scale`.
    pub(crate) fn spread(&self, case: &str, contender: &str, scale: f64, digits: usize) -> String {
        let Some(series) = self.find(case, contender) else {
            return "-".to_owned();
        };
        let Summary { median, q1, q3 } = Summary::of(series.samples.clone());
        let [median, q1, q3] = [median, q1, q3].map(|value| value * scale);
        format!("{median:.digits$} ({q1:.digits$}-{q3:.digits$})")
    }

    /// [`Self::ratio`] for a table.
    pub(crate) fn ratio_text(&self, case: &str, contender: &str, base: &str) -> String {
        let ratio = self.ratio(case, contender, base);
        ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
    }

    /// Of all rounds.
    pub(crate) fn sum(&self, case: &str, contender: &str) -> f64 {
        let series = self.find(case, contender);
        series.map_or(0.0, |series| series.samples.iter().sum())
    }

    /// The median of the rounds' ratios: what was measured in the same round shares what
    /// the machine did besides.
    fn ratio(&self, case: &str, contender: &str, base: &str) -> Option<f64> {
        let (own, base) = (self.find(case, contender)?, self.find(case, base)?);
        let pairs = own.samples.iter().zip(&base.samples);
        Some(Summary::of(pairs.map(|(own, base)| own / base).collect()).median)
    }

    /// An array of objects: `case`, `contender`, `value` (the median), `unit`, `q1`, `q3`,
    /// `ratio` (to plain forwarding in the same case; null where there is none), `runs`.
    pub(crate) fn write_json(&self, path: &Path) -> Result<()> {
        let objects: Vec<_> = self
            .series
            .iter()
            .map(|series| {
                let summary = Summary::of(series.samples.clone());
                let ratio = self.ratio(series.case, &series.contender, PLAIN);
                json!({
                    "case": series.case,
                    "contender": series.contender,
                    "value": summary.median,
                    "unit": series.unit,
                    "q1": summary.q1,
                    "q3": summary.q3,
                    "ratio": ratio.filter(|ratio| ratio.is_finite()),
                    "runs": series.samples.len(),
                })
            })
            .collect();
        let text = serde_json::to_string_pretty(&objects)? + "\n";
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }

    fn find(&self, case: &str, contender: &str) -> Option<&Series> {
        let is_it = |series: &&Series| series.case == case && series.contender == contender;
        self.series.iter().find(is_it)
    }
}

impl Summary {
    /// Of at least one sample.
    fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (samples.len() - 1) as f64;
            let (below, above) = (samples[place as usize], samples[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        Self {
            median: at(0.5),
            q1: at(0.25),
            q3: at(0.75),
        }
    }
}
