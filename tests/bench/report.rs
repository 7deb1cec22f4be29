//! The figures: on the terminal as Markdown, for documents, and as JSON.

use std::{collections::HashMap, fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// What several runs took, nanoseconds a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub least: f64,
    pub median: f64,
    pub greatest: f64,
}

impl Figures {
    pub(crate) fn of(mut runs: Vec<f64>) -> Self {
        runs.sort_by(f64::total_cmp);
        let [least, .., greatest] = runs[..] else {
            let only = runs.first().copied().unwrap_or(f64::NAN);
            return Self {
                least: only,
                median: only,
                greatest: only,
            };
        };
        let middle = runs.len() / 2;
        let median = if runs.len() % 2 == 1 {
            runs[middle]
        } else {
            f64::midpoint(runs[middle - 1], runs[middle])
        };
        Self {
            least,
            median,
            greatest,
        }
    }
}

/// A case with a number of flows.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub case: String,
    pub flows: u32,
    /// The wrapper's share included.
    pub figures: Figures,
    /// The wrapper's share.
    pub base: f64,
}

impl Line {
    /// Net of the wrapper.
    pub(crate) fn net(&self) -> f64 {
        self.figures.least - self.base
    }

    /// Says on the way that it is there.
    pub(crate) fn announce(&self) {
        let (case, flows, net) = (&self.case, grouped(self.flows), self.net());
        eprintln!("{case}, {flows} flows: {net:.0} ns");
    }
}

pub(crate) struct Report {
    runs: u32,
    /// Of each number of flows.
    references: Vec<Line>,
    lines: Vec<Line>,
}

/// One object of the JSON.
#[derive(Serialize)]
struct Object<'a> {
    case: &'a str,
    flows: u32,
    ns: f64,
    ns_net: f64,
    ratio: f64,
    runs: u32,
    ns_median: f64,
    ns_max: f64,
}

impl Report {
    /// The first of the references is the unit of the ratios.
    pub(crate) fn new(runs: u32, references: Vec<Line>) -> Self {
        Self {
            runs,
            references,
            lines: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, line: Line) {
        line.announce();
        self.lines.push(line);
    }

    pub(crate) fn extend(&mut self, lines: Vec<Line>) {
        self.lines.extend(lines);
    }

    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }

    pub(crate) fn references(&self) -> &[Line] {
        &self.references
    }

    fn ratio(&self, line: &Line) -> f64 {
        line.net() / self.references.first().map_or(f64::NAN, Line::net)
    }

    /// A table with a row for each case.
    pub(crate) fn print(&self) {
        let lines = || self.references.iter().chain(&self.lines);
        let mut flows: Vec<_> = lines().map(|line| line.flows).collect();
        flows.sort_unstable();
        flows.dedup();
        println!(
            "ns a packet, the least of {} runs, net of a wrapped XDP_TX (ratio to `reference` \
             with 1 flow; median and greatest of the runs)\n",
            self.runs
        );
        let head = |flows: &u32| match flows {
            1 => " 1 flow |".to_owned(),
            _ => format!(" {} flows |", grouped(*flows)),
        };
        println!("| case |{}", flows.iter().map(head).collect::<String>());
        println!("| --- |{}", " --- |".repeat(flows.len()));
        let mut cases: Vec<&str> = Vec::new();
        for line in lines() {
            if !cases.contains(&line.case.as_str()) {
                cases.push(&line.case);
            }
        }
        for case in cases {
            let cell = |flows: &u32| {
                let line = lines().find(|line| line.case == case && line.flows == *flows);
                line.map_or_else(|| " – |".to_owned(), |line| self.cell(line))
            };
            println!("| `{case}` |{}", flows.iter().map(cell).collect::<String>());
        }
    }

    fn cell(&self, line: &Line) -> String {
        let Figures {
            median, greatest, ..
        } = line.figures;
        format!(
            " {:.0} ({:.2}; {:.0}, {:.0}) |",
            line.net(),
            self.ratio(line),
            median - line.base,
            greatest - line.base
        )
    }

    pub(crate) fn write_json(&self, path: &Path) -> Result<()> {
        let object = |line: &Line| {
            let tenths = |ns: f64| (ns * 10.0).round() / 10.0;
            let object = Object {
                case: &line.case,
                flows: line.flows,
                ns: tenths(line.figures.least),
                ns_net: tenths(line.net()),
                ratio: (self.ratio(line) * 100.0).round() / 100.0,
                runs: self.runs,
                ns_median: tenths(line.figures.median),
                ns_max: tenths(line.figures.greatest),
            };
            serde_json::to_string(&object)
        };
        let lines = self.references.iter().chain(&self.lines);
        let objects = lines.map(object).collect::<Result<Vec<_>, _>>()?;
        let json = format!("[\n{}\n]\n", objects.join(",\n"));
        fs::write(path, json).with_context(|| format!("write {}", path.display()))
    }
}

/// Instructions that the verifier walked, by program.
pub(crate) fn print_instructions(instructions: &HashMap<String, u32>) {
    println!("\nverifier's instructions");
    let mut programs: Vec<_> = instructions.iter().collect();
    programs.sort();
    for (name, count) in programs {
        println!("{name:<22} {count:>9}");
    }
}

/// 1,048,576.
pub(crate) fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        let _ = write!(text, "{digit}");
    }
    text
}
