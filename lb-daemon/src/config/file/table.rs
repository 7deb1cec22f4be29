//! Walks a parsed TOML document, keeping for every value the line it stands
//! on and the full path of its key.

use std::ops::Range;

use toml::{Spanned, de::DeTable};

use super::{
    ConfigError,
    entry::Entry,
    schema::{Key, Keys},
    source::Source,
};
use crate::config::vocabulary::{is_near, nearest};

/// A table of the document. One made by [`Table::checked`] has known keys
/// only, and those of later versions have their defaults.
#[derive(Debug)]
pub(super) struct Table<'a> {
    source: &'a Source<'a>,
    path: String,
    /// Where its header stands.
    span: Range<usize>,
    entries: &'a DeTable<'a>,
}

impl<'a> Table<'a> {
    /// The document itself.
    pub(super) fn root(
        source: &'a Source<'a>,
        document: &'a Spanned<DeTable<'a>>,
        keys: Keys,
    ) -> Result<Self, ConfigError> {
        Self::checked(source, String::new(), 0..0, document.get_ref(), keys)
    }

    /// The table `entries`, whose header stands at `span`, if it keeps to
    /// `keys`.
    pub(super) fn checked(
        source: &'a Source<'a>,
        path: String,
        span: Range<usize>,
        entries: &'a DeTable<'a>,
        keys: Keys,
    ) -> Result<Self, ConfigError> {
        let table = Self::unchecked(source, path, span, entries);
        let names: Vec<_> = keys.iter().map(|(name, _)| *name).collect();
        table.refuse_unknown(&names)?;
        for (name, key) in keys {
            if let (Key::Later(default), Some(entry)) = (key, table.get(name)) {
                entry.expect_default(*default)?;
            }
        }
        Ok(table)
    }

    /// A table whose keys nobody acts on yet.
    pub(super) fn unchecked(
        source: &'a Source<'a>,
        path: String,
        span: Range<usize>,
        entries: &'a DeTable<'a>,
    ) -> Self {
        Self {
            source,
            path,
            span,
            entries,
        }
    }

    /// The value of `key`, which must be one of the table's.
    pub(super) fn get(&self, key: &str) -> Option<Entry<'a>> {
        let value = self.entries.get(key)?;
        Some(Entry {
            source: self.source,
            path: self.path_of(key),
            value,
        })
    }

    /// The value of `key`, or an error at the table's header.
    pub(super) fn require(&self, key: &str) -> Result<Entry<'a>, ConfigError> {
        self.get(key).ok_or_else(|| self.error(key, "missing"))
    }

    /// An error about `key`: on its line if it is there, else on the header's.
    pub(super) fn error(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        let span = self
            .entries
            .get(key)
            .map_or_else(|| self.span.clone(), Spanned::span);
        self.source
            .refused(&span, self.path_of(key), problem.into())
    }

    /// The line of `key`, or the header's where it is absent.
    pub(super) fn line_of(&self, key: &str) -> usize {
        let span = self
            .entries
            .get(key)
            .map_or_else(|| self.span.clone(), Spanned::span);
        self.source.line(&span)
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Refuses the first key of the file that is not in `valid`.
    pub(super) fn refuse_unknown(&self, valid: &[&str]) -> Result<(), ConfigError> {
        let unknown = self
            .entries
            .keys()
            .filter(|key| !valid.contains(&key.get_ref().as_ref()));
        let Some(key) = unknown.min_by_key(|key| key.span().start) else {
            return Ok(());
        };
        let word = key.get_ref().as_ref();
        let problem = match nearest(word, valid) {
            Some(near) if is_near(word, near) => format!("unknown key; did you mean {near}?"),
            Some(near) => format!("unknown key; the nearest valid key is {near}"),
            None => "unknown key".to_owned(),
        };
        Err(self
            .source
            .refused(&key.span(), self.path_of(word), problem))
    }
}
