//! Where what is read stands, what is said about it, and where included files
//! come from.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub file: Arc<str>,
    /// From 1.
    pub line: usize,
}

impl Place {
    #[must_use]
    pub fn new(file: &str, line: usize) -> Self {
        Self {
            file: file.into(),
            line,
        }
    }

    pub(super) fn error(&self, problem: impl Into<String>) -> ImportError {
        ImportError {
            place: self.clone(),
            problem: problem.into(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What the TOML does not say, or says differently.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Warning {
    pub place: Place,
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Why a file cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ImportError {
    pub place: Place,
    pub problem: String,
}

/// Warnings as they come.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    all: Vec<Warning>,
    told: HashSet<Warning>,
}

impl Warnings {
    /// Each is told once: what is expanded several times is one line of the file.
    pub(super) fn add(&mut self, place: &Place, text: impl Into<String>) {
        let warning = Warning {
            place: place.clone(),
            text: text.into(),
        };
        if self.told.insert(warning.clone()) {
            self.all.push(warning);
        }
    }

    /// By line; files in the order in which they were first warned of.
    pub(super) fn in_order(self) -> Vec<Warning> {
        let mut files: HashMap<Arc<str>, usize> = HashMap::new();
        for warning in &self.all {
            let next = files.len();
            let file = Arc::clone(&warning.place.file);
            files.entry(file).or_insert(next);
        }
        let mut warnings = self.all;
        warnings.sort_by_key(|warning| (files[&warning.place.file], warning.place.line));
        warnings
    }
}

/// A file that another includes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Included {
    pub path: String,
    pub text: String,
}

/// Finds included files.
pub trait Files {
    /// The files that `pattern` means in a file called `from`, whose directory a
    /// relative pattern starts in; sorted. An error says in one line what could
    /// not be read.
    fn included(&self, from: &str, pattern: &str) -> Result<Vec<Included>, String>;
}

/// Nothing can be included.
#[derive(Debug)]
pub struct NoFiles;

impl Files for NoFiles {
    fn included(&self, _: &str, _: &str) -> Result<Vec<Included>, String> {
        Ok(Vec::new())
    }
}
