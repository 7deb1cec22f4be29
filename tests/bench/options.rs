//! The command line.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use crate::{cases::Case, schedulers, wrapper::Flows};

/// What is no case: groups of cases, and things of their own.
const GROUPS: [&str; 9] = [
    "targets",
    "all",
    "large",
    "schedulers",
    "walk",
    "flood",
    "compare",
    "scale",
    "checks",
];

pub(crate) struct Options {
    pub runs: u32,
    /// Packets a run, where each flow may send many.
    pub repeat: u32,
    pub json: Option<PathBuf>,
    pub svg: Option<PathBuf>,
    /// Connections are met in another order than that in which they were made.
    is_scattered: bool,
    /// Of `flood`: the reals take the attack.
    pub is_unshielded: bool,
    /// Cases, beginnings of their names, and groups; at least one.
    names: Vec<String>,
}

impl Options {
    pub(crate) fn from_args() -> Result<Self> {
        let mut options = Self {
            runs: 7,
            repeat: 1_000_000,
            json: None,
            svg: None,
            is_scattered: false,
            is_unshielded: false,
            names: Vec::new(),
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} takes a value"));
            match arg.as_str() {
                "--runs" => options.runs = at_least_one(&value()?).context("--runs")?,
                "--repeat" => options.repeat = at_least_one(&value()?).context("--repeat")?,
                "--json" => options.json = Some(value()?.into()),
                "--svg" => options.svg = Some(value()?.into()),
                "--scattered" => options.is_scattered = true,
                "--unshielded" => options.is_unshielded = true,
                // cargo's own.
                "--bench" => {}
                option if option.starts_with('-') => bail!("no option {option}"),
                _ => options.names.push(arg),
            }
        }
        if options.names.is_empty() {
            options.names.push("targets".into());
        }
        options.check_names()?;
        ensure!(
            options.json.is_none() || !options.has("compare") || !options.wants_packets(),
            "--json has the figures of compare or those of other cases, not both"
        );
        Ok(options)
    }

    /// How the flows of established connections have their turns.
    pub(crate) fn turns(&self, flows: u32) -> Flows {
        if self.is_scattered {
            Flows::scattered(flows)
        } else {
            Flows::in_order(flows)
        }
    }

    fn check_names(&self) -> Result<()> {
        let cases: Vec<_> = Case::all().iter().map(Case::name).collect();
        for name in &self.names {
            let begins = |case: &str| case.starts_with(name.as_str());
            if !GROUPS.contains(&name.as_str())
                && !cases.iter().any(|case| begins(case))
                && !schedulers::cases().any(|case| begins(&case))
            {
                bail!(
                    "no case {name}; groups: {}; cases, or how they begin: {} \
                     dr_new_SCHEDULER_{{4,64,1024}}_reals_v4",
                    GROUPS.join(" "),
                    cases.join(" ")
                );
            }
        }
        Ok(())
    }

    /// Whether a group is asked for.
    pub(crate) fn wants(&self, group: &str) -> bool {
        let is_data_plane = ["schedulers", "walk"].contains(&group);
        self.has(group) || is_data_plane && self.has("all")
    }

    pub(crate) fn wants_case(&self, case: &Case) -> bool {
        self.has("all") || self.has("targets") && case.is_target() || self.names(&case.name())
    }

    /// Of the schedulers' group.
    pub(crate) fn wants_of_schedulers(&self, case: &str) -> bool {
        self.wants("schedulers") || self.names(case)
    }

    /// Anything of the data plane, in tables of the usual size.
    pub(crate) fn wants_packets(&self) -> bool {
        let is_of_packets =
            |name: &String| !["flood", "compare", "scale", "checks"].contains(&name.as_str());
        self.names.iter().any(is_of_packets)
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|own| own == name)
    }

    /// Whether a case is named, by the whole name or by its beginning. The whole
    /// name of one case is no other's beginning.
    fn names(&self, case: &str) -> bool {
        let is_whole = |name: &str| {
            Case::all().iter().any(|case| case.name() == name)
                || schedulers::cases().any(|case| case == name)
        };
        let names = self.names.iter();
        let mut names = names.filter(|name| !GROUPS.contains(&name.as_str()));
        names.any(|name| name == case || case.starts_with(name.as_str()) && !is_whole(name))
    }
}

fn at_least_one(text: &str) -> Result<u32> {
    match text.parse()? {
        0 => bail!("at least 1"),
        number => Ok(number),
    }
}
