//! One value of the document: what type it has, and what range it must lie
//! in.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{ConfigError, duration, schema::Section, source::Source, table::Table};

/// A value and the key that it has.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) source: &'a Source<'a>,
    /// Path of the table that the key is in.
    pub(super) table: &'static str,
    pub(super) key: &'static str,
    pub(super) value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Entry<'a> {
    /// An error about this value.
    pub(super) fn error(&self, problem: impl Into<String>) -> ConfigError {
        let at = self.value.span().start;
        self.source
            .refused(at, self.table, self.key, problem.into())
    }

    /// Where it stands in the text.
    pub(super) fn position(&self) -> usize {
        self.value.span().start
    }

    pub(super) fn text(&self) -> Result<&'a str, ConfigError> {
        match self.value.get_ref() {
            DeValue::String(text) => Ok(text.as_ref()),
            _ => Err(self.wrong_type("a string")),
        }
    }

    /// The string's meaning as `parse` finds it.
    pub(super) fn parsed<T>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        parse(self.text()?).map_err(|problem| self.error(problem))
    }

    pub(super) fn boolean(&self) -> Result<bool, ConfigError> {
        match self.value.get_ref() {
            DeValue::Boolean(value) => Ok(*value),
            _ => Err(self.wrong_type("true or false")),
        }
    }

    /// An integer from `range`.
    pub(super) fn integer<T>(&self, range: RangeInclusive<u64>) -> Result<T, ConfigError>
    where
        T: TryFrom<u64>,
    {
        let DeValue::Integer(digits) = self.value.get_ref() else {
            return Err(self.wrong_type("an integer"));
        };
        u64::from_str_radix(digits.as_str(), digits.radix())
            .ok()
            .filter(|number| range.contains(number))
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| {
                let (least, most) = (range.start(), range.end());
                self.error(format!(
                    "{} is out of range: {least} to {most}",
                    digits.as_str()
                ))
            })
    }

    /// A duration of whole seconds from `range`.
    pub(super) fn seconds(&self, range: RangeInclusive<u64>) -> Result<u32, ConfigError> {
        let duration = self.parsed(duration::parse)?;
        if duration.subsec_nanos() != 0 {
            return Err(self.error("whole seconds only"));
        }
        let seconds = Some(duration.as_secs()).filter(|seconds| range.contains(seconds));
        seconds
            .and_then(|seconds| u32::try_from(seconds).ok())
            .ok_or_else(|| {
                let (least, most) = (range.start(), range.end());
                self.error(format!("out of range: {least}s to {most}s"))
            })
    }

    /// A duration from `range`.
    pub(super) fn duration(
        &self,
        range: RangeInclusive<Duration>,
    ) -> Result<Duration, ConfigError> {
        let duration = self.parsed(duration::parse)?;
        if range.contains(&duration) {
            return Ok(duration);
        }
        let (least, most) = (duration::text(*range.start()), duration::text(*range.end()));
        Err(self.error(format!("out of range: {least} to {most}")))
    }

    /// An absolute path.
    pub(super) fn absolute_path(&self) -> Result<PathBuf, ConfigError> {
        self.parsed(|text| {
            let path = PathBuf::from(text);
            if path.is_absolute() {
                Ok(path)
            } else {
                Err(format!("{text:?} is not an absolute path"))
            }
        })
    }

    /// The elements of an array; each has this key's path. `expected` is how
    /// the file should have written it.
    pub(super) fn elements(&self, expected: &str) -> Result<Vec<Entry<'a>>, ConfigError> {
        let DeValue::Array(array) = self.value.get_ref() else {
            return Err(self.wrong_type(expected));
        };
        Ok(array.iter().map(|value| self.with(value)).collect())
    }

    /// The tables that stand here, `[x]` or `[[x]]`.
    pub(super) fn one_or_more(&self) -> Result<Vec<Entry<'a>>, ConfigError> {
        match self.value.get_ref() {
            DeValue::Table(_) => Ok(vec![self.with(self.value)]),
            _ => self.elements("a table or an array of tables"),
        }
    }

    /// The strings of an array, each as `parse` finds it.
    pub(super) fn list<T>(
        &self,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, ConfigError> {
        let elements = self.elements("an array")?;
        let parsed = elements.iter().map(|element| element.parsed(&parse));
        parsed.collect()
    }

    /// The names and strings of a table of any keys, each with its value.
    pub(super) fn dictionary(&self) -> Result<Vec<(&'a str, Entry<'a>)>, ConfigError> {
        let entries = self.entries()?.iter();
        let pairs = entries.map(|(key, value)| (key.get_ref().as_ref(), self.with(value)));
        Ok(pairs.collect())
    }

    /// The table of `section` that stands here.
    pub(super) fn table(&self, section: Section) -> Result<Table<'a>, ConfigError> {
        let entries = self.entries()?;
        Table::checked(self.source, section, self.value.span(), entries)
    }

    /// Another value under the same key.
    fn with(&self, value: &'a Spanned<DeValue<'a>>) -> Self {
        Self {
            source: self.source,
            table: self.table,
            key: self.key,
            value,
        }
    }

    fn entries(&self) -> Result<&'a DeTable<'a>, ConfigError> {
        match self.value.get_ref() {
            DeValue::Table(entries) => Ok(entries),
            _ => Err(self.wrong_type("a table")),
        }
    }

    fn wrong_type(&self, expected: &str) -> ConfigError {
        let found = self.value.get_ref().type_str();
        self.error(format!("expected {expected}, found {found}"))
    }
}
