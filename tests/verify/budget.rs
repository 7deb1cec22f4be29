//! `budgets.toml`: what each program was when it was last recorded, and how far
//! it may grow.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::{fs, path::Path};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::Verified;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/verify/budgets.toml");

/// A budget is never more than half of what the kernel allows
/// (`BPF_COMPLEXITY_LIMIT_INSNS`, a million, in include/linux/bpf.h): other
/// kernels' verifiers walk more than the one that budgets are recorded on.
const MOST: u32 = 500_000;

/// A new budget has a quarter of room, in full thousands.
const STEP: u32 = 1000;

/// The file.
#[derive(Debug, Deserialize)]
pub(crate) struct Budgets {
    /// The kernel's series that they were recorded on, and hold on: `6.18`.
    pub(crate) kernel: String,
    /// By object (`director`, `decap`, `probe_path`) and program.
    #[serde(flatten)]
    objects: BTreeMap<String, BTreeMap<String, Budget>>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    /// Instructions walked when it was recorded.
    recorded: u32,
    /// Instructions that may be walked.
    budget: u32,
}

impl Budgets {
    /// What is checked in.
    pub(crate) fn read() -> Result<Self> {
        let text = fs::read_to_string(FILE).with_context(|| format!("reading {FILE}"))?;
        toml::from_str(&text).with_context(|| format!("reading {FILE}"))
    }

    /// New ones for these programs.
    pub(crate) fn record(kernel: &str, verified: &[Verified]) -> Result<Self> {
        let mut budgets = Self {
            kernel: kernel.to_owned(),
            objects: BTreeMap::new(),
        };
        for program in verified {
            let recorded = program.instructions;
            let budget = (recorded + recorded / 4).next_multiple_of(STEP);
            ensure!(
                budget <= MOST,
                "{} of {}: {recorded} instructions and room to grow are more than {MOST}, \
                 half of the kernel's limit",
                program.program,
                program.object,
            );
            let object = budgets.objects.entry(program.object.to_owned());
            let budget = Budget { recorded, budget };
            object.or_default().insert(program.program.clone(), budget);
        }
        Ok(budgets)
    }

    /// Replaces what is checked in.
    pub(crate) fn write(&self) -> Result<()> {
        let mut text = format!(
            "# Instructions that the verifier walks, by program, and how many they may become.\n\
             # `cargo xtask verify --record` writes this file; docs/verifier.md tells of it.\n\
             kernel = {:?}\n",
            self.kernel
        );
        for (object, programs) in &self.objects {
            writeln!(text, "\n[{object}]")?;
            for (name, Budget { recorded, budget }) in programs {
                writeln!(
                    text,
                    "{name} = {{ recorded = {recorded}, budget = {budget} }}"
                )?;
            }
        }
        fs::write(FILE, text).with_context(|| format!("writing {FILE}"))
    }

    /// The table: programs, their counts and their budgets.
    pub(crate) fn print(&self, verified: &[Verified]) {
        println!(
            "{:10} {:20} {:>12} {:>9} {:>8} {:>17}",
            "object", "program", "instructions", "recorded", "budget", "translated, bytes"
        );
        for program in verified {
            let of = |number: fn(Budget) -> u32| {
                let budget = self.of(program).map(number);
                budget.map_or_else(|| "-".to_owned(), |number| number.to_string())
            };
            println!(
                "{:10} {:20} {:>12} {:>9} {:>8} {:>17}",
                program.object,
                program.program,
                program.instructions,
                of(|budget| budget.recorded),
                of(|budget| budget.budget),
                program.translated_bytes,
            );
        }
    }

    /// An error that names every program which is over its budget or has none,
    /// and every budget without a program.
    pub(crate) fn check(&self, verified: &[Verified]) -> Result<()> {
        let mut wrong = Vec::new();
        for program in verified {
            let Verified {
                object,
                program: name,
                instructions,
                ..
            } = program;
            match self.of(program) {
                None => wrong.push(format!("{name} of {object} has no budget")),
                Some(Budget { budget, .. }) if *instructions > budget => wrong.push(format!(
                    "{name} of {object}: {instructions} instructions, its budget is {budget}"
                )),
                Some(_) => {}
            }
        }
        for (object, programs) in &self.objects {
            let is_there = |name: &str| {
                let mut programs = verified.iter();
                programs.any(|program| program.object == *object && program.program == name)
            };
            let gone = programs.keys().filter(|name| !is_there(name));
            wrong.extend(gone.map(|name| format!("{name} of {object} has a budget and is gone")));
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let file = Path::new(FILE).file_name().unwrap_or_default().display();
        bail!(
            "{}\n{file} is in tests/verify; `cargo xtask verify --record` writes new budgets",
            wrong.join("\n")
        )
    }

    fn of(&self, program: &Verified) -> Option<Budget> {
        self.objects
            .get(program.object)?
            .get(&program.program)
            .copied()
    }
}
