//! Walks a parsed TOML document. Every value keeps where it stands; the line
//! and the full path of its key are worked out only for an error.

use std::ops::Range;

use toml::{Spanned, de::DeTable};

use super::{ConfigError, entry::Entry, schema::Section, source::Source};
use crate::config::vocabulary::{is_near, nearest};

/// A table of the document, which has known keys only.
#[derive(Debug)]
pub(super) struct Table<'a> {
    source: &'a Source<'a>,
    section: Section,
    /// Where its header stands.
    span: Range<usize>,
    entries: &'a DeTable<'a>,
}

impl<'a> Table<'a> {
    /// The document itself.
    pub(super) fn root(
        source: &'a Source<'a>,
        document: &'a Spanned<DeTable<'a>>,
        section: Section,
    ) -> Result<Self, ConfigError> {
        Self::checked(source, section, 0..0, document.get_ref())
    }

    /// The table `entries`, whose header stands at `span`, if it keeps to
    /// the keys of `section`.
    pub(super) fn checked(
        source: &'a Source<'a>,
        section: Section,
        span: Range<usize>,
        entries: &'a DeTable<'a>,
    ) -> Result<Self, ConfigError> {
        let table = Self {
            source,
            section,
            span,
            entries,
        };
        table.refuse_keys_but("key", |key| section.keys.contains(&key))?;
        Ok(table)
    }

    /// The value of `key`, which must be one of the table's.
    pub(super) fn get(&self, key: &'static str) -> Option<Entry<'a>> {
        let value = self.entries.get(key)?;
        Some(Entry {
            source: self.source,
            table: self.section.path,
            key,
            value,
        })
    }

    /// The value of `key`, or an error at the table's header.
    pub(super) fn require(&self, key: &'static str) -> Result<Entry<'a>, ConfigError> {
        self.get(key).ok_or_else(|| self.error(key, "missing"))
    }

    /// The value of `key` as `read` finds it, or the default of its type.
    pub(super) fn optional<T>(
        &self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Entry<'a>) -> Result<T, ConfigError>,
    ) -> Result<T, ConfigError> {
        self.get(key).map_or(Ok(default), |entry| read(&entry))
    }

    /// An error about `key`: on its line if it is there, else on the header's.
    pub(super) fn error(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        let at = self.position_of(key);
        self.source
            .refused(at, self.section.path, key, problem.into())
    }

    /// Where `key` stands in the text, or the header where it is absent.
    pub(super) fn position_of(&self, key: &str) -> usize {
        let span = self.entries.get(key).map(Spanned::span);
        span.unwrap_or_else(|| self.span.clone()).start
    }

    /// The line of a position.
    pub(super) fn line(&self, position: usize) -> usize {
        self.source.line(position)
    }

    /// Refuses the first key of the file that is not `valid`. The error calls
    /// it an unknown `kind`.
    pub(super) fn refuse_keys_but(
        &self,
        kind: &str,
        valid: impl Fn(&str) -> bool,
    ) -> Result<(), ConfigError> {
        let unknown = self.entries.keys().filter(|key| !valid(key.get_ref()));
        let Some(key) = unknown.min_by_key(|key| key.span().start) else {
            return Ok(());
        };
        let word = key.get_ref().as_ref();
        let names = self.section.keys.iter().copied();
        let names: Vec<_> = names.filter(|name| valid(name)).collect();
        let problem = match nearest(word, &names) {
            Some(near) if is_near(word, near) => format!("unknown {kind}; did you mean {near}?"),
            Some(near) => format!("unknown {kind}; the nearest valid key is {near}"),
            None => format!("unknown {kind}"),
        };
        let at = key.span().start;
        Err(self.source.refused(at, self.section.path, word, problem))
    }
}
