//! The table, and its JSON.

use std::{collections::HashMap, fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};

/// One figure.
pub(crate) struct Line {
    pub case: String,
    pub flows: u32,
    /// Nanoseconds a packet, the wrapper's share included.
    pub ns: f64,
    /// Net of the wrapped `XDP_TX`.
    pub ns_net: f64,
}

pub(crate) struct Report {
    runs: u32,
    lines: Vec<Line>,
}

impl Report {
    pub(crate) fn new(runs: u32) -> Self {
        Self {
            runs,
            lines: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, line: Line) {
        eprintln!("{}, {} flows: {:.0} ns", line.case, line.flows, line.ns_net);
        self.lines.push(line);
    }

    pub(crate) fn extend(&mut self, lines: Vec<Line>) {
        self.lines.extend(lines);
    }

    /// `reference` is its own net figure.
    pub(crate) fn print(&self, reference: f64, instructions: &HashMap<String, u32>) {
        println!(
            "least of {} runs; net of a wrapped XDP_TX; ratio to the reference program\n",
            self.runs
        );
        println!(
            "{:<22} {:>9} {:>8} {:>8} {:>7}",
            "case", "flows", "ns", "ns net", "ratio"
        );
        for line in &self.lines {
            let Line {
                case,
                flows,
                ns,
                ns_net,
            } = line;
            println!(
                "{case:<22} {flows:>9} {ns:>8.1} {ns_net:>8.1} {:>7.2}",
                ns_net / reference
            );
        }
        println!("\nverifier's instructions");
        let mut programs: Vec<_> = instructions.iter().collect();
        programs.sort();
        for (name, count) in programs {
            println!("{name:<22} {count:>9}");
        }
    }

    pub(crate) fn write_json(&self, path: &Path, reference: f64) -> Result<()> {
        let mut json = String::from("[");
        for (index, line) in self.lines.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let Line {
                case,
                flows,
                ns,
                ns_net,
            } = line;
            write!(
                json,
                "{comma}\n{{\"case\":\"{case}\",\"flows\":{flows},\"ns\":{ns:.1},\"ns_net\":{ns_net:.1},\
                 \"ratio\":{:.2},\"runs\":{}}}",
                ns_net / reference,
                self.runs
            )?;
        }
        json.push_str("\n]\n");
        fs::write(path, json).with_context(|| format!("write {}", path.display()))
    }
}
