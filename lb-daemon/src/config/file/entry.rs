//! One value of the document: what type it has, what range it must lie in,
//! and whether it is the default of a key that is not acted on yet.

use std::{ops::RangeInclusive, path::PathBuf};

use toml::{Spanned, de::DeValue};

use super::{
    ConfigError, duration,
    schema::{Default, Keys},
    source::Source,
    table::Table,
};
use crate::config::vocabulary::NOT_SUPPORTED_YET;

/// A value and the key that it has.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) path: String,
    pub(super) value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Entry<'a> {
    /// An error about this value.
    pub(super) fn error(&self, problem: impl Into<String>) -> ConfigError {
        self.source
            .refused(&self.value.span(), self.path.clone(), problem.into())
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
        let entry = |value| Entry {
            source: self.source,
            path: self.path.clone(),
            value,
        };
        Ok(array.iter().map(entry).collect())
    }

    /// The table with `keys` that stands here.
    pub(super) fn table(&self, keys: Keys) -> Result<Table<'a>, ConfigError> {
        let DeValue::Table(entries) = self.value.get_ref() else {
            return Err(self.wrong_type("a table"));
        };
        Table::checked(
            self.source,
            self.path.clone(),
            self.value.span(),
            entries,
            keys,
        )
    }

    /// Refuses any value but the default: what was asked for would not happen.
    pub(super) fn expect_default(&self, default: Default) -> Result<(), ConfigError> {
        let is_default = match (default, self.value.get_ref()) {
            (Default::Boolean(default), DeValue::Boolean(value)) => *value == default,
            (Default::Integer(default), DeValue::Integer(digits)) => {
                i64::from_str_radix(digits.as_str(), digits.radix()) == Ok(default)
            }
            (Default::Text(default), DeValue::String(text)) => text == default,
            (Default::EmptyList, DeValue::Array(array)) => array.is_empty(),
            (Default::Table(defaults), DeValue::Table(_)) => return self.expect_defaults(defaults),
            (Default::Absent(keys), value) => return Err(self.refuse_presence(keys, value)),
            _ => false,
        };
        if is_default {
            Ok(())
        } else {
            Err(self.error(NOT_SUPPORTED_YET))
        }
    }

    fn expect_defaults(&self, defaults: &[(&str, Default)]) -> Result<(), ConfigError> {
        let table = self.table_of_later_keys()?;
        let names: Vec<_> = defaults.iter().map(|(name, _)| *name).collect();
        table.refuse_unknown(&names)?;
        for (name, default) in defaults {
            if let Some(entry) = table.get(name) {
                entry.expect_default(*default)?;
            }
        }
        Ok(())
    }

    /// Unknown keys below are told first: whoever mends the one error should
    /// not meet the other only with a later version.
    fn refuse_presence(&self, keys: &[&str], value: &DeValue<'a>) -> ConfigError {
        let elements = match value {
            DeValue::Array(_) => self.elements("an array").unwrap_or_default(),
            _ => vec![Entry {
                source: self.source,
                path: self.path.clone(),
                value: self.value,
            }],
        };
        let mut tables = elements
            .iter()
            .filter_map(|element| element.table_of_later_keys().ok());
        let unknown = tables.find_map(|table| table.refuse_unknown(keys).err());
        unknown.unwrap_or_else(|| self.error(NOT_SUPPORTED_YET))
    }

    fn table_of_later_keys(&self) -> Result<Table<'a>, ConfigError> {
        let DeValue::Table(entries) = self.value.get_ref() else {
            return Err(self.wrong_type("a table"));
        };
        Ok(Table::unchecked(
            self.source,
            self.path.clone(),
            self.value.span(),
            entries,
        ))
    }

    fn wrong_type(&self, expected: &str) -> ConfigError {
        let found = self.value.get_ref().type_str();
        self.error(format!("expected {expected}, found {found}"))
    }
}
